//! Whether others on this machine may read a secret or change the state: warnings, since it works all the same.

use std::fs::{DirEntry, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::files;

/// Who beside the owner may do it, by the bits of a file's mode.
const GROUP_MAY_READ: u32 = 0o040;
const GROUP_MAY_WRITE: u32 = 0o020;
const OTHERS_MAY_READ: u32 = 0o004;
const OTHERS_MAY_WRITE: u32 = 0o002;

/// More state files than this are not looked at.
const MOST_FILES: usize = 1_000;

/// What others may do with the file of a secret, if they may.
pub(super) fn of_secret_file(path: &Path) -> Option<String> {
    // A group may read it: that is how root gives a secret to a service.
    of_file(path, OTHERS_MAY_READ, OTHERS_MAY_WRITE | GROUP_MAY_WRITE)
}

/// What others may do with a file of the configuration, which matters where a secret stands in it.
pub(super) fn of_config_file(path: &Path) -> Option<String> {
    of_file(path, OTHERS_MAY_READ | GROUP_MAY_READ, OTHERS_MAY_WRITE | GROUP_MAY_WRITE)
}

fn of_file(path: &Path, read: u32, write: u32) -> Option<String> {
    let metadata = look(path, |path| std::fs::metadata(path))?;
    if !metadata.is_file() {
        return None;
    }
    let mode = metadata.mode();
    let verb = match (mode & read != 0, mode & write != 0) {
        (_, true) => "change",
        (true, false) => "read",
        (false, false) => return None,
    };
    let group = if verb == "read" { GROUP_MAY_READ } else { GROUP_MAY_WRITE };
    let who = if mode & (group >> 3) != 0 { "every user of this machine" } else { "its group" };
    Some(format!("{who} may {verb} it (mode {:04o})", mode & 0o7777))
}

/// What is wrong with the state directory, if it is there. A lock that others may hold delays a mint, a state file
/// that they may replace by an older one costs one; what is in it they can neither read nor forge.
pub(super) fn of_state_directory(directory: &Path) -> Vec<String> {
    look(directory, |directory| Ok(of_directory(directory))).unwrap_or_default()
}

fn of_directory(directory: &Path) -> Vec<String> {
    let Ok(metadata) = std::fs::metadata(directory) else { return Vec::new() };
    let mut found = Vec::new();
    if metadata.mode() & (GROUP_MAY_WRITE | OTHERS_MAY_WRITE) != 0 {
        let who =
            if metadata.mode() & OTHERS_MAY_WRITE != 0 { "every user of this machine" } else { "its group" };
        found.push(format!("{who} may replace files in it (mode {:04o})", metadata.mode() & 0o7777));
    }
    if let Some(owner) = foreign_owner(&metadata) {
        found.push(format!("it belongs to user {owner}"));
    }
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().filter(is_ours);
    let mut odd: Vec<String> = entries.take(MOST_FILES).filter_map(|entry| odd_file(&entry)).collect();
    odd.sort();
    if let Some(first) = odd.first() {
        let more = match odd.len() - 1 {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        found.push(format!("{first}{more}"));
    }
    found
}

/// State files, their locks, and what is left of state files that were not written to their end.
fn is_ours(entry: &DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().starts_with(b"token-")
}

fn odd_file(entry: &DirEntry) -> Option<String> {
    // Of the link itself.
    let metadata = entry.metadata().ok()?;
    let why = if metadata.is_symlink() {
        "is a symbolic link, which is not followed".to_owned()
    } else if !metadata.is_file() {
        "is not a regular file".to_owned()
    } else if let Some(owner) = foreign_owner(&metadata) {
        format!("belongs to user {owner}")
    } else if metadata.nlink() > 1 {
        "has other names (hard links)".to_owned()
    } else if metadata.mode() & (GROUP_MAY_WRITE | OTHERS_MAY_WRITE) != 0 {
        format!("may be written by others than its owner (mode {:04o})", metadata.mode() & 0o7777)
    } else {
        return None;
    };
    Some(format!("{} in it {why}", entry.file_name().display()))
}

/// The owner, if that is neither this process's user nor root.
fn foreign_owner(metadata: &Metadata) -> Option<u32> {
    let own = rustix::process::geteuid().as_raw();
    Some(metadata.uid()).filter(|owner| *owner != own && *owner != 0)
}

/// Looks at a path on a thread of its own: a file system may hang.
fn look<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Option<T> {
    let own = path.to_owned();
    files::run_now(path, move || Ok(work(&own)?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_may_do_with_a_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, "made-up").unwrap();
        for (mode, of_secret, of_config) in [
            (0o600, None, None),
            (0o400, None, None),
            (0o440, None, Some("its group may read it (mode 0440)")),
            (
                0o644,
                Some("every user of this machine may read it (mode 0644)"),
                Some("every user of this machine may read it (mode 0644)"),
            ),
            (0o620, Some("its group may change it (mode 0620)"), Some("its group may change it (mode 0620)")),
            (
                0o602,
                Some("every user of this machine may change it (mode 0602)"),
                Some("every user of this machine may change it (mode 0602)"),
            ),
        ] {
            set_mode(&path, mode);
            assert_eq!(of_secret_file(&path).as_deref(), of_secret, "{mode:o}");
            assert_eq!(of_config_file(&path).as_deref(), of_config, "{mode:o}");
        }
        assert_eq!(of_secret_file(Path::new("/dev/null")), None);
        assert_eq!(of_secret_file(&directory.path().join("none")), None);
    }

    #[test]
    fn a_state_directory_that_others_may_change_is_described() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        assert!(of_state_directory(&state).is_empty(), "it will be made");
        std::fs::create_dir(&state).unwrap();
        for (mode, expected) in [
            (0o700, None),
            (0o750, None),
            (0o770, Some("its group may replace files in it (mode 0770)")),
            (0o1777, Some("every user of this machine may replace files in it (mode 1777)")),
        ] {
            set_mode(&state, mode);
            let found = of_state_directory(&state);
            assert_eq!(found.first().map(String::as_str), expected, "{mode:o}: {found:?}");
        }
    }

    #[test]
    fn odd_files_in_the_state_directory_are_described() {
        let directory = tempfile::tempdir().unwrap();
        let (state, elsewhere) = (directory.path().join("state"), directory.path().join("elsewhere"));
        std::fs::create_dir(&state).unwrap();
        set_mode(&state, 0o700);
        std::fs::write(&elsewhere, "").unwrap();
        set_mode(&elsewhere, 0o600);
        let sound = state.join("token-a.state");
        std::fs::write(&sound, "").unwrap();
        set_mode(&sound, 0o600);
        std::os::unix::fs::symlink(&elsewhere, state.join("other")).unwrap();
        assert!(of_state_directory(&state).is_empty(), "{:?}", of_state_directory(&state));

        let described = |expected: &str| {
            let found = of_state_directory(&state);
            assert_eq!(found, [expected]);
        };
        set_mode(&sound, 0o620);
        described("token-a.state in it may be written by others than its owner (mode 0620)");
        std::fs::remove_file(&sound).unwrap();
        std::fs::hard_link(&elsewhere, &sound).unwrap();
        described("token-a.state in it has other names (hard links)");
        std::os::unix::fs::symlink(&elsewhere, state.join("token-a.lock")).unwrap();
        described("token-a.lock in it is a symbolic link, which is not followed; and 1 more");
        // Only root can give a file away.
        if rustix::process::geteuid().is_root() {
            let foreign = state.join("token-0.lock");
            std::fs::write(&foreign, "").unwrap();
            std::os::unix::fs::chown(&foreign, Some(4711), None).unwrap();
            described("token-0.lock in it belongs to user 4711; and 2 more");
            std::os::unix::fs::chown(&state, Some(4711), None).unwrap();
            assert_eq!(of_state_directory(&state)[0], "it belongs to user 4711");
        }
    }
}
