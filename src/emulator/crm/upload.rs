//! Uploads: multipart bodies of any length, and what is done with each.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use serde_json::json;

use super::ask::{ApiPath, Ask};
use super::files;
use super::model::{File, Holder, KEPT};
use super::state::Crm;
use super::{attachments, photos};
use crate::emulator::replies::{self, Reply};
use crate::net::body::{Body, BoxError};
use crate::net::form::Form;
use crate::net::multipart;

/// An upload as it arrived.
pub(in crate::emulator) struct Upload {
    /// Its beginning, up to [`KEPT`] bytes.
    bytes: Bytes,
    content_type: String,
}

impl Upload {
    /// Reads a body to its end, keeping no more than [`KEPT`] bytes of it.
    pub(in crate::emulator) async fn receive(headers: &HeaderMap, mut body: Body) -> Result<Self, BoxError> {
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                let room = KEPT - bytes.len();
                bytes.extend_from_slice(&data[..data.len().min(room)]);
            }
        }
        let content_type = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Ok(Self { bytes: bytes.freeze(), content_type: content_type.unwrap_or_default().to_owned() })
    }

    /// The files in it: name and content.
    pub(super) fn files(&self) -> Vec<(String, Bytes)> {
        let Some(boundary) = multipart::boundary(&self.content_type) else { return Vec::new() };
        let mut parts = multipart::parts(&self.bytes, &boundary);
        if parts.is_empty() {
            // Too long to have been kept whole: what was kept stands for it.
            let start = multipart::find(&self.bytes, b"\r\n").map_or(0, |at| at + 2);
            parts.extend(multipart::part(&self.bytes[start..]));
        }
        let file = |part: multipart::Part<'_>| Some((part.file_name?, self.bytes.slice_ref(part.content)));
        parts.into_iter().filter_map(file).collect()
    }

    /// What else is in it: names and values.
    pub(super) fn form(&self) -> Form {
        Form::body(Some(&self.content_type), &self.bytes)
    }
}

/// Whether a call's body is an upload.
pub(in crate::emulator) fn is_upload(method: &Method, path: &ApiPath) -> bool {
    let segments = path.segments();
    let takes_files = matches!(
        segments.as_slice(),
        ["files" | "upload"] | ["org", "photo"] | [_, _, "Attachments" | "photo"]
    );
    *method == Method::POST && !path.bulk && takes_files
}

/// Does what is asked with an upload; the body of `ask` is empty.
pub(in crate::emulator) fn answer(crm: &mut Crm, ask: &Ask<'_>, upload: &Upload) -> Reply {
    crm.settle(ask.now);
    match ask.path.segments().as_slice() {
        ["files"] => files::store(crm, ask, upload),
        ["upload"] => for_bulk_write(crm, ask, upload),
        ["org", "photo"] => photos::of_organisation(crm, ask, Some(upload)),
        [module, id, "photo"] => photos::of_record(crm, ask, module, id, Some(upload)),
        [module, id, "Attachments"] => attachments::attach(crm, ask, module, id, upload),
        _ => replies::invalid_url(),
    }
}

/// `POST /crm/{version}/upload` on the host for uploads.
fn for_bulk_write(crm: &mut Crm, ask: &Ask<'_>, upload: &Upload) -> Reply {
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
