//! Uploads: multipart bodies of any length.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};
use http_body_util::BodyExt;

use super::ask::ApiPath;
use super::model::KEPT;
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
