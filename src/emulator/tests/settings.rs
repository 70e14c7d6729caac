//! The organisation and its settings as a caller meets them.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn the_organisation_tells_who_it_is_and_its_base_currency() {
    let program = Program::shipped().await;
    let told = program.get("/crm/v8/org").await.json()["org"][0].clone();
    assert_eq!(
        (&told["company_name"], &told["zgid"], &told["iso_code"]),
        (&json!("acme"), &json!("600000001"), &json!("USD"))
    );
    assert_eq!(program.get("/crm/v8/org/currencies").await.status, StatusCode::NO_CONTENT);

    let euro = json!({ "name": "Euro - EUR", "iso_code": "EUR", "symbol": "€", "exchange_rate": "1.000" });
    let too_early = program.call("POST", "/crm/v8/org/currencies", json!({ "currencies": [euro] })).await;
    assert_eq!(too_early.json()["currencies"][0]["code"], "FEATURE_NOT_ENABLED");
    let enable = "/crm/v8/org/currencies/actions/enable";
    let enabled = program.call("POST", enable, json!({ "base_currency": euro })).await;
    let id = enabled.json()["base_currency"]["details"]["id"].as_str().unwrap().to_owned();
    assert_eq!(program.get("/crm/v8/org").await.json()["org"][0]["iso_code"], "EUR");
    let yen = json!({ "currencies": [{ "name": "Yen", "iso_code": "JPY", "exchange_rate": "160" }] });
    assert_eq!(program.call("POST", "/crm/v8/org/currencies", yen).await.status, StatusCode::CREATED);
    let listed = program.get("/crm/v8/org/currencies").await.json()["currencies"].clone();
    assert_eq!((&listed[0]["is_base"], &listed[1]["is_base"]), (&json!(true), &json!(false)));
    let change = json!({ "currencies": [{ "exchange_rate": "2" }] });
    program.call("PUT", &format!("/crm/v8/org/currencies/{id}"), change).await;
    let one = program.get(&format!("/crm/v8/org/currencies/{id}")).await.json()["currencies"][0].clone();
    assert_eq!((&one["exchange_rate"], &one["iso_code"]), (&json!("2"), &json!("EUR")));
}

#[tokio::test]
async fn taxes_are_put_changed_and_deleted_by_one_call() {
    let program = Program::shipped().await;
    let put = async |tax: Value| {
        program.call("PUT", "/crm/v8/org/taxes", json!({ "org_taxes": { "taxes": [tax] } })).await.json()
    };
    let taxes = async || program.get("/crm/v8/org/taxes").await.json()["org_taxes"]["taxes"].clone();
    let added =
        put(json!({ "name": "VAT", "display_label": "VAT", "value": 19.0, "sequence_number": 1 })).await;
    let id = added["org_taxes"]["details"]["taxes"][0]["id"].as_str().unwrap().to_owned();
    put(json!({ "id": id, "value": 7.0 })).await;
    assert_eq!((&taxes().await[0]["value"], &taxes().await[0]["name"]), (&json!(7.0), &json!("VAT")));
    assert_eq!(program.get(&format!("/crm/v8/org/taxes/{id}")).await.status, StatusCode::OK);
    put(json!({ "id": id, "_delete": true })).await;
    assert_eq!(taxes().await, json!([]));
    assert_eq!(put(json!({ "id": id })).await["org_taxes"]["code"], "INVALID_DATA");
}

#[tokio::test]
async fn layouts_views_and_related_lists_follow_from_the_module() {
    let program = Program::shipped().await;
    let field = json!({ "fields": [{ "field_label": "Shoe Size" }] });
    program.call("POST", "/crm/v8/settings/fields?module=Leads", field).await;
    for (kind, fields) in [("layouts", "/0/sections/0/fields"), ("custom_views", "/0/fields")] {
        let told = program.get(&format!("/crm/v8/settings/{kind}?module=Leads")).await.json();
        let fields = told[kind].pointer(fields).unwrap().as_array().unwrap();
        assert_eq!(fields.last().unwrap()["api_name"], "Shoe_Size", "{kind}");
        let id = told[kind][0]["id"].as_str().unwrap();
        let one = program.get(&format!("/crm/v8/settings/{kind}/{id}?module=Leads")).await.json();
        assert_eq!(one[kind][0], told[kind][0]);
        let other = program.get(&format!("/crm/v8/settings/{kind}/{id}?module=Contacts")).await;
        assert_eq!(other.status, StatusCode::NO_CONTENT);
        let missing = program.get(&format!("/crm/v8/settings/{kind}")).await;
        assert_eq!(missing.json()["code"], "REQUIRED_PARAM_MISSING");
    }
    let lists =
        program.get("/crm/v8/settings/related_lists?module=Leads").await.json()["related_lists"].clone();
    let names: Vec<&str> =
        lists.as_array().unwrap().iter().map(|list| list["api_name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Notes", "Attachments", "Contacts", "Accounts", "Deals", "Products"]);
    assert_eq!(lists[5]["module"]["api_name"], "Products");
}

#[tokio::test(start_paused = true)]
async fn a_watch_is_made_told_of_changed_and_ends_by_itself() {
    let program = Program::shipped().await;
    let path = "/crm/v8/actions/watch";
    let url = "https://acme.example/told";
    let watch = |events: Value| json!({ "watch": [{ "channel_id": "1000000068001", "events": events, "notify_url": url, "token": "made-up" }] });
    let made = program.call("POST", path, watch(json!(["Leads.create", "Contacts.all"]))).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let event = made.json()["watch"][0]["details"]["events"][1].clone();
    assert_eq!(
        (&event["resource_name"], &event["channel_id"]),
        (&json!("Contacts"), &json!("1000000068001"))
    );
    assert_eq!(event["resource_uri"], "https://www.zohoapis.com/crm/v8/Contacts");

    let listed = program.get(&format!("{path}?channel_id=1000000068001&module=Leads")).await.json();
    assert_eq!(listed["watch"].as_array().unwrap().len(), 1);
    let unwanted = json!({ "watch": [{ "channel_id": "1000000068001", "events": ["Contacts.all"], "_delete_events": true }] });
    program.call("PATCH", path, unwanted).await;
    assert_eq!(program.get(path).await.json()["info"]["count"], 1);
    tokio::time::sleep(Duration::from_hours(1)).await;
    let again = program.mint().await.json()["access_token"].as_str().unwrap().to_owned();
    let program = Program { token: again, ..program };
    assert_eq!(program.get(path).await.status, StatusCode::NO_CONTENT);
    let gone = program.call("DELETE", &format!("{path}?channel_ids=1000000068001"), Value::Null).await;
    assert_eq!(gone.json()["watch"][0]["code"], "NOT_SUBSCRIBED");
    let unknown = program.call("POST", path, watch(json!(["Nothing.all"]))).await;
    assert_eq!(unknown.json()["watch"][0]["code"], "INVALID_DATA");
}
