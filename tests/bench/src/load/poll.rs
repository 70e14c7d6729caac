//! epoll, as far as it is needed here.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use anyhow::Result;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

/// Tells which of many sockets have something to read.
#[derive(Debug)]
pub(crate) struct Poll(OwnedFd);

impl Poll {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    /// Tells of this socket under a number from now on.
    pub(crate) fn add(&self, socket: impl AsFd, number: u64) -> Result<()> {
        Ok(epoll::add(&self.0, socket, epoll::EventData::new_u64(number), epoll::EventFlags::IN)?)
    }

    /// Waits for as long as that (`None`: for ever), and fills `ready` with the numbers, at most as many as it has
    /// room for.
    pub(crate) fn wait(&self, ready: &mut Vec<u64>, patience: Option<Duration>) -> Result<()> {
        let mut events = Vec::with_capacity(ready.capacity().max(1));
        let patience = patience.map(|patience| Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: patience.subsec_nanos().into(),
        });
        ready.clear();
        match epoll::wait(&self.0, spare_capacity(&mut events), patience.as_ref()) {
            Ok(_) => ready.extend(events.iter().map(|event| event.data.u64())),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
