//! The tokens in force: whose each is, read again when their files change.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use prometheus_client::metrics::counter::Counter;

use super::CallerNumber;
use super::credential::{TokenHash, TokenSource};
use crate::supervisor::Heartbeat;

/// The hashes of all tokens, and whose they are.
#[derive(Debug, Default)]
pub struct KnownTokens {
    sources: Vec<(CallerNumber, TokenSource)>,
    /// By source. Exchanged as a whole, so that asking needs no lock.
    hashes: ArcSwap<Vec<Vec<TokenHash>>>,
    generation: AtomicU64,
}

/// What was told of a source, so that it is told once.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Fine,
    Trouble(String),
}

impl KnownTokens {
    /// Reads the tokens that can be read now.
    pub(super) fn read(sources: Vec<(CallerNumber, TokenSource)>) -> Self {
        let hashes = sources.iter().map(|(_, source)| source.read_now().unwrap_or_default()).collect();
        Self { sources, hashes: ArcSwap::from_pointee(hashes), generation: AtomicU64::new(0) }
    }

    /// Whether any caller is known by a token.
    pub fn are_used(&self) -> bool {
        !self.sources.is_empty()
    }

    /// Whose token this is. Every token in force is compared, and each in constant time: how long it takes says
    /// nothing about how near a guess was.
    pub fn owner(&self, token: &str) -> Option<CallerNumber> {
        if self.sources.is_empty() {
            return None;
        }
        let shown = TokenHash::of(token);
        let all = self.hashes.load();
        let mut owner = None;
        for ((number, _), hashes) in self.sources.iter().zip(all.iter()) {
            for hash in hashes {
                if hash.is_same(&shown) {
                    owner = Some(*number);
                }
            }
        }
        owner
    }

    /// Changes whenever the tokens have. Who remembers whose a token was reads this first, and looks again when it
    /// is another.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Looks at the files every now and then, for as long as it is polled. A file that cannot be read leaves
    /// the tokens that it held in force: whoever mends it should not lock everybody out meanwhile. `failures` counts
    /// reads that failed.
    pub async fn keep_fresh(&self, pause: Duration, failures: Counter, heartbeat: &Heartbeat) {
        if !self.sources.iter().any(|(_, source)| matches!(source, TokenSource::File(_))) {
            return std::future::pending().await;
        }
        let mut told = vec![Told::Fine; self.sources.len()];
        loop {
            let busy = heartbeat.busy();
            self.look(&mut told, &failures).await;
            drop(busy);
            tokio::time::sleep(pause).await;
        }
    }

    async fn look(&self, told: &mut [Told], failures: &Counter) {
        let mut hashes = Vec::clone(&self.hashes.load());
        let mut has_changed = false;
        for (((_, source), hashes), told) in self.sources.iter().zip(&mut hashes).zip(told) {
            let now = match source.read().await {
                Ok(read) => {
                    has_changed |= *hashes != read;
                    *hashes = read;
                    Told::Fine
                }
                Err(error) => {
                    failures.inc();
                    Told::Trouble(with_cause(&error))
                }
            };
            if let Told::Trouble(error) = &now
                && *told != now
            {
                tracing::warn!(error, "a caller's tokens cannot be read; those it had stay in force");
            }
            *told = now;
        }
        if has_changed {
            tracing::info!("callers' tokens have changed");
            self.hashes.store(Arc::new(hashes));
            self.generation.fetch_add(1, Ordering::Release);
        }
    }
}

fn with_cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::{Importance, Supervisor};

    #[tokio::test(start_paused = true)]
    async fn a_changed_file_counts_and_a_broken_one_leaves_what_was() {
        const PAUSE: Duration = Duration::from_secs(5);
        // printf %s first | sha256sum, and second.
        let line = |hash: &str| format!("sha256:{hash}\n");
        let first = line("a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e");
        let second = line("16367aacb67a4a017c8da8ab95682ccb390863780f7114dda0a0e0c55644c7c4");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        std::fs::write(&path, &first).unwrap();
        let known = KnownTokens::read(vec![(7, TokenSource::File(path.clone()))]);
        let owners = || (known.owner("first"), known.owner("second"));
        let passing = async {
            assert_eq!(owners(), (Some(7), None));
            std::fs::write(&path, first + &second).unwrap();
            tokio::time::sleep(PAUSE + Duration::from_secs(1)).await;
            assert_eq!(owners(), (Some(7), Some(7)), "two overlap while one follows the other");
            std::fs::write(&path, &second).unwrap();
            tokio::time::sleep(PAUSE).await;
            assert_eq!(owners(), (None, Some(7)));
            std::fs::write(&path, "broken").unwrap();
            tokio::time::sleep(PAUSE).await;
            assert_eq!(owners(), (None, Some(7)));
        };
        let heartbeat = Supervisor::unobserved().heartbeat("caller-tokens", Importance::Degrading);
        tokio::select! {
            () = known.keep_fresh(PAUSE, Counter::default(), &heartbeat) => {}
            () = passing => {}
        }
    }
}
