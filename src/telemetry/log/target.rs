//! Where lines are written: standard output or standard error, byte by byte as the system takes them.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

/// A standard stream of the process, without the buffer and the lock of the standard library, both of which would
/// outlast a write that failed or never returned.
pub(crate) struct Descriptor(File);

impl Descriptor {
    pub(crate) fn output() -> io::Result<Self> {
        Self::of(io::stdout().as_fd())
    }

    pub(crate) fn errors() -> io::Result<Self> {
        Self::of(io::stderr().as_fd())
    }

    fn of(descriptor: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self(descriptor.try_clone_to_owned()?.into()))
    }

    /// Whether both lead to the same file, pipe or terminal.
    pub(super) fn is_same_file(&self, other: &Self) -> bool {
        let identity = |of: &Self| of.0.metadata().ok().map(|data| (data.dev(), data.ino()));
        identity(self).is_some_and(|own| Some(own) == identity(other))
    }
}

/// How long a write rests after the system said that it would block, in addition to waiting until it no longer would.
/// So nothing spins where readiness is reported wrongly.
const WOULD_BLOCK_PAUSE: Duration = Duration::from_millis(1);

impl Write for Descriptor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                // The descriptor may be shared with a process that has made it non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let _ = poll(&mut [PollFd::new(&self.0, PollFlags::OUT)], None);
                    std::thread::sleep(WOULD_BLOCK_PAUSE);
                }
                // Not open for writing: nobody expects output there, as the standard library sees it too.
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::BADF.raw_os_error()) => {
                    return Ok(bytes.len());
                }
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where one stream writes. Streams that lead to the same file share what is known of its last line.
pub(super) struct Target<W> {
    out: W,
    name: &'static str,
    /// Who has written a line there only in part; `None` while the last line is whole.
    unfinished: Arc<Mutex<Option<&'static str>>>,
}

impl<W: Write> Target<W> {
    pub(super) fn new(name: &'static str, out: W) -> Self {
        Self { out, name, unfinished: Arc::default() }
    }

    /// A target for the same file, in which both keep their lines apart.
    pub(super) fn beside<O>(&self, name: &'static str, out: O) -> Target<O> {
        Target { out, name, unfinished: self.unfinished.clone() }
    }

    /// Writes the rest of a batch. After an error the batch knows how far it got, and the next call goes on there.
    ///
    /// The lock is held while the system writes, so that a line of one stream never lands within a line of another.
    pub(super) fn write(&mut self, batch: &mut Batch) -> io::Result<()> {
        let mut unfinished = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        if *unfinished != Some(self.name) {
            batch.back_to_line_start();
        }
        if unfinished.is_some() && batch.is_at_line_start() && !batch.rest().is_empty() {
            // The rest of that line will never come here: the other stream writes it anew, or it was given up.
            write_some(&mut self.out, b"\n")?;
            *unfinished = None;
        }
        while !batch.rest().is_empty() {
            batch.written += write_some(&mut self.out, batch.rest())?;
            *unfinished = (!batch.is_at_line_start()).then_some(self.name);
        }
        self.out.flush()
    }
}

fn write_some(out: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match out.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            other => return other,
        }
    }
}

/// Whole lines, and how much of them is written.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) text: Vec<u8>,
    written: usize,
}

impl Batch {
    fn rest(&self) -> &[u8] {
        &self.text[self.written..]
    }

    fn is_at_line_start(&self) -> bool {
        self.written == 0 || self.text[self.written - 1] == b'\n'
    }

    fn back_to_line_start(&mut self) {
        self.written = memchr::memrchr(b'\n', &self.text[..self.written]).map_or(0, |end| end + 1);
    }

    /// Empties the batch. Says how many lines of it were not written.
    pub(super) fn clear(&mut self) -> u64 {
        let lines = memchr::memchr_iter(b'\n', self.rest()).count();
        self.text.clear();
        self.written = 0;
        lines as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that takes this many more bytes and is full then.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Disk {
        fn with_room_for(bytes: usize) -> Self {
            let disk = Self::default();
            disk.free(bytes);
            disk
        }

        fn free(&self, bytes: usize) {
            self.0.lock().unwrap().1 = bytes;
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().0.clone()).unwrap()
        }
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (text, room) = &mut *self.0.lock().unwrap();
            let taken = bytes.len().min(*room);
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            text.extend_from_slice(&bytes[..taken]);
            *room -= taken;
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn batch(text: &str) -> Batch {
        Batch { text: text.as_bytes().to_vec(), written: 0 }
    }

    #[test]
    fn a_line_that_was_written_in_part_is_completed_once_there_is_room() {
        let disk = Disk::with_room_for(7);
        let (mut target, mut lines) = (Target::new("requests", disk.clone()), batch("one\ntwo\nthree\n"));
        assert!(target.write(&mut lines).is_err());
        disk.free(100);
        target.write(&mut lines).unwrap();
        assert_eq!(disk.text(), "one\ntwo\nthree\n");
        assert_eq!(lines.clear(), 0);
    }

    #[test]
    fn a_broken_line_is_ended_before_another_stream_writes_to_the_same_file_and_is_written_anew() {
        let disk = Disk::with_room_for(6);
        let mut requests = Target::new("requests", disk.clone());
        let mut events = requests.beside("events", disk.clone());
        let (mut lines, mut event) = (batch("one\ntwo\n"), batch("event\n"));
        assert!(requests.write(&mut lines).is_err());
        disk.free(100);
        events.write(&mut event).unwrap();
        requests.write(&mut lines).unwrap();
        assert_eq!(disk.text(), "one\ntw\nevent\ntwo\n");
    }

    #[test]
    fn what_follows_a_broken_line_that_was_given_up_is_a_line_of_its_own() {
        let disk = Disk::with_room_for(6);
        let (mut target, mut lines) = (Target::new("requests", disk.clone()), batch("one\ntwo\nthree\n"));
        assert!(target.write(&mut lines).is_err());
        assert_eq!(lines.clear(), 2, "the broken line and the one behind it");
        disk.free(100);
        target.write(&mut batch("four\n")).unwrap();
        assert_eq!(disk.text(), "one\ntw\nfour\n");
    }
}
