//! The API as a caller meets it.

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
async fn what_somebody_does_in_the_user_interface_shows_at_once() {
    let program = Program::shipped().await;
    let calls = program.zoho.ledger().calls();
    program.organisation.add_user_to_territory("Finn Example", "East");
    assert_eq!(program.zoho.ledger().calls(), calls);
    assert_eq!(program.count("East").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn records_are_created_read_changed_found_and_deleted() {
    let program = Program::shipped().await;
    let lead = json!({ "data": [{ "Last_Name": "Doe", "Email": "doe@example.com" }] });
    let created = program.call("POST", "/crm/v8/Leads", lead.clone()).await;
    assert_eq!(created.status, StatusCode::CREATED);
    let id = created.json()["data"][0]["details"]["id"].as_str().unwrap().to_owned();
    let path = format!("/crm/v8/Leads/{id}");
    assert_eq!(program.get(&path).await.json()["data"][0]["Last_Name"], "Doe");
    program.call("PUT", &path, json!({ "data": [{ "Last_Name": "Roe" }] })).await;
    let found = program.get("/crm/v8/Leads/search?criteria=((Last_Name:equals:Roe))").await;
    assert_eq!(found.json()["data"][0]["id"], json!(id));
    program.call("POST", "/crm/v8/Leads/upsert", lead).await;
    assert_eq!(program.get("/crm/v8/Leads/actions/count").await.json()["count"], 1);
    assert_eq!(program.call("DELETE", &path, Value::Null).await.status, StatusCode::OK);
    assert_eq!(program.get("/crm/v8/Leads").await.status, StatusCode::NO_CONTENT);
    assert_eq!(program.get("/crm/v8/Leads/deleted").await.json()["data"][0]["id"], json!(id));
    assert_eq!(program.get("/crm/v8/Unknown").await.json()["code"], "INVALID_MODULE");
}

#[tokio::test]
async fn if_modified_since_answers_304_when_nothing_changed() {
    let program = Program::shipped().await;
    program.call("POST", "/crm/v8/Leads", json!({ "data": [{ "Last_Name": "Doe" }] })).await;
    for (path, since, status) in [
        ("/crm/v8/Leads", "2999-01-01T00:00:00+05:30", StatusCode::NOT_MODIFIED),
        ("/crm/v8/Leads", "2019-07-25T15:26:49+05:30", StatusCode::OK),
        ("/crm/v8/users", "2999-01-01T00:00:00+05:30", StatusCode::NOT_MODIFIED),
        ("/crm/v8/settings/modules", "2999-01-01T00:00:00Z", StatusCode::NOT_MODIFIED),
        ("/crm/v8/users", "Thu, 01 Jan 1970 00:00:00 GMT", StatusCode::BAD_REQUEST),
    ] {
        let request = Request::get(format!("https://www.zohoapis.com{path}"))
            .header(AUTHORIZATION, format!("bearer {}", program.token))
            .header("if-modified-since", since);
        let answer = send(&program.zoho, request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status, status, "{path} {since}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused_in_zohos_words() {
    let program = Program::shipped().await;
    for path in ["/crm/v8/a/b/c", "/crm/Leads", "/", "/crm/vx/Leads"] {
        let answer = program.get(path).await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (StatusCode::NOT_FOUND, &json!("INVALID_URL_PATTERN"))
        );
    }
    let answer = program.call("PATCH", COUNTS, Value::Null).await;
    assert_eq!(answer.json()["code"], "INVALID_REQUEST_METHOD");
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_token_is_good_at_its_own_data_centre_and_environment_only() {
    let program = Program::shipped().await;
    let get = async |host: &str, authorization: Option<String>| {
        let mut request = Request::get(format!("https://{host}{COUNTS}"));
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let answer = send(&program.zoho, request.body(Body::empty()).unwrap()).await.unwrap();
        (answer.status.as_u16(), answer.json()["code"].clone())
    };
    let bearer = || Some(format!("BEARER {}", program.token));
    assert_eq!(get("www.zohoapis.com", bearer()).await.0, 200);
    assert_eq!(get("www.zohoapis.eu", bearer()).await, (401, json!("INVALID_TOKEN")));
    assert_eq!(get("sandbox.zohoapis.com", bearer()).await, (401, json!("INVALID_TOKEN")));
    assert_eq!(get("www.zohoapis.com", None).await, (401, json!("AUTHENTICATION_FAILURE")));
    assert_eq!(
        get("www.zohoapis.com", Some("Basic eDp5".to_owned())).await,
        (401, json!("AUTHENTICATION_FAILURE"))
    );
}

#[tokio::test]
async fn the_api_tells_when_the_token_expires_and_what_credits_are_left() {
    let program = Program::shipped().await;
    let answer = program.get(COUNTS).await;
    assert!(answer.headers["x-accesstoken-reset"].to_str().unwrap().ends_with("+05:30"));
    assert!(!answer.headers.contains_key("x-api-credits-remaining"));

    let few = include_str!("../../../config/emulator.toml")
        .replace("zgid           = \"6", "credits = 4\nzgid = \"6");
    let program = Program::of_acme(scenario(&few)).await;
    program.get(COUNTS).await;
    assert_eq!(program.get(COUNTS).await.headers["x-api-credits-remaining"], "2");
    program.get(COUNTS).await;
    program.get(COUNTS).await;
    assert_eq!(program.get(COUNTS).await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_file_comes_back_as_it_was_sent() {
    let program = Program::shipped().await;
    let body = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\r\n\x00\xff\r\n--b--\r\n";
    let request = Request::post("https://www.zohoapis.com/crm/v8/files")
        .header(AUTHORIZATION, format!("Zoho-oauthtoken {}", program.token))
        .header(CONTENT_TYPE, "multipart/form-data; boundary=b")
        .body(Body::full(&body[..]));
    let stored = send(&program.zoho, request.unwrap()).await.unwrap().json();
    let id = stored["data"][0]["details"]["id"].as_str().unwrap();
    let file = program.get(&format!("/crm/v8/files?id={id}")).await;
    assert_eq!(&file.body[..], b"\x00\xff");
    assert_eq!(file.headers["content-type"], "application/x-download");
    assert_eq!(file.headers["content-disposition"], "attachment; filename*=UTF-8''a.bin");
}

#[tokio::test]
async fn the_uploads_host_wants_its_headers_and_takes_nothing_else() {
    let program = Program::shipped().await;
    let upload = async |uri: &str, zgid: &str| {
        let body =
            "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.zip\"\r\n\r\nPK\r\n--b--\r\n";
        let request = Request::post(uri)
            .header(AUTHORIZATION, format!("Zoho-oauthtoken {}", program.token))
            .header(CONTENT_TYPE, "multipart/form-data; boundary=b")
            .header("feature", "bulk-write")
            .header("x-crm-org", zgid);
        send(&program.zoho, request.body(Body::full(body)).unwrap()).await.unwrap().json()["code"].clone()
    };
    assert_eq!(
        upload("https://content.zohoapis.com/crm/v8/upload", "600000001").await,
        "FILE_UPLOAD_SUCCESS"
    );
    assert_eq!(upload("https://content.zohoapis.com/crm/v8/upload", "1").await, "INVALID_REQUEST");
    assert_eq!(upload("https://content.zohoapis.com/crm/v8/files", "600000001").await, "INVALID_URL_PATTERN");
    assert_eq!(upload("https://www.zohoapis.com/crm/v8/upload", "600000001").await, "INVALID_URL_PATTERN");
}

#[tokio::test]
async fn echo_tells_byte_by_byte_what_arrived() {
    let program = Program::shipped().await;
    let path = "/crm/v8/__echo/a%2fb?criteria=((A:equals:b))&x=%7B,";
    let answer = program.call("PUT", path, json!("abc")).await.json();
    assert_eq!(answer["path_and_query"], path);
    assert_eq!((&answer["method"], &answer["body_length"]), (&json!("PUT"), &json!(5)));
    assert!(!answer.to_string().contains(&program.token));
}

#[tokio::test]
async fn bytes_come_in_any_number_with_or_without_their_length() {
    let program = Program::shipped().await;
    for size in [0, 1, 251, 16_064, 16_065, 1_000_000] {
        let answer = program.get(&format!("/crm/v8/__bytes?size={size}")).await;
        assert_eq!(answer.headers["content-length"], size.to_string().as_str());
        assert!(answer.body.iter().enumerate().all(|(at, &byte)| usize::from(byte) == at % 251));
        let chunked = program.get(&format!("/crm/v8/__bytes?size={size}&chunked=true")).await;
        assert!(!chunked.headers.contains_key("content-length"));
        assert_eq!((chunked.body.len(), answer.body.len()), (size, size));
    }
}

#[tokio::test]
async fn head_is_answered_like_get_without_a_body() {
    let program = Program::shipped().await;
    let (get, head) = (program.get(COUNTS).await, program.call("HEAD", COUNTS, Value::Null).await);
    assert_eq!(head.status, StatusCode::OK);
    assert_eq!(head.headers["content-length"], get.headers["content-length"]);
    assert!(head.body.is_empty());
}
