//! Files: uploaded in multipart, downloaded as bytes. Whatever has bytes of its own is kept here.

use std::collections::VecDeque;
use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::ask::Ask;
use super::state::Crm;
use super::upload::Upload;
use crate::emulator::random;
use crate::emulator::replies::{self, Content, Reply, success};

/// How many bytes of files are kept, of one upload as of all together. Longer uploads are measured only.
pub(super) const KEPT: usize = 64 * 1024 * 1024;

/// How many files are kept.
const FILES: usize = 1_000;

/// The files of an organisation, oldest first; the oldest give way.
#[derive(Clone, Default)]
pub(in crate::emulator) struct Files(VecDeque<File>);

/// A file, or a link that stands in the place of one.
#[derive(Clone)]
pub(super) struct File {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) content: Bytes,
    /// Where a link leads.
    pub(super) link: Option<String>,
    pub(super) holder: Holder,
    pub(super) created: SystemTime,
}

/// What a file belongs to.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Holder {
    /// Nothing: who has its id may use it.
    Nobody,
    /// A record, as one of its attachments.
    Attached(String),
    /// A record, as its photo.
    PhotoOf(String),
    /// The organisation, as its photo.
    Organisation,
    /// A bulk job, as its result.
    ResultOf(String),
}

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

impl File {
    pub(super) fn new(id: String, name: String, content: Bytes, holder: Holder, now: SystemTime) -> Self {
        Self { id, name, content, link: None, holder, created: now }
    }

    pub(super) fn download(&self) -> Reply {
        Reply::download(&self.name, Content::Bytes(self.content.clone()))
    }
}

impl Files {
    pub(super) fn add(&mut self, file: File) {
        self.0.push_back(file);
        let size = |files: &VecDeque<File>| files.iter().map(|file| file.content.len()).sum::<usize>();
        while self.0.len() > FILES || size(&self.0) > KEPT {
            self.0.pop_front();
        }
    }

    pub(super) fn find(&self, id: &str) -> Option<&File> {
        self.0.iter().find(|file| file.id == id)
    }

    /// The files that something holds, oldest first.
    pub(super) fn of(&self, holder: &Holder) -> impl Iterator<Item = &File> {
        self.0.iter().filter(move |file| file.holder == *holder)
    }

    /// Takes away what is wanted no more; tells whether there was any.
    pub(super) fn remove(&mut self, is_unwanted: impl Fn(&File) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|file| !is_unwanted(file));
        self.0.len() < before
    }
}
