//! Files, read and written so that one that does not return holds up nothing else.
//!
//! A FIFO, a network file system that hangs or a device may keep a read waiting for ever, and nothing can end it. So
//! each runs on a thread for blocking work, and is waited for no longer than [`TIME_LIMIT`]. While it has not returned,
//! no other begins on the same file: however often a file is polled, it costs one thread.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;
use secrecy::{ExposeSecret, SecretBox};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

/// How long is waited for a file.
pub const TIME_LIMIT: Duration = Duration::from_secs(5);

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system says no.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The system does not answer, now or since an earlier attempt.
    #[error("the system has not come back with it within {0:?}")]
    NotReturned(Duration),
    /// It is longer than what may be read of it.
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
    /// It is a link, a FIFO, a device or a directory.
    #[error("it is not a regular file")]
    NotRegular,
    /// It holds something other than text.
    #[error("it is not UTF-8 text")]
    NotText,
}

impl From<FileError> for io::Error {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Io(error) => error,
            FileError::NotReturned(_) => Self::new(io::ErrorKind::TimedOut, error),
            FileError::TooLong(_) | FileError::NotRegular | FileError::NotText => {
                Self::new(io::ErrorKind::InvalidData, error)
            }
        }
    }
}

/// The contents of a file. They may be a secret, so they are wiped from memory when dropped and never printed.
pub struct Contents(SecretBox<Vec<u8>>);

impl Contents {
    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        self.0.expose_secret()
    }

    /// All of it, if it is text. Some editors put a byte order mark before it, which is no part of it.
    pub fn text(&self) -> Result<&str, FileError> {
        let text = std::str::from_utf8(self.bytes()).map_err(|_| FileError::NotText)?;
        Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
    }
}

/// The files that have not come back within [`TIME_LIMIT`] and still do not.
pub fn hanging() -> Vec<PathBuf> {
    let all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    all.iter().filter(|(_, turn)| turn.hangs()).map(|(path, _)| path.clone()).collect()
}

/// Reads a file of at most `most` bytes, on the blocking pool of the current runtime.
pub async fn read(path: &Path, most: usize) -> Result<Contents, FileError> {
    let own = path.to_owned();
    run(path, move || read_up_to(&own, most)).await
}

/// The same where there is no runtime, or nothing is served yet: keeps this thread waiting, no longer than
/// [`TIME_LIMIT`].
pub fn read_now(path: &Path, most: usize) -> Result<Contents, FileError> {
    let own = path.to_owned();
    run_now(path, move || read_up_to(&own, most))
}

/// Does something with a file on the blocking pool of the current runtime.
pub async fn run<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    run_within(TIME_LIMIT, path, work).await
}

/// The same on a thread of its own, while this one waits.
pub fn run_now<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    run_now_within(TIME_LIMIT, path, work)
}

/// Opens a regular file, never what a link points to, and never waits for the other end of a FIFO.
pub fn open_regular(options: &mut OpenOptions, path: &Path) -> Result<File, FileError> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = options.custom_flags(flags.bits().cast_signed()).open(path).map_err(|error| {
        // A link, a directory, a FIFO without a reader.
        let odd = [Errno::LOOP, Errno::ISDIR, Errno::NXIO].map(|errno| Some(errno.raw_os_error()));
        if odd.contains(&error.raw_os_error()) { FileError::NotRegular } else { FileError::Io(error) }
    })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(FileError::NotRegular) }
}

