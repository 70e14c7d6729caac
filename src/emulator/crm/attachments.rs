//! Attachments of records: files, and links that stand in the place of files.

use http::StatusCode;
use serde_json::{Value, json};

use super::ask::Ask;
use super::external::reach;
use super::items::{self, unknown_id};
use super::model::{File, Holder};
use super::state::Crm;
use super::upload::Upload;
use crate::emulator::replies::{self, Reply, success};

/// The key of the lists.
const KEY: &str = "data";
/// How many attachments one call may delete.
const DELETE_AT_MOST: usize = 100;

/// `POST /{module}/{id}/Attachments`: a file in multipart, or a link as `attachmentUrl`.
pub(super) fn attach(crm: &mut Crm, ask: &Ask<'_>, module: &str, record: &str, upload: &Upload) -> Reply {
    let record = match reach(crm, ask, module, record) {
        Ok(record) => record,
        Err(reply) => return reply,
    };
    let form = upload.form();
    let told = |name: &str| ask.query.value(name).or_else(|| form.value(name)).map(str::to_owned);
    let (name, content, link) = match (upload.files().into_iter().next(), told("attachmentUrl")) {
        (Some((name, content)), _) => (name, content, None),
        (None, Some(url)) => (told("title").unwrap_or_else(|| url.clone()), bytes::Bytes::new(), Some(url)),
        (None, None) => {
            let message = "the request does not contain any file";
            return Reply::bad("INVALID_DATA", json!({ "api_name": "file" }), message);
        }
    };
    let id = crm.new_id();
    let (who, now) = (crm.me(), replies::iso(ask.wall));
    let details = json!({ "Modified_Time": now, "Modified_By": who, "Created_Time": now, "id": id,
        "Created_By": who });
    let file = File::new(id, name, content, Holder::Attached(record), ask.wall);
    crm.files.add(File { link, ..file });
    items::outcome(KEY, StatusCode::OK, vec![Ok(success(details, "attachment uploaded successfully"))])
}

/// `/{module}/{id}/Attachments`, apart from `POST`.
pub(super) fn all(crm: &mut Crm, ask: &Ask<'_>, module: &str, record: &str) -> Reply {
    let record = match reach(crm, ask, module, record) {
        Ok(record) => record,
        Err(reply) => return reply,
    };
    match ask.method.as_str() {
        "GET" => {
            let ids = ask.query.list("ids");
            let holder = Holder::Attached(record.clone());
            let files = crm.files.of(&holder);
            let wanted = files.filter(|file| ids.is_empty() || ids.contains(&file.id.as_str()));
            let rows = wanted.map(|file| shown(crm, file, module, &record)).collect();
            items::list(ask, KEY, rows, 200)
        }
        "DELETE" => match items::ids(ask, DELETE_AT_MOST) {
            Ok(ids) => {
                let gone = ids.iter().map(|id| detach(crm, &record, id)).collect();
                items::outcome(KEY, StatusCode::OK, gone)
            }
            Err(reply) => reply,
        },
        _ => replies::invalid_method(),
    }
}

/// `/{module}/{id}/Attachments/{attachment}`
pub(super) fn one(crm: &mut Crm, ask: &Ask<'_>, module: &str, record: &str, id: &str) -> Reply {
    let record = match reach(crm, ask, module, record) {
        Ok(record) => record,
        Err(reply) => return reply,
    };
    match ask.method.as_str() {
        "GET" => match crm.files.of(&Holder::Attached(record)).find(|file| file.id == id) {
            Some(file) if file.link.is_none() => file.download(),
            _ => items::refused(&unknown_id(id)),
        },
        "DELETE" => items::outcome(KEY, StatusCode::OK, vec![detach(crm, &record, id)]),
        _ => replies::invalid_method(),
    }
}

fn detach(crm: &mut Crm, record: &str, id: &str) -> Result<Value, Value> {
    let is_it = |file: &File| file.id == id && matches!(&file.holder, Holder::Attached(to) if to == record);
    let gone = crm.files.remove(is_it);
    let deleted = || success(json!({ "id": id }), "record deleted");
    gone.then(deleted).ok_or_else(|| unknown_id(id))
}

fn shown(crm: &Crm, file: &File, module: &str, record: &str) -> Value {
    let (who, now) = (crm.me(), replies::iso(file.created));
    json!({
        "id": file.id,
        "Owner": who,
        "Created_By": who,
        "Modified_By": who,
        "Created_Time": now,
        "Modified_Time": now,
        "File_Name": file.name,
        "Size": file.content.len().to_string(),
        "Parent_Id": { "id": record, "name": crm.name_of(module, record) },
        "$editable": true,
        "$file_id": file.id,
        "$se_module": module,
        "$type": if file.link.is_some() { "Link URL" } else { "Attachment" },
        "$link_url": file.link,
        "$state": "save",
    })
}
