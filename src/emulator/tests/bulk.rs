//! Bulk jobs as a caller meets them.

use std::time::Duration;

use super::*;

/// The text of the only file in a zip file that is not compressed.
fn unzipped(zip: &[u8]) -> String {
    let number = |at: usize| usize::from(zip[at]) | usize::from(zip[at + 1]) << 8;
    assert_eq!((&zip[..4], number(8)), (&b"PK\x03\x04"[..], 0), "a stored file comes first");
    let start = 30 + number(26) + number(28);
    String::from_utf8(zip[start..start + number(22)].to_vec()).unwrap()
}

impl Program {
    async fn bulk_read(&self, query: Value) -> String {
        let added = self.call("POST", "/crm/bulk/v5/read", json!({ "query": query })).await;
        assert_eq!(added.status, StatusCode::CREATED, "{}", added.text());
        let details = added.json()["data"][0]["details"].clone();
        assert_eq!((&details["state"], &details["operation"]), (&json!("ADDED"), &json!("read")));
        details["id"].as_str().unwrap().to_owned()
    }

    async fn state(&self, id: &str) -> String {
        let told = self.get(&format!("/crm/bulk/v5/read/{id}")).await.json();
        told["data"][0]["state"].as_str().unwrap().to_owned()
    }

    async fn bulk_write(&self, order: Value) -> Value {
        let begun = self.call("POST", "/crm/bulk/v8/write", order).await;
        assert_eq!(begun.status, StatusCode::CREATED, "{}", begun.text());
        let id = begun.json()["details"]["id"].as_str().unwrap().to_owned();
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.get(&format!("/crm/bulk/v8/write/{id}")).await.json()
    }

    /// Uploads a file for bulk writes; gives its id.
    async fn upload_zip(&self, zip: &[u8]) -> String {
        let mut body =
            b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.zip\"\r\n\r\n".to_vec();
        body.extend_from_slice(zip);
        body.extend_from_slice(b"\r\n--b--\r\n");
        let request = Request::post("https://content.zohoapis.com/crm/v8/upload")
            .header(AUTHORIZATION, format!("Zoho-oauthtoken {}", self.token))
            .header(CONTENT_TYPE, "multipart/form-data; boundary=b")
            .header("feature", "bulk-write")
            .header("x-crm-org", "600000001")
            .body(Body::full(body));
        let answer = send(&self.zoho, request.unwrap()).await.unwrap().json();
        answer["details"]["file_id"].as_str().unwrap().to_owned()
    }
}

/// The file of two leads, as another program zipped it.
const TWO_LEADS: &[u8] =
    b"PK\x03\x04\x14\x00\x00\x00\x08\x00Y\xadx]}\x8c\xde\x81.\x00\x00\x00;\x00\x00\x00\x09\x00\
    \x00\x00leads.csv\xf3I,.\x89\xf7K\xccM\xd5q\xcdM\xcc\xcc\xe1\xe5r\xc9O\xd5I\xc9OuH\xadH\
    \xcc-\xc8I\xd5K\xce\xcf\xe5\xe5\x0a\x02\x0a\x16\xa1\x0b\x02\x00PK\x01\x02\x1e\x03\x14\x00\
    \x00\x00\x08\x00Y\xadx]}\x8c\xde\x81.\x00\x00\x00;\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\
    \x00\x01\x00\x00\x00\xa4\x81\x00\x00\x00\x00leads.csvPK\x05\x06\x00\x00\x00\x00\x01\x00\
    \x01\x007\x00\x00\x00U\x00\x00\x00\x00\x00";

#[tokio::test(start_paused = true)]
async fn a_bulk_read_is_added_in_progress_and_completed() {
    let program = Program::shipped().await;
    for name in ["Doe", "Roe, \"Jane\"", "Poe"] {
        program.create("Leads", json!({ "Last_Name": name, "Company": "Acme" })).await;
    }
    let criteria = json!({ "field": { "api_name": "Last_Name" }, "comparator": "ends_with", "value": "e" });
    let any = json!({ "group_operator": "or", "group": [
        criteria, { "field": { "api_name": "Last_Name" }, "comparator": "starts_with", "value": "roe" }] });
    let query = json!({ "module": { "api_name": "Leads" }, "fields": ["Last_Name"], "criteria": any });
    let id = program.bulk_read(query.clone()).await;
    let result = format!("/crm/bulk/v5/read/{id}/result");
    assert_eq!(program.state(&id).await, "ADDED");
    assert_eq!(program.get(&result).await.json()["code"], "RESOURCE_NOT_FOUND");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(program.state(&id).await, "IN PROGRESS");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(program.state(&id).await, "COMPLETED");

    let told = program.get(&format!("/crm/bulk/v5/read/{id}")).await.json()["data"][0].clone();
    assert_eq!(told["query"], query);
    let expected =
        json!({ "page": 1, "per_page": 200_000, "count": 3, "download_url": result, "more_records": false });
    assert_eq!(told["result"], expected);
    let zip = program.get(&result).await;
    assert_eq!(zip.headers["content-type"], "application/x-download");
    assert_eq!(zip.headers["content-disposition"], format!("attachment; filename*=UTF-8''{id}.zip").as_str());
    let csv = unzipped(&zip.body);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0], "Id,Last_Name");
    assert!(lines[1].ends_with(",Doe") && lines[2].ends_with(",\"Roe, \"\"Jane\"\"\""), "{csv}");
}

