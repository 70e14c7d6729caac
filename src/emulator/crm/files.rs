//! Files: uploaded in multipart, downloaded as bytes.

use http::Method;
use serde_json::{Value, json};

use super::ask::Ask;
use super::model::{File, Holder};
use super::state::Crm;
use super::upload::Upload;
use crate::emulator::random;
use crate::emulator::replies::{self, Reply, success};

/// `POST /files`
pub(super) fn store(crm: &mut Crm, ask: &Ask<'_>, upload: &Upload) -> Reply {
    let files = upload.files();
    if files.is_empty() || files.len() > 10 {
        return Reply::bad(
            "INVALID_DATA",
            json!({ "api_name": "file" }),
            "give one to ten files in multipart",
        );
    }
    let items = files.into_iter().map(|(name, content)| {
        let id = random::hex(64);
        let item = success(json!({ "name": name, "id": id }), &format!("{name} uploaded Succesfully"));
        crm.files.add(File::new(id, name, content, Holder::Nobody, ask.wall));
        item
    });
    let items: Vec<Value> = items.collect();
    Reply::ok(&json!({ "data": items }))
}

/// `POST /crm/{version}/upload` on the host for uploads.
pub(super) fn for_bulk_write(crm: &mut Crm, ask: &Ask<'_>, upload: &Upload) -> Reply {
    let is = |name: &str, wanted: &str| {
        ask.headers.get(name).is_some_and(|value| value.as_bytes() == wanted.as_bytes())
    };
    if !is("feature", "bulk-write") || !is("x-crm-org", &crm.zgid) {
        let details = json!({ "header_names": ["feature", "X-CRM-ORG"] });
        return Reply::bad("INVALID_REQUEST", details, "the headers of an upload are missing or wrong");
    }
    let Some((name, content)) = upload.files().into_iter().next() else {
        return Reply::bad("FILE_NOT_PRESENT", json!({ "api_name": "file" }), "the file is missing");
    };
    let id = crm.new_id();
    crm.files.add(File::new(id.clone(), name, content, Holder::Nobody, ask.wall));
    let details = json!({ "file_id": id, "created_time": replies::iso(ask.wall) });
    Reply::ok(&json!({ "status": "success", "code": "FILE_UPLOAD_SUCCESS", "message": "file uploaded.",
        "details": details }))
}

/// `GET /files?id=`
pub(super) fn download(crm: &Crm, ask: &Ask<'_>) -> Reply {
    if ask.method != Method::GET {
        return replies::invalid_method();
    }
    let id = ask.query.value("id").unwrap_or_default();
    match crm.files.find(id) {
        Some(file) => file.download(),
        None => Reply::bad("INVALID_DATA", json!({ "param_name": "id" }), "the id given seems to be invalid"),
    }
}
