//! The files of an organisation. Whatever has bytes of its own is kept here.

use std::collections::VecDeque;
use std::time::SystemTime;

use bytes::Bytes;

use crate::emulator::replies::{Content, Reply};

/// How many bytes of files are kept, of one upload as of all together. Longer uploads are measured only.
pub(in crate::emulator::crm) const KEPT: usize = 64 * 1024 * 1024;

/// How many files are kept.
const FILES: usize = 1_000;

/// The files of an organisation, oldest first; the oldest give way.
#[derive(Clone, Default)]
pub(in crate::emulator) struct Files(VecDeque<File>);

/// A file, or a link that stands in the place of one.
#[derive(Clone)]
pub(in crate::emulator::crm) struct File {
    pub(in crate::emulator::crm) id: String,
    pub(in crate::emulator::crm) name: String,
    pub(in crate::emulator::crm) content: Bytes,
    /// Where a link leads.
    pub(in crate::emulator::crm) link: Option<String>,
    pub(in crate::emulator::crm) holder: Holder,
    pub(in crate::emulator::crm) created: SystemTime,
}

/// What a file belongs to.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::emulator::crm) enum Holder {
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

impl File {
    pub(in crate::emulator::crm) fn new(
        id: String,
        name: String,
        content: Bytes,
        holder: Holder,
        now: SystemTime,
    ) -> Self {
        Self { id, name, content, link: None, holder, created: now }
    }

    pub(in crate::emulator::crm) fn download(&self) -> Reply {
        Reply::download(&self.name, Content::Bytes(self.content.clone()))
    }
}

impl Files {
    pub(in crate::emulator::crm) fn add(&mut self, file: File) {
        self.0.push_back(file);
        let size = |files: &VecDeque<File>| files.iter().map(|file| file.content.len()).sum::<usize>();
        while self.0.len() > FILES || size(&self.0) > KEPT {
            self.0.pop_front();
        }
    }

    pub(in crate::emulator::crm) fn find(&self, id: &str) -> Option<&File> {
        self.0.iter().find(|file| file.id == id)
    }

    /// The files that something holds, oldest first.
    pub(in crate::emulator::crm) fn of(&self, holder: &Holder) -> impl Iterator<Item = &File> {
        self.0.iter().filter(move |file| file.holder == *holder)
    }

    /// Takes away what is wanted no more; tells whether there was any.
    pub(in crate::emulator::crm) fn remove(&mut self, is_unwanted: impl Fn(&File) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|file| !is_unwanted(file));
        self.0.len() < before
    }
}
