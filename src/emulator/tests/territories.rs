//! Territories, their users, and the counts that follow from them.

use std::time::Duration;

use serde_json::json;

use super::*;

#[tokio::test]
async fn counts_are_told_as_zoho_tells_them() {
    let program = Program::shipped().await;
    let answer = program.get(COUNTS).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(
        answer.text().starts_with(
            "{\"associated_users_count\":[{\"count\":\"3\",\"territory\":{\"name\":\"North\",\"id\":\"600000001"
        ),
        "{}",
        answer.text()
    );
    let info = "\"info\":{\"per_page\":200,\"count\":5,\"page\":1,\"more_records\":false}}\n";
    assert!(answer.text().ends_with(info), "{}", answer.text());
}

#[tokio::test]
async fn counts_come_in_pages_and_end_with_204() {
    let program = Program::shipped().await;
    let page = |number: usize| format!("{COUNTS}?per_page=2&page={number}");
    assert_eq!(program.get(&page(1)).await.json()["info"]["more_records"], true);
    let last = program.get(&page(3)).await.json();
    assert_eq!(last["associated_users_count"].as_array().unwrap().len(), 1);
    assert_eq!(last["info"]["more_records"], false);
    let beyond = program.get(&page(4)).await;
    assert_eq!((beyond.status, beyond.body.len()), (StatusCode::NO_CONTENT, 0));
    assert_eq!(program.get(&format!("{COUNTS}?per_page=2001")).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn counts_can_be_integers_absent_or_not_enabled() {
    let program = Program::of_acme(scenario("count_as = \"integer\"")).await;
    assert_eq!(program.get(COUNTS).await.json()["associated_users_count"][0]["count"], 3);
    program.organisation.set_territory_management(false);
    let off = program.get(COUNTS).await;
    assert_eq!((off.status, &off.json()["code"]), (StatusCode::BAD_REQUEST, &json!("FEATURE_NOT_ENABLED")));
    program.organisation.set_territory_management(true);
    program.organisation.remove_all_territories();
    assert_eq!(program.get(COUNTS).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn the_call_that_ends_alike_counts_groups() {
    let program = Program::shipped().await;
    let answer = program.get("/crm/v8/settings/user_groups/actions/associated_users_count").await.json();
    assert_eq!(answer["associated_users_count"][0]["user_group"]["name"], "Everybody");
    assert_eq!(answer["associated_users_count"][0]["count"], "6");
}

#[tokio::test]
async fn every_write_about_members_changes_the_counts() {
    let program = Program::shipped().await;
    let acme = &program.organisation;
    let (north, finn, ada) =
        (acme.territory_id("North"), acme.user_id("Finn Example"), acme.user_id("Ada Example"));
    let of_territory = format!("/crm/v8/settings/territories/{north}/users");
    let of_user = format!("/crm/v5/users/{finn}/territories");
    let finns = json!({ "users": [{ "id": finn }] });
    let norths = json!({ "territories": [{ "id": north }] });
    for (method, path, body, count) in [
        ("PUT", of_territory.clone(), finns, "4"),
        ("DELETE", format!("{of_territory}?ids={finn}"), Value::Null, "3"),
        ("PUT", format!("{of_territory}/{finn}"), Value::Null, "4"),
        ("DELETE", format!("{of_territory}/{finn}"), Value::Null, "3"),
        ("PUT", of_user.clone(), norths.clone(), "4"),
        ("DELETE", format!("{of_user}/{north}"), Value::Null, "3"),
        ("PUT", of_user.clone(), norths.clone(), "4"),
        ("DELETE", format!("{of_user}?ids={north}"), Value::Null, "3"),
        ("PUT", of_user.clone(), norths.clone(), "4"),
        ("PUT", format!("{of_user}/actions/transfer_and_delink"), norths.clone(), "3"),
        ("PUT", of_user.clone(), norths.clone(), "4"),
        ("PUT", format!("{of_user}/{north}/actions/transfer_and_delink"), Value::Null, "3"),
        ("PUT", format!("/crm/v8/users/{ada}"), json!({ "users": [{ "status": "inactive" }] }), "2"),
        ("PUT", "/crm/v8/users".to_owned(), json!({ "users": [{ "id": ada, "status": "active" }] }), "3"),
        ("DELETE", format!("/crm/v8/users/{ada}"), Value::Null, "2"),
    ] {
        let answer = program.call(method, &path, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{method} {path}: {}", answer.text());
        assert_eq!(program.count("North").await.as_deref(), Some(count), "{method} {path}");
    }
}

#[tokio::test]
async fn territories_are_created_renamed_and_deleted() {
    let program = Program::shipped().await;
    let path = "/crm/v8/settings/territories";
    let created = program.call("POST", path, json!({ "territories": [{ "name": "Moon" }] })).await;
    assert_eq!(created.status, StatusCode::CREATED);
    let id = created.json()["territories"][0]["details"]["id"].as_str().unwrap().to_owned();
    assert_eq!(program.count("Moon").await.as_deref(), Some("0"));
    let twice =
        program.call("POST", path, json!({ "territories": [{ "name": "Moon" }, { "name": "Sun" }] })).await;
    assert_eq!(twice.status, StatusCode::MULTI_STATUS);
    assert_eq!(twice.json()["territories"][0]["code"], "DUPLICATE_DATA");
    let renamed = json!({ "territories": [{ "name": "Mars" }] });
    assert_eq!(program.call("PUT", &format!("{path}/{id}"), renamed).await.status, StatusCode::OK);
    assert_eq!(program.count("Moon").await, None);
    let sun = program.organisation.territory_id("Sun");
    let transfer = json!({ "territories": [{ "id": id, "transfer_to_id": sun }] });
    let gone = program.call("POST", &format!("{path}/actions/transfer_and_delete"), transfer).await;
    assert_eq!(gone.status, StatusCode::OK, "{}", gone.text());
    assert_eq!(program.count("Mars").await, None);
    assert_eq!(
        program.call("DELETE", &format!("{path}?ids={sun}"), Value::Null).await.status,
        StatusCode::OK
    );
    let many = ["1"; 11].join(",");
    let refused = program.call("DELETE", &format!("{path}?ids={many}"), Value::Null).await;
    assert_eq!(refused.json()["code"], "LIMIT_EXCEEDED");
}

#[tokio::test(start_paused = true)]
async fn a_user_who_is_transferred_and_deleted_counts_until_the_job_is_done() {
    let program = Program::shipped().await;
    let ada = program.organisation.user_id("Ada Example");
    let path = format!("/crm/v8/users/{ada}/actions/transfer_and_delete");
    let begun = program.call("POST", &path, json!({ "transfer_and_delete": [{}] })).await;
    assert_eq!(begun.status, StatusCode::ACCEPTED, "{}", begun.text());
    assert_eq!(program.count("North").await.as_deref(), Some("3"));
    assert_eq!(program.get(&path).await.json()["transfer_and_delete"][0]["status"], "in_progress");
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(program.count("North").await.as_deref(), Some("2"));
    assert_eq!(program.get(&path).await.json()["transfer_and_delete"][0]["status"], "completed");
}

#[tokio::test]
async fn a_composite_request_does_what_its_parts_would() {
    let program = Program::shipped().await;
    let acme = &program.organisation;
    let uri = format!("/crm/v8/settings/territories/{}/users", acme.territory_id("East"));
    let body = json!({ "users": [{ "id": acme.user_id("Ada Example") }] });
    let parts = json!({ "__composite_requests": [
        { "sub_request_id": "1", "method": "PUT", "uri": uri, "body": body },
        { "sub_request_id": "2", "method": "GET", "uri": "/crm/v8/Nothing" },
    ] });
    let answer = program.call("POST", "/crm/v8/__composite_requests", parts).await;
    assert_eq!(answer.status, StatusCode::MULTI_STATUS);
    assert_eq!(answer.json()["__composite_requests"][1]["details"]["response"]["status_code"], 400);
    assert_eq!(program.count("East").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_composite_request_can_be_all_or_nothing() {
    let program = Program::shipped().await;
    let lead = |name: &str| json!({ "method": "POST", "uri": "/crm/v8/Leads", "body": { "data": [{ "Last_Name": name }] } });
    let parts = [lead("Doe"), json!({ "uri": "/crm/v8/Nothing" }), lead("Roe")];
    for (rollback, codes, left) in [
        (false, ["SUCCESS", "FAILED", "SUCCESS"], 2),
        (true, ["ROLLBACK_PERFORMED", "FAILED", "PROCESSING_STOPPED"], 2),
    ] {
        let body = json!({ "rollback_on_fail": rollback, "parallel_execution": false, "__composite_requests": parts });
        let answer = program.call("POST", "/crm/v8/__composite_requests", body).await;
        assert_eq!(answer.status, StatusCode::MULTI_STATUS);
        let told = answer.json()["__composite_requests"].clone();
        assert_eq!([0, 1, 2].map(|at: usize| told[at]["code"].as_str().unwrap().to_owned()), codes);
        let count = program.get("/crm/v8/Leads/actions/count").await.json();
        assert_eq!(count["count"], left, "rollback: {rollback}");
    }
}

#[tokio::test]
async fn a_composite_request_has_one_to_five_parts_with_headers_of_their_own() {
    let program = Program::shipped().await;
    let ask = async |parts: Vec<Value>| {
        let body = json!({ "__composite_requests": parts });
        program.call("POST", "/crm/v8/__composite_requests", body).await
    };
    let part = json!({ "sub_request_id": "a", "uri": "/crm/v8/users", "params": { "type": "CurrentUser" },
        "headers": { "If-Modified-Since": "2999-01-01T00:00:00+00:00" } });
    assert_eq!(ask(vec![part.clone(); 6]).await.json()["code"], "LIMIT_EXCEEDED");
    assert_eq!(ask(Vec::new()).await.json()["code"], "MANDATORY_NOT_FOUND");
    let told = ask(vec![part; 5]).await.json()["__composite_requests"].clone();
    assert_eq!(
        (&told[4]["sub_request_id"], &told[4]["details"]["response"]["status_code"]),
        (&json!("a"), &json!(304))
    );
}

#[tokio::test]
async fn what_somebody_does_in_the_user_interface_shows_at_once() {
    let program = Program::shipped().await;
    let calls = program.zoho.ledger().calls();
    program.organisation.add_user_to_territory("Finn Example", "East");
    assert_eq!(program.zoho.ledger().calls(), calls);
    assert_eq!(program.count("East").await.as_deref(), Some("2"));
    program.organisation.set_user_active("Finn Example", false);
    assert_eq!(program.count("East").await.as_deref(), Some("1"));
}