/// Reads at most `most` bytes of an open file.
pub fn read_open(mut file: File, most: usize) -> Result<Contents, FileError> {
    // Room for all of it at once. `read_to_end` would read a short file into a buffer on the stack first, and that of one
    // that grows meanwhile would leave a copy behind.
    let expected = usize::try_from(file.metadata()?.len()).unwrap_or(most).min(most);
    let mut bytes = Zeroizing::new(vec![0; expected + 1]);
    let mut length = 0;
    loop {
        if length == bytes.len() {
            if length > most {
                return Err(FileError::TooLong(most));
            }
            let mut longer = Zeroizing::new(vec![0; (2 * length).min(most + 1)]);
            longer[..length].copy_from_slice(&bytes);
            bytes = longer;
        }
        match file.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(length);
    Ok(Contents(SecretBox::new(Box::new(std::mem::take(&mut *bytes)))))
}

fn read_up_to(path: &Path, most: usize) -> Result<Contents, FileError> {
    read_open(File::open(path)?, most)
}

async fn run_within<T: Send + 'static>(
    limit: Duration,
    path: &Path,
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    let mut turn = Turn::at(path);
    if turn.hangs() {
        turn = turn.anew(path, limit).await.ok_or(FileError::NotReturned(limit))?;
    }
    let working = async {
        let Ok(permit) = turn.free.clone().acquire_owned().await else {
            return Err(FileError::NotReturned(limit));
        };
        let work = turn.take(path, permit, work);
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(ended_early()))
    };
    match tokio::time::timeout(limit, working).await {
        Ok(result) => result,
        Err(_) => Err(turn.has_hung(limit)),
    }
}

fn run_now_within<T: Send + 'static>(
    limit: Duration,
    path: &Path,
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    const PAUSE: Duration = Duration::from_millis(10);
    let turn = Turn::at(path);
    let mut waited = Duration::ZERO;
    let permit = loop {
        match turn.free.clone().try_acquire_owned() {
            Ok(permit) => break permit,
            Err(_) if turn.hangs() || waited >= limit => return Err(turn.has_hung(limit)),
            Err(_) => std::thread::sleep(PAUSE),
        }
        waited += PAUSE;
    };
    let work = turn.take(path, permit, work);
    let (send, receive) = mpsc::sync_channel(1);
    std::thread::Builder::new().name("file".to_owned()).spawn(move || {
        let _ = send.send(work());
    })?;
    match receive.recv_timeout(limit) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => Err(turn.has_hung(limit)),
        Err(RecvTimeoutError::Disconnected) => Err(ended_early()),
    }
}

fn ended_early() -> FileError {
    FileError::Io(io::Error::other("the thread for it ended early"))
}

/// By path. There are as many as the configuration names files.
static ALL: Mutex<BTreeMap<PathBuf, Arc<Turn>>> = Mutex::new(BTreeMap::new());

/// Lets one operation at a time work on a file.
struct Turn {
    free: Arc<Semaphore>,
    /// Whether the current operation has timed out. Only meaningful while one is running.
    given_up: AtomicBool,
    /// The file at the path when the operation began.
    file: Mutex<Option<Identity>>,
    /// Lets one look at a time find out whether the path leads somewhere else by now.
    look: Arc<Semaphore>,
}

/// The device and the number of a file.
type Identity = (u64, u64);

/// The identity of the file at a path, of any type; `None` if there is none.
fn identity(path: &Path) -> Option<Identity> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl Default for Turn {
    fn default() -> Self {
        let one = || Arc::new(Semaphore::new(1));
        Self { free: one(), given_up: AtomicBool::new(false), file: Mutex::new(None), look: one() }
    }
}

impl Turn {
    /// The one of a path.
    fn at(path: &Path) -> Arc<Self> {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(path.to_owned()).or_default().clone()
    }

