//! Files: uploaded in multipart, downloaded as bytes.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::{Ask, Crm};
use crate::emulator::multipart;
use crate::emulator::random;
use crate::emulator::replies::{self, Content, Reply, success};
use crate::net::body::{Body, BoxError};

/// How many bytes of files are kept, of one upload as of all together. Longer uploads are measured only.
pub(in crate::emulator) const KEPT: usize = 64 * 1024 * 1024;

/// How many files are kept.
const FILES: usize = 1_000;

/// The files of an organisation, oldest first; the oldest give way.
#[derive(Default)]
pub(in crate::emulator) struct Files(VecDeque<File>);

struct File {
    id: String,
    name: String,
    content: Bytes,
}

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
    fn files(&self) -> Vec<(String, Bytes)> {
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
}

/// `POST /files`
pub(in crate::emulator) fn store(crm: &mut Crm, upload: &Upload) -> Reply {
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
        crm.files.add(File { id, name, content });
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
    match crm.files.0.iter().find(|file| file.id == id) {
        Some(file) => Reply::download(&file.name, Content::Bytes(file.content.clone())),
        None => Reply::bad("INVALID_DATA", json!({ "param_name": "id" }), "the id given seems to be invalid"),
    }
}

/// `POST /crm/{version}/upload` on the host for uploads.
pub(in crate::emulator) fn bulk_upload(
    crm: &mut Crm,
    headers: &HeaderMap,
    upload: &Upload,
    time: &str,
) -> Reply {
    let is = |name: &str, wanted: &str| {
        headers.get(name).is_some_and(|value| value.as_bytes() == wanted.as_bytes())
    };
    if !is("feature", "bulk-write") || !is("x-crm-org", &crm.zgid) {
        let details = json!({ "header_names": ["feature", "X-CRM-ORG"] });
        return Reply::bad("INVALID_REQUEST", details, "the headers of an upload are missing or wrong");
    }
    let Some((name, content)) = upload.files().into_iter().next() else {
        return Reply::bad("FILE_NOT_PRESENT", json!({ "api_name": "file" }), "the file is missing");
    };
    let id = crm.new_id();
    crm.files.add(File { id: id.clone(), name, content });
    let details = json!({ "file_id": id, "created_time": time });
    let status = StatusCode::OK;
    let answer = json!({ "status": "success", "code": "FILE_UPLOAD_SUCCESS", "message": "file uploaded.",
        "details": details });
    Reply::json(status, &answer)
}

impl Files {
    fn add(&mut self, file: File) {
        self.0.push_back(file);
        let size = |files: &VecDeque<File>| files.iter().map(|file| file.content.len()).sum::<usize>();
        while self.0.len() > FILES || size(&self.0) > KEPT {
            self.0.pop_front();
        }
    }
}
