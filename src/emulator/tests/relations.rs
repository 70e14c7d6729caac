//! What records have to do with each other, and what they are marked with.

use super::*;

#[tokio::test]
async fn records_are_related_told_of_at_both_ends_and_parted() {
    let program = Program::shipped().await;
    let lead = program.create("Leads", json!({ "Last_Name": "Doe" })).await;
    let product = program.create("Products", json!({ "Product_Name": "Anvil" })).await;
    let list = format!("/crm/v8/Leads/{lead}/Products");
    assert_eq!(program.get(&list).await.status, StatusCode::NO_CONTENT);
    let put = program.call("PUT", &list, json!({ "data": [{ "id": product, "Quantity": 2 }] })).await.json();
    assert_eq!(put["data"][0]["message"], "relation added");

    let row = program.get(&list).await.json()["data"][0].clone();
    assert_eq!((&row["Product_Name"], &row["Quantity"]), (&json!("Anvil"), &json!(2)));
    let back = program.get(&format!("/crm/v8/Products/{product}/Leads/{lead}")).await.json();
    assert_eq!(back["data"][0]["Last_Name"], "Doe");
    let parted = program.call("DELETE", &format!("{list}?ids={product}"), Value::Null).await.json();
    assert_eq!(parted["data"][0]["message"], "relation removed");
    assert_eq!(program.get(&list).await.status, StatusCode::NO_CONTENT);
    assert_eq!(
        program.call("DELETE", &format!("{list}/{product}"), Value::Null).await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn what_cannot_be_related_is_refused() {
    let program = Program::shipped().await;
    let lead = program.create("Leads", json!({ "Last_Name": "Doe" })).await;
    for (path, code) in [
        (format!("/crm/v8/Leads/{lead}/Nothing"), "INVALID_DATA"),
        (format!("/crm/v8/Leads/{lead}/Leads"), "INVALID_DATA"),
        ("/crm/v8/Leads/1/Products".to_owned(), "INVALID_DATA"),
        ("/crm/v8/Nothing/1/Products".to_owned(), "INVALID_MODULE"),
    ] {
        assert_eq!(program.get(&path).await.json()["code"], code, "{path}");
    }
    let nobody = json!({ "data": [{ "id": "1" }] });
    let answer = program.call("PUT", &format!("/crm/v8/Leads/{lead}/Products"), nobody).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn related_records_are_reached_by_external_values_at_both_ends() {
    let program = Program::shipped().await;
    program.create("Leads", json!({ "Last_Name": "Doe", "Number": "L1" })).await;
    program.create("Products", json!({ "Product_Name": "Anvil", "Article": "P1" })).await;
    let ask = async |method: &str, body: &str| {
        let request = Request::builder()
            .method(method)
            .uri("https://www.zohoapis.com/crm/v8/Leads/L1/Products/P1")
            .header(AUTHORIZATION, format!("Zoho-oauthtoken {}", program.token))
            .header("x-external", "Leads.Number,Products.Article")
            .body(Body::full(body.to_owned()));
        send(&program.zoho, request.unwrap()).await.unwrap()
    };
    assert_eq!(ask("GET", "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(ask("PUT", r#"{"data":[{}]}"#).await.status, StatusCode::OK);
    assert_eq!(ask("GET", "").await.json()["data"][0]["Product_Name"], "Anvil");
    assert_eq!(ask("DELETE", "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn tags_are_put_on_records_counted_and_taken_off() {
    let program = Program::shipped().await;
    let lead = program.create("Leads", json!({ "Last_Name": "Doe" })).await;
    let tags = |names: &[&str]| names.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>();
    let add = json!({ "tags": tags(&["hot", "cold"]), "ids": [lead] });
    let added = program.call("POST", "/crm/v8/Leads/actions/add_tags", add).await.json();
    assert_eq!(added["success_count"], "1");
    let told = added["data"][0]["details"]["tags"].as_array().unwrap();
    assert_eq!(told.iter().map(|tag| tag["name"].as_str().unwrap()).collect::<Vec<_>>(), ["hot", "cold"]);
    program
        .call("POST", &format!("/crm/v2/Leads/{lead}/actions/remove_tags?tag_names=cold"), Value::Null)
        .await;
    let record = program.get(&format!("/crm/v8/Leads/{lead}")).await.json()["data"][0].clone();
    assert_eq!(record["Tag"].as_array().unwrap().len(), 1);
    assert_eq!(record["Tag"][0]["name"], "hot");

    let id = record["Tag"][0]["id"].as_str().unwrap();
    let count = format!("/crm/v8/settings/tags/{id}/actions/records_count?module=Leads");
    assert_eq!(program.get(&count).await.json(), json!({ "count": "1" }));
    let listed = program.get("/crm/v8/settings/tags?module=Leads").await.json();
    assert_eq!(listed["info"]["count"], 2);
    program.call("DELETE", &format!("/crm/v8/settings/tags/{id}?module=Leads"), Value::Null).await;
    assert_eq!(program.get(&count).await.json()["code"], "INVALID_DATA");
}

#[tokio::test]
async fn tags_of_a_module_are_made_and_renamed_once_each() {
    let program = Program::shipped().await;
    let path = "/crm/v8/settings/tags?module=Leads";
    let hot = json!({ "tags": [{ "name": "hot" }] });
    let made = program.call("POST", path, hot.clone()).await;
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!(program.call("POST", path, hot).await.json()["tags"][0]["code"], "DUPLICATE_DATA");
    let id = made.json()["tags"][0]["details"]["id"].as_str().unwrap().to_owned();
    let renamed = json!({ "tags": [{ "id": id, "name": "warm", "color_code": "#F48435" }] });
    program.call("PUT", path, renamed).await;
    let tag = program.get(path).await.json()["tags"][0].clone();
    assert_eq!(tag, json!({ "name": "warm", "id": id, "color_code": "#F48435" }));
    assert_eq!(program.get("/crm/v8/settings/tags").await.json()["code"], "INVALID_MODULE");
}
