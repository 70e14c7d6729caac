//! A call of the API, and its path taken apart.

use std::time::SystemTime;

use http::{HeaderMap, Method};

use crate::clock::BootTime;
use crate::net::form::{self, Form};
use crate::zoho::path::is_version;

/// A call of the API whose body is in memory.
pub(in crate::emulator) struct Ask<'a> {
    /// The method; `HEAD` is asked as `GET`.
    pub(in crate::emulator) method: &'a Method,
    pub(in crate::emulator) path: &'a ApiPath,
    pub(in crate::emulator) query: &'a Form,
    pub(in crate::emulator) headers: &'a HeaderMap,
    pub(in crate::emulator) body: &'a [u8],
    /// The origin that was asked, if it is none of Zoho's.
    pub(in crate::emulator) home: Option<&'a str>,
    pub(in crate::emulator) wall: SystemTime,
    pub(in crate::emulator) now: BootTime,
}

/// A path of the API, taken apart.
pub(in crate::emulator) struct ApiPath {
    /// Whether it is of the form `/crm/bulk/{version}/…`.
    pub(in crate::emulator) bulk: bool,
    /// The version as it was written.
    pub(super) version: String,
    /// What follows the version, decoded.
    segments: Vec<String>,
}

impl ApiPath {
    /// Reads `/crm/{version}/…` and `/crm/bulk/{version}/…`, and `/v2/crm/…`, where results of bulk writes lie.
    pub(in crate::emulator) fn read(path: &str) -> Option<Self> {
        if let Some(result) = path.strip_prefix("/v2/crm/") {
            let segments = result.split('/').map(form::decode).collect();
            return Some(Self { bulk: true, version: "v2".to_owned(), segments });
        }
        let mut segments = path.strip_prefix("/crm/")?.split('/').peekable();
        let bulk = segments.next_if_eq(&"bulk").is_some();
        let version = segments.next().filter(|version| is_version(version))?.to_owned();
        let segments = segments.map(|segment| form::decode(&segment.replace('+', "%2B"))).collect();
        Some(Self { bulk, version, segments })
    }

    /// What follows the version.
    pub(in crate::emulator) fn segments(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }
}
