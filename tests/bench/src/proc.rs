//! What processes used, read from `/proc`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// These processes and all that descend from them.
pub(crate) fn tree(roots: &[u32]) -> Vec<u32> {
    let parents = parents();
    let mut tree = roots.to_vec();
    let mut seen = 0;
    while seen < tree.len() {
        let parent = tree[seen];
        tree.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(process, _)| *process));
        seen += 1;
    }
    tree
}

/// Every process with its parent.
fn parents() -> Vec<(u32, u32)> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // The name in the second field may hold spaces and brackets; the fourth field is the parent.
    let parent = |process: u32| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let (_, rest) = stat.rsplit_once(')')?;
        Some((process, rest.split_ascii_whitespace().nth(1)?.parse().ok()?))
    };
    numbers.filter_map(parent).collect()
}

/// How long all threads of these trees ran, in the kernel and outside it. Of threads that have ended since an
/// earlier look it knows nothing: peers keep theirs.
pub(crate) fn cpu(roots: &[u32]) -> Result<Duration> {
    let mut ran = 0;
    for process in tree(roots) {
        let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
        for thread in threads.flatten() {
            ran += nanoseconds(&thread.path())?;
        }
    }
    Ok(Duration::from_nanos(ran))
}

fn nanoseconds(thread: &Path) -> Result<u64> {
    let Ok(text) = fs::read_to_string(thread.join("schedstat")) else { return Ok(0) };
    let first = text.split_ascii_whitespace().next().and_then(|first| first.parse().ok());
    first.context("this kernel keeps no schedstat: time on a core cannot be told")
}

/// Memory of these trees that is in use, in bytes. What processes share counts for each.
pub(crate) fn resident(roots: &[u32]) -> u64 {
    let of = |process: &u32| {
        let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    tree(roots).iter().filter_map(of).sum::<u64>() * 1024
}