    /// A new turn at a path where an operation hangs, if it leads to another file since that began: a FIFO or a file of
    /// another machine was replaced. The look may hang as the operation does, and then is the last.
    async fn anew(self: Arc<Self>, path: &Path, limit: Duration) -> Option<Arc<Self>> {
        let permit = self.look.clone().try_acquire_owned().ok()?;
        let own = path.to_owned();
        let look = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            identity(&own)
        });
        let found = tokio::time::timeout(limit, look).await.ok()?.ok()?;
        if found == *self.file.lock().unwrap_or_else(PoisonError::into_inner) {
            return None;
        }
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        let current = all.entry(path.to_owned()).or_default();
        if Arc::ptr_eq(current, &self) {
            *current = Arc::default();
        }
        Some(current.clone())
    }

    /// The work, which gives the turn back when it returns.
    fn take<T>(
        self: &Arc<Self>,
        path: &Path,
        permit: OwnedSemaphorePermit,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl FnOnce() -> T + Send + 'static {
        self.given_up.store(false, Ordering::Relaxed);
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let (turn, path) = (self.clone(), path.to_owned());
        move || {
            let _permit = permit;
            *turn.file.lock().unwrap_or_else(PoisonError::into_inner) = identity(&path);
            work()
        }
    }

    fn hangs(&self) -> bool {
        self.given_up.load(Ordering::Relaxed) && self.free.available_permits() == 0
    }

    fn has_hung(&self, limit: Duration) -> FileError {
        self.given_up.store(true, Ordering::Relaxed);
        FileError::NotReturned(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::sync::atomic::AtomicUsize;

    const SHORT: Duration = Duration::from_millis(200);

    fn fifo(directory: &Path) -> PathBuf {
        let path = directory.join("fifo");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        path
    }

    #[tokio::test]
    async fn a_file_is_read_up_to_a_limit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).await.unwrap().bytes(), b"12345");
        assert_eq!(read_now(&path, 5).unwrap().text().unwrap(), "12345");
        std::fs::write(&path, "\u{feff}12\u{feff}").unwrap();
        assert_eq!(read_now(&path, 8).unwrap().text().unwrap(), "12\u{feff}", "only the mark at the front");
        std::fs::write(&path, "12345").unwrap();
        assert!(matches!(read(&path, 4).await, Err(FileError::TooLong(4))));
        assert!(matches!(read_now(Path::new("/dev/zero"), 1000), Err(FileError::TooLong(1000))));
        assert!(matches!(read(&directory.path().join("none"), 4).await, Err(FileError::Io(_))));
    }

    #[tokio::test]
    async fn a_read_that_does_not_return_costs_its_callers_no_time_and_one_thread() {
        let directory = tempfile::tempdir().unwrap();
        let path = fifo(directory.path());
        let began = Arc::new(AtomicUsize::new(0));
        for _ in 0..20 {
            let (began, own) = (began.clone(), path.clone());
            let reading = run_within(SHORT, &path, move || {
                began.fetch_add(1, Ordering::Relaxed);
                read_up_to(&own, 100)
            });
            assert!(matches!(reading.await, Err(FileError::NotReturned(_))));
            assert!(matches!(run_now_within(SHORT, &path, || Ok(())), Err(FileError::NotReturned(_))));
        }
        assert_eq!(began.load(Ordering::Relaxed), 1);
        assert!(hanging().contains(&path));

        // Now it returns, and the next one finds the file as it is.
        std::fs::write(&path, "late").unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "new").unwrap();
        while Turn::at(&path).hangs() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(read(&path, 100).await.unwrap().bytes(), b"new");
        assert!(!hanging().contains(&path));
    }

    #[tokio::test]
    async fn a_file_that_replaces_one_that_hangs_is_read_though_that_still_hangs() {
        let directory = tempfile::tempdir().unwrap();
        let (path, new) = (fifo(directory.path()), directory.path().join("new"));
        let reading = async |path: &Path| {
            let own = path.to_owned();
            run_within(SHORT, path, move || read_up_to(&own, 100)).await
        };
        for _ in 0..2 {
            assert!(matches!(reading(&path).await, Err(FileError::NotReturned(_))));
        }
        let writer = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        std::fs::write(&new, "mended").unwrap();
        std::fs::rename(&new, &path).unwrap();
        assert_eq!(reading(&path).await.unwrap().bytes(), b"mended");
        assert!(!hanging().contains(&path));
        drop(writer);
    }

    #[test]
    fn without_a_runtime_a_read_that_does_not_return_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = fifo(directory.path());
        let own = path.clone();
        let reading = run_now_within(SHORT, &path, move || read_up_to(&own, 100));
        assert!(matches!(reading, Err(FileError::NotReturned(_))));
        std::fs::write(&path, "late").unwrap();
    }

    #[test]
    fn only_a_regular_file_is_opened_as_one() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        std::fs::write(&file, "x").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(open_regular(OpenOptions::new().read(true), &file).is_ok());
        for odd in [&link, &fifo(directory.path()), directory.path(), Path::new("/dev/null")] {
            let opened = open_regular(OpenOptions::new().read(true), odd);
            assert!(matches!(opened, Err(FileError::NotRegular)), "{}", odd.display());
        }
    }
}
