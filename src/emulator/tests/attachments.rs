//! What hangs on records: attachments, photos, notes.

use super::*;

#[tokio::test]
async fn an_attachment_is_uploaded_listed_downloaded_and_deleted() {
    let program = Program::shipped().await;
    let lead = program.create("Leads", json!({ "Last_Name": "Doe" })).await;
    let path = format!("/crm/v8/Leads/{lead}/Attachments");
    assert_eq!(program.get(&path).await.status, StatusCode::NO_CONTENT);

    let uploaded = program.upload(&path, "a b.bin", b"\x00\r\n\xff").await.json();
    assert_eq!(uploaded["data"][0]["message"], "attachment uploaded successfully");
    let id = uploaded["data"][0]["details"]["id"].as_str().unwrap();
    let listed = program.get(&path).await.json();
    let row = &listed["data"][0];
    assert_eq!(
        (&row["File_Name"], &row["Size"], &row["$type"]),
        (&json!("a b.bin"), &json!("4"), &json!("Attachment"))
    );
    assert_eq!(row["Parent_Id"], json!({ "id": lead, "name": "Doe" }));
    assert_eq!(listed["info"]["count"], 1);

    let file = program.get(&format!("{path}/{id}")).await;
    assert_eq!(&file.body[..], b"\x00\r\n\xff");
    assert_eq!(file.headers["content-disposition"], "attachment; filename*=UTF-8''a%20b.bin");
    let deleted = program.call("DELETE", &format!("{path}?ids={id}"), Value::Null).await.json();
    assert_eq!(deleted["data"][0]["code"], "SUCCESS");
    assert_eq!(program.get(&format!("{path}/{id}")).await.json()["code"], "INVALID_DATA");
    assert_eq!(program.get(&path).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_link_is_an_attachment_without_bytes() {
    let program = Program::shipped().await;
    let lead = program.create("Leads", json!({ "Last_Name": "Doe" })).await;
    let path = format!("/crm/v8/Leads/{lead}/Attachments");
    let link = "https%3A%2F%2Facme.example%2Fterms";
    program.call("POST", &format!("{path}?attachmentUrl={link}&title=Terms"), Value::Null).await;
    let row = program.get(&path).await.json()["data"][0].clone();
    assert_eq!((&row["$type"], &row["File_Name"]), (&json!("Link URL"), &json!("Terms")));
    assert_eq!(row["$link_url"], "https://acme.example/terms");
    let empty = program.call("POST", &path, Value::Null).await;
    assert_eq!(empty.json()["message"], "the request does not contain any file");
}

#[tokio::test]
async fn an_attachment_is_at_its_own_record_only() {
    let program = Program::shipped().await;
    let (doe, roe) = (
        program.create("Leads", json!({ "Last_Name": "Doe" })).await,
        program.create("Leads", json!({ "Last_Name": "Roe" })).await,
    );
    let uploaded = program.upload(&format!("/crm/v8/Leads/{doe}/Attachments"), "a", b"a").await.json();
    let id = uploaded["data"][0]["details"]["id"].as_str().unwrap();
    let elsewhere = format!("/crm/v8/Leads/{roe}/Attachments/{id}");
    assert_eq!(program.get(&elsewhere).await.json()["code"], "INVALID_DATA");
    assert_eq!(program.call("DELETE", &elsewhere, Value::Null).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(program.upload("/crm/v8/Leads/1/Attachments", "a", b"a").await.json()["code"], "INVALID_DATA");
    assert_eq!(program.upload("/crm/v8/No/1/Attachments", "a", b"a").await.json()["code"], "INVALID_MODULE");
}

#[tokio::test]
async fn a_photo_is_put_replaced_and_taken_away() {
    let program = Program::shipped().await;
    let lead = program.create("Leads", json!({ "Last_Name": "Doe" })).await;
    for path in [format!("/crm/v8/Leads/{lead}/photo"), "/crm/v8/org/photo".to_owned()] {
        assert_eq!(program.get(&path).await.status, StatusCode::NO_CONTENT);
        program.upload(&path, "old.png", b"old").await;
        let put = program.upload(&path, "new.png", b"new").await;
        assert_eq!(
            put.text(),
            "{\"code\":\"SUCCESS\",\"details\":{},\"message\":\"photo uploaded successfully\",\"status\":\"success\"}\n"
        );
        let photo = program.get(&path).await;
        assert_eq!(
            (&photo.body[..], &photo.headers["content-type"]),
            (&b"new"[..], &"application/x-download".parse().unwrap())
        );
        assert_eq!(program.call("DELETE", &path, Value::Null).await.json()["message"], "photo deleted");
        assert_eq!(program.get(&path).await.status, StatusCode::NO_CONTENT);
        assert_eq!(program.call("DELETE", &path, Value::Null).await.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn notes_are_written_at_their_record_or_in_their_module() {
    let program = Program::shipped().await;
    let lead = program.create("Leads", json!({ "Last_Name": "Doe" })).await;
    let of_lead = format!("/crm/v8/Leads/{lead}/Notes");
    assert_eq!(program.get(&of_lead).await.status, StatusCode::NO_CONTENT);
    let note = json!({ "data": [{ "Note_Title": "Call", "Note_Content": "again" }] });
    let first = program.call("POST", &of_lead, note).await;
    assert_eq!(first.status, StatusCode::CREATED);
    let parent = json!({ "id": lead, "module": { "api_name": "Leads" } });
    program.create("Notes", json!({ "Parent_Id": parent, "Note_Content": "new form" })).await;
    program
        .create("Notes", json!({ "Parent_Id": lead, "se_module": "Leads", "Note_Content": "old form" }))
        .await;

    let listed = program.get(&of_lead).await.json();
    assert_eq!(listed["info"]["count"], 3);
    for row in listed["data"].as_array().unwrap() {
        assert_eq!((&row["Parent_Id"]["id"], &row["$se_module"]), (&json!(lead), &json!("Leads")));
        assert_eq!(row["Parent_Id"]["name"], "Doe");
    }
    let id = first.json()["data"][0]["details"]["id"].as_str().unwrap().to_owned();
    program
        .call("PUT", &format!("/crm/v8/Notes/{id}"), json!({ "data": [{ "Note_Content": "later" }] }))
        .await;
    assert_eq!(program.get(&format!("{of_lead}/{id}")).await.json()["data"][0]["Note_Content"], "later");
    program.call("DELETE", &format!("{of_lead}?ids={id}"), Value::Null).await;
    assert_eq!(program.get("/crm/v8/Notes").await.json()["info"]["count"], 2);
}

#[tokio::test]
async fn a_note_about_nothing_is_refused() {
    let program = Program::shipped().await;
    for (note, code) in [
        (json!({ "Note_Content": "x" }), "MANDATORY_NOT_FOUND"),
        (json!({ "Note_Content": "x", "Parent_Id": "1" }), "MANDATORY_NOT_FOUND"),
        (json!({ "Note_Content": "x", "Parent_Id": "1", "se_module": "Leads" }), "INVALID_DATA"),
    ] {
        let answer = program.call("POST", "/crm/v8/Notes", json!({ "data": [note] })).await;
        assert_eq!(
            (answer.status, &answer.json()["data"][0]["code"]),
            (StatusCode::BAD_REQUEST, &json!(code))
        );
    }
}

#[tokio::test]
async fn a_record_is_reached_by_a_value_of_the_callers_own_system() {
    let program = Program::shipped().await;
    let lead = program.create("Leads", json!({ "Last_Name": "Doe", "Number": "N 7" })).await;
    let ask = async |path: &str| {
        let request = Request::get(format!("https://www.zohoapis.com{path}"))
            .header(AUTHORIZATION, format!("Zoho-oauthtoken {}", program.token))
            .header("x-external", "Contacts.Other, Leads.Number");
        send(&program.zoho, request.body(Body::empty()).unwrap()).await.unwrap()
    };
    assert_eq!(ask("/crm/v8/Leads/N%207").await.json()["data"][0]["id"], json!(lead));
    assert_eq!(ask("/crm/v8/Leads/N%207/photo").await.status, StatusCode::NO_CONTENT);
    assert_eq!(ask("/crm/v8/Leads/N%208").await.status, StatusCode::NO_CONTENT);
    assert_eq!(program.get("/crm/v8/Leads/N%207").await.status, StatusCode::NO_CONTENT);
}
