//! Photos: one of a record, one of the organisation.

use http::{Method, StatusCode};
use serde_json::json;

use super::ask::Ask;
use super::external::reach;
use super::model::{File, Holder};
use super::state::Crm;
use super::upload::Upload;
use crate::emulator::replies::{self, Reply, success};

/// `/{module}/{id}/photo`
pub(super) fn of_record(
    crm: &mut Crm,
    ask: &Ask<'_>,
    module: &str,
    record: &str,
    upload: Option<&Upload>,
) -> Reply {
    match reach(crm, ask, module, record) {
        Ok(record) => photo(crm, ask, Holder::PhotoOf(record), upload),
        Err(reply) => reply,
    }
}

/// `/org/photo`
pub(super) fn of_organisation(crm: &mut Crm, ask: &Ask<'_>, upload: Option<&Upload>) -> Reply {
    photo(crm, ask, Holder::Organisation, upload)
}

fn photo(crm: &mut Crm, ask: &Ask<'_>, holder: Holder, upload: Option<&Upload>) -> Reply {
    match (ask.method, upload) {
        (&Method::POST, Some(upload)) => put(crm, ask, holder, upload),
        (&Method::GET, None) => {
            let photo = crm.files.of(&holder).next();
            photo.map_or_else(|| Reply::empty(StatusCode::NO_CONTENT), File::download)
        }
        (&Method::DELETE, None) => {
            if crm.files.remove(|file| file.holder == holder) {
                Reply::ok(&success(json!({}), "photo deleted"))
            } else {
                Reply::bad("INVALID_REQUEST", json!({}), "there is no photo")
            }
        }
        _ => replies::invalid_method(),
    }
}

/// The new photo takes the place of the old one.
fn put(crm: &mut Crm, ask: &Ask<'_>, holder: Holder, upload: &Upload) -> Reply {
    let Some((name, content)) = upload.files().into_iter().next() else {
        let message = "the request does not contain any file";
        return Reply::bad("INVALID_DATA", json!({ "api_name": "file" }), message);
    };
    crm.files.remove(|file| file.holder == holder);
    let id = crm.new_id();
    crm.files.add(File::new(id, name, content, holder, ask.wall));
    Reply::ok(&success(json!({}), "photo uploaded successfully"))
}
