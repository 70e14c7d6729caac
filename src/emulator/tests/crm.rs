//! The API as a caller meets it.

use serde_json::json;

use super::*;

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
    let both = "/crm/v8/Leads/search?criteria=((Last_Name:starts_with:R)and(Email:ends_with:example.com))";
    assert_eq!(program.get(both).await.json()["info"]["count"], 1);
    assert_eq!(
        program.get("/crm/v8/Leads/search?criteria=(Last_Name)").await.json()["code"],
        "INVALID_QUERY"
    );
    program.call("POST", "/crm/v8/Leads/upsert", lead).await;
    assert_eq!(program.get("/crm/v8/Leads/actions/count").await.json()["count"], 1);
    assert_eq!(program.call("DELETE", &path, Value::Null).await.status, StatusCode::OK);
    assert_eq!(program.get("/crm/v8/Leads").await.status, StatusCode::NO_CONTENT);
    assert_eq!(program.get("/crm/v8/Leads/deleted").await.json()["data"][0]["id"], json!(id));
    assert_eq!(program.get("/crm/v8/Unknown").await.json()["code"], "INVALID_MODULE");
}

#[tokio::test]
async fn ids_may_be_numbers_as_the_python_sdk_sends_them() {
    let program = Program::shipped().await;
    let lead = program.create("Leads", json!({ "Last_Name": "Doe" })).await;
    let number: u64 = lead.parse().unwrap();
    let change = json!({ "data": [{ "id": number, "Last_Name": "Roe" }] });
    assert_eq!(program.call("PUT", "/crm/v8/Leads", change).await.status, StatusCode::OK);
    let parent = json!({ "id": number });
    program.create("Notes", json!({ "Parent_Id": parent, "$se_module": "Leads", "Note_Content": "x" })).await;
    let tag = json!({ "tags": [{ "name": "hot" }], "ids": [number] });
    assert_eq!(program.call("POST", "/crm/v8/Leads/actions/add_tags", tag).await.status, StatusCode::OK);
    assert_eq!(program.get(&format!("/crm/v8/Leads/{lead}/Notes")).await.json()["info"]["count"], 1);
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
    for path in ["/crm/v8/a/b/c/d/e", "/crm/Leads", "/", "/crm/vx/Leads"] {
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

    let program = Program::of_acme(Scenario::default().with_credits("acme", 4)).await;
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

#[tokio::test]
async fn an_upload_longer_than_what_is_kept_is_measured_to_its_end() {
    let program = Program::shipped().await;
    let mut body =
        b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"long\"\r\n\r\n".to_vec();
    body.resize(65 * 1024 * 1024, b'x');
    body.extend_from_slice(b"\r\n--b--\r\n");
    let length = body.len() as u64;
    let request = Request::post("https://www.zohoapis.com/crm/v8/files")
        .header(AUTHORIZATION, format!("Zoho-oauthtoken {}", program.token))
        .header(CONTENT_TYPE, "multipart/form-data; boundary=b");
    let stored = send(&program.zoho, request.body(Body::full(body)).unwrap()).await.unwrap();
    assert_eq!(stored.json()["data"][0]["details"]["name"], "long");
    assert_eq!(program.zoho.ledger().entries().last().unwrap().body_length, length);
}

#[tokio::test]
async fn an_upload_with_a_dead_token_is_refused_unread() {
    let program = Program::shipped().await;
    program.organisation.kill_access_tokens();
    let answer = program.call("POST", "/crm/v8/files", json!("abc")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(program.zoho.ledger().entries().last().unwrap().body_length, 0);
}
