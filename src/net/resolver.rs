//! Looking up names, so that a look-up that hangs holds up nothing else.
//!
//! The system's look-up keeps a thread waiting for as long as it likes, and nothing can end it. There is one at a time
//! for a name, whose answer all who ask for that name get, and there are few at once: look-ups that hang leave threads
//! of the blocking pool for files and for other names. How long is waited for one is up to whoever makes the connection.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::Name;
use tokio::sync::watch;
use tower_service::Service;

use super::transport::BoxFuture;

/// How many names may be looked up at once by one worker. There are fewer in any configuration that was written by hand.
const MOST_LOOKUPS: usize = 32;

/// Looks names up on the blocking pool. Clones share what is under way.
#[derive(Clone)]
pub struct Resolver {
    look_up: fn(&str) -> io::Result<Vec<SocketAddr>>,
    under_way: Arc<Mutex<HashMap<Name, watch::Receiver<Option<Answer>>>>>,
}

type Answer = Result<Arc<[SocketAddr]>, Arc<io::Error>>;

/// Why a name has no addresses.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ResolveError {
    /// The system says so.
    #[error("the name cannot be looked up")]
    System(#[source] Arc<io::Error>),
    /// Too many look-ups have not returned.
    #[error("{MOST_LOOKUPS} look-ups of other names have not returned yet")]
    TooMany,
    /// The thread that looked it up has ended without an answer.
    #[error("the look-up ended early")]
    EndedEarly,
}

impl Resolver {
    /// The system's own resolver.
    pub fn system() -> Self {
        // The port is that of the URI; whoever connects sets it.
        Self::by(|name| Ok((name, 0).to_socket_addrs()?.collect()))
    }

    fn by(look_up: fn(&str) -> io::Result<Vec<SocketAddr>>) -> Self {
        Self { look_up, under_way: Arc::default() }
    }

    /// The look-up of this name that is under way, or a new one.
    fn begin(&self, name: Name) -> Result<watch::Receiver<Option<Answer>>, ResolveError> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = under_way.get(&name) {
            return Ok(answer.clone());
        }
        if under_way.len() >= MOST_LOOKUPS {
            return Err(ResolveError::TooMany);
        }
        let (send, answer) = watch::channel(None);
        under_way.insert(name.clone(), answer.clone());
        let look_up = self.look_up;
        let ending = Ending { under_way: self.under_way.clone(), name };
        tokio::task::spawn_blocking(move || {
            let found = look_up(ending.name.as_str()).map(Arc::from).map_err(Arc::new);
            // Whoever asks from here on begins a new one.
            drop(ending);
            send.send_replace(Some(found));
        });
        Ok(answer)
    }
}

/// Takes a look-up out of those under way, also when it panics, or is dropped with the runtime before it began.
struct Ending {
    under_way: Arc<Mutex<HashMap<Name, watch::Receiver<Option<Answer>>>>>,
    name: Name,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = ResolveError;
    type Future = BoxFuture<Result<Self::Response, ResolveError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ResolveError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let begun = self.begin(name);
        Box::pin(async move {
            let mut answer = begun?;
            let answer = answer.wait_for(Option::is_some).await.map_err(|_| ResolveError::EndedEarly)?;
            match answer.as_ref() {
                Some(Ok(addresses)) => Ok(Vec::from(&**addresses).into_iter()),
                Some(Err(error)) => Err(ResolveError::System(error.clone())),
                None => Err(ResolveError::EndedEarly),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    async fn ask(resolver: &Resolver, name: &str) -> Result<usize, ResolveError> {
        resolver.clone().call(name.parse().unwrap()).await.map(Iterator::count)
    }

    #[tokio::test]
    async fn look_ups_that_hang_cost_one_thread_a_name_and_leave_room_for_others() {
        static HANGING: AtomicUsize = AtomicUsize::new(0);
        static RELEASED: OnceLock<()> = OnceLock::new();
        let resolver = Resolver::by(|name| {
            if name.starts_with("hangs") {
                HANGING.fetch_add(1, Ordering::Relaxed);
                RELEASED.wait();
            }
            Ok(vec![([192, 0, 2, 1], 0).into()])
        });
        let short = Duration::from_millis(20);
        for _ in 0..10 {
            for n in 0..MOST_LOOKUPS - 1 {
                let name = format!("hangs-{n}.example");
                assert!(tokio::time::timeout(short / 20, ask(&resolver, &name)).await.is_err());
            }
        }
        assert_eq!(ask(&resolver, "fine.example").await.unwrap(), 1);
        let one_more = ask(&resolver, "hangs-too.example");
        assert!(tokio::time::timeout(short, one_more).await.is_err());
        assert!(matches!(ask(&resolver, "fine.example").await, Err(ResolveError::TooMany)));
        assert!(HANGING.load(Ordering::Relaxed) <= MOST_LOOKUPS);
        RELEASED.set(()).unwrap();
        assert_eq!(ask(&resolver, "hangs-0.example").await.unwrap(), 1);
        while ask(&resolver, "fine.example").await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn a_name_that_is_not_there_is_an_error_with_its_cause() {
        let resolver = Resolver::by(|_| Err(io::Error::other("made-up trouble")));
        let error = ask(&resolver, "none.example").await.unwrap_err();
        assert!(std::error::Error::source(&error).is_some_and(|why| why.to_string().contains("made-up")));
    }
}
