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
