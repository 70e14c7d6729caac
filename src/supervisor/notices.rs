//! The service manager: what `sd_notify(3)` tells it.
//!
//! Its socket takes no more messages when it does not read them, and a message then waits for as long as it likes. So a
//! thread of its own sends them, and those that find the thread busy for long are left out.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use sd_notify::NotifyState;

use super::{Importance, Supervisor, Thread};

/// More messages than a service gives while its manager reads them.
const QUEUE: usize = 16;

/// Tells the service manager, if there is one. Clones share the thread.
#[derive(Clone)]
pub struct ServiceManager(Option<Arc<Sender>>);

struct Sender {
    messages: SyncSender<Message>,
    _thread: Thread,
}

enum Message {
    State(NotifyState<'static>),
    /// Asks to be told when all messages before it are sent.
    Flush(SyncSender<()>),
}

impl ServiceManager {
    /// The one that `$NOTIFY_SOCKET` names.
    pub fn of_environment(supervisor: &Supervisor) -> io::Result<Self> {
        let is_there = std::env::var_os("NOTIFY_SOCKET").is_some_and(|path| !path.is_empty());
        if is_there { Self::with(supervisor, |state| sd_notify::notify(&[state])) } else { Ok(Self(None)) }
    }

    fn with(
        supervisor: &Supervisor,
        send: impl Fn(NotifyState<'static>) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let (messages, receive): (_, Receiver<Message>) = sync_channel(QUEUE);
        let heartbeat = supervisor.heartbeat("service-manager", Importance::Degrading);
        let thread = supervisor.thread("service-manager", move || {
            while let Ok(message) = receive.recv() {
                let _busy = heartbeat.busy();
                match message {
                    // One that is gone cannot be told, and serving goes on without it.
                    Message::State(state) => drop(send(state)),
                    Message::Flush(done) => drop(done.try_send(())),
                }
            }
        })?;
        Ok(Self(Some(Arc::new(Sender { messages, _thread: thread }))))
    }

    /// Tells it, now or never.
    pub fn tell(&self, state: NotifyState<'static>) {
        if let Some(sender) = &self.0 {
            let _ = sender.messages.try_send(Message::State(state));
        }
    }

    /// Waits until it has been told everything, no longer than this.
    pub fn flush(&self, limit: Duration) {
        let Some(sender) = &self.0 else { return };
        let (done, is_done) = sync_channel(1);
        if sender.messages.try_send(Message::Flush(done)).is_ok() {
            let _ = is_done.recv_timeout(limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    #[test]
    fn a_manager_that_takes_nothing_holds_nobody_up() {
        let (release, released) = channel::<()>();
        let told = Arc::new(Mutex::new(0));
        let counts = told.clone();
        let manager = ServiceManager::with(&Supervisor::unobserved(), move |_| {
            let _ = released.recv();
            *counts.lock().unwrap() += 1;
            Ok(())
        })
        .unwrap();
        for _ in 0..10 * QUEUE {
            manager.tell(NotifyState::Watchdog);
        }
        manager.flush(Duration::from_millis(1));

        drop(release);
        while *told.lock().unwrap() < QUEUE {
            manager.flush(Duration::from_secs(60));
        }
        assert!(*told.lock().unwrap() <= QUEUE + 1, "what found the queue full was left out");
    }
}