#[tokio::test(start_paused = true)]
async fn a_bulk_read_of_a_module_has_all_its_fields() {
    let program = Program::shipped().await;
    program.create("Leads", json!({ "Last_Name": "Doe" })).await;
    let id = program.bulk_read(json!({ "module": "Leads" })).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let csv = unzipped(&program.get(&format!("/crm/bulk/v2/read/{id}/result")).await.body);
    let head = "Id,First_Name,Last_Name,Email,Company,Lead_Status,Created_Time,Modified_Time";
    assert_eq!(csv.lines().next(), Some(head));
}

#[tokio::test]
async fn a_bulk_read_of_what_there_is_not_is_refused() {
    let program = Program::shipped().await;
    for (query, code) in [
        (json!({ "module": "No" }), "MODULE_NOT_AVAILABLE"),
        (json!({ "module": "Leads", "fields": ["No"] }), "FIELD_NOT_AVAILABLE"),
        (json!({ "module": "Leads", "criteria": { "api_name": "Email" } }), "INVALID_CRITERIA"),
        (json!({ "module": "Leads", "page": 501 }), "PAGE_RANGE_EXCEEDED"),
    ] {
        let answer = program.call("POST", "/crm/bulk/v8/read", json!({ "query": query })).await;
        assert_eq!((answer.status, &answer.json()["code"]), (StatusCode::BAD_REQUEST, &json!(code)));
    }
    assert_eq!(program.get("/crm/bulk/v8/read/1").await.status, StatusCode::NOT_FOUND);
    assert_eq!(program.get("/crm/bulk/v8/no").await.json()["code"], "INVALID_URL_PATTERN");
    assert_eq!(program.get("/crm/bulk/v8/read").await.json()["code"], "INVALID_REQUEST_METHOD");
}

#[tokio::test(start_paused = true)]
async fn a_bulk_write_makes_records_of_the_lines_of_a_zipped_file() {
    let program = Program::shipped().await;
    let file = program.upload_zip(TWO_LEADS).await;
    let order = json!({ "operation": "insert", "resource": [{ "type": "data", "module": { "api_name": "Leads" },
        "file_id": file, "field_mappings": [{ "api_name": "Last_Name", "index": 0 },
            { "api_name": "Email", "index": 1 }, { "api_name": "Company", "default_value": { "value": "Acme" } }] }] });
    let told = program.bulk_write(order).await;
    assert_eq!((&told["status"], &told["operation"]), (&json!("COMPLETED"), &json!("insert")));
    let counts = json!({ "status": "COMPLETED", "name": "leads.csv", "added_count": 2, "updated_count": 0,
        "skipped_count": 0, "total_count": 2 });
    assert_eq!(told["resource"][0]["file"], counts);
    let found = program.get("/crm/v8/Leads/search?email=roe@example.com").await.json();
    assert_eq!(
        (&found["data"][0]["Last_Name"], &found["data"][0]["Company"]),
        (&json!("Roe"), &json!("Acme"))
    );

    let url = told["result"]["download_url"].as_str().unwrap();
    let path = url.strip_prefix("https://download-accl.zoho.com").expect("the URL is told with its host");
    let report = unzipped(&program.get(path).await.body);
    assert_eq!(report.lines().next(), Some("STATUS,RECORD_ID,ERRORS"));
    assert_eq!(report.matches("ADDED,").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_bulk_write_updates_whom_it_finds_and_skips_or_adds_the_rest() {
    let program = Program::shipped().await;
    program.create("Leads", json!({ "Last_Name": "Before", "Email": "doe@example.com" })).await;
    let order = async |operation: &str| {
        let file = program.upload_zip(TWO_LEADS).await;
        json!({ "operation": operation, "resource": [{ "type": "data", "module": "Leads", "file_id": file,
            "find_by": "Email" }] })
    };
    let updated = program.bulk_write(order("update").await).await["resource"][0]["file"].clone();
    assert_eq!((&updated["updated_count"], &updated["skipped_count"]), (&json!(1), &json!(1)));
    let found = program.get("/crm/v8/Leads/search?email=doe@example.com").await.json();
    assert_eq!(found["data"][0]["Last_Name"], "Doe");
    let upserted = program.bulk_write(order("upsert").await).await["resource"][0]["file"].clone();
    assert_eq!((&upserted["updated_count"], &upserted["added_count"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn a_bulk_write_without_what_it_needs_is_refused() {
    let program = Program::shipped().await;
    let (leads, text) = (program.upload_zip(TWO_LEADS).await, program.upload_zip(b"Last_Name").await);
    let order = |operation: &str, module: &str, file: &str, field: &str| {
        json!({ "operation": operation, "resource": [{ "module": module, "file_id": file,
            "field_mappings": [{ "api_name": field, "index": 0 }] }] })
    };
    for (order, code) in [
        (json!({}), "MISSING_REQUIRED_KEY"),
        (order("merge", "Leads", &leads, "Email"), "INVALID_DATA"),
        (order("insert", "No", &leads, "Email"), "MODULE_NOT_AVAILABLE"),
        (order("insert", "Leads", "1", "Email"), "INVALID_FILE_ID"),
        (order("insert", "Leads", &text, "Email"), "INVALID_FILE_FORMAT"),
        (order("insert", "Leads", &leads, "ast_Name"), "INVALID_FIELD"),
    ] {
        let answer = program.call("POST", "/crm/bulk/v8/write", order).await;
        assert_eq!((answer.status, &answer.json()["code"]), (StatusCode::BAD_REQUEST, &json!(code)));
    }
}
