//! Listening sockets, and the files of unix sockets.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, SockFilter, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, UnixListener};

use super::address::Address;
use crate::files;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    /// The address.
    pub address: Address,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Whether an address can be listened on, as far as that can be known beside another process that does: that a unix socket
/// has a directory and no other file in its place, and that an address is one of this machine's.
pub fn check(address: &Address) -> Result<(), BindError> {
    let failed = |source| BindError { address: address.clone(), source };
    match address {
        Address::Tcp(tcp) | Address::Tls(tcp) => {
            std::net::TcpListener::bind(SocketAddr::new(tcp.ip(), 0)).map_err(failed)?;
        }
        Address::Unix(path) => {
            let own = path.clone();
            let looked = files::run_now(path, move || Ok(check_place(&own)?));
            looked.map_err(|error| failed(error.into()))?;
        }
    }
    Ok(())
}

fn check_place(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if !std::fs::metadata(directory.unwrap_or(Path::new(".")))?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Err(not_a_socket()),
        _ => Ok(()),
    }
}

fn not_a_socket() -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is not a socket")
}

/// A bound listener. A unix socket's file goes with it.
pub enum Listener {
    /// On a TCP address.
    Tcp(TcpListener),
    /// On a TCP address where TLS is spoken.
    Tls(TcpListener),
    /// On a unix socket, with its file.
    Unix(UnixListener, PathBuf),
}

/// A connection, not yet bound to a runtime.
pub enum Stream {
    /// By TCP.
    Tcp(std::net::TcpStream),
    /// By a unix socket.
    Unix(std::os::unix::net::UnixStream),
}

impl Listener {
    /// Binds an address.
    pub fn bind(address: &Address) -> Result<Self, BindError> {
        let failed = |source| BindError { address: address.clone(), source };
        let bind = |tcp: &SocketAddr| {
            let listener = std::net::TcpListener::bind(tcp).map_err(failed)?;
            listener.set_nonblocking(true).map_err(failed)?;
            keep_alive(&listener).map_err(failed)?;
            TcpListener::from_std(listener).map_err(failed)
        };
        match address {
            Address::Tcp(tcp) => bind(tcp).map(Self::Tcp),
            Address::Tls(tcp) => bind(tcp).map(Self::Tls),
            Address::Unix(path) => {
                let own = path.clone();
                // Its file system may hang.
                let bound = files::run_now(path, move || {
                    remove_leftover(&own)?;
                    let listener = std::os::unix::net::UnixListener::bind(&own)?;
                    listener.set_nonblocking(true)?;
                    Ok(listener)
                });
                let listener = bound.map_err(|error| failed(error.into()))?;
                Ok(Self::Unix(UnixListener::from_std(listener).map_err(failed)?, path.clone()))
            }
        }
    }

    /// The address, with the port that was got.
    pub fn address(&self) -> Address {
        let bound = |listener: &TcpListener| listener.local_addr().expect("a bound socket has an address");
        match self {
            Self::Tcp(listener) => Address::Tcp(bound(listener)),
            Self::Tls(listener) => Address::Tls(bound(listener)),
            Self::Unix(_, path) => Address::Unix(path.clone()),
        }
    }

    /// The same socket on the current runtime, which may be another than the one it was bound on. A unix socket's file
    /// stays with the original.
    pub fn here(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(listener) => {
                TcpListener::from_std(SockRef::from(listener).try_clone()?.into()).map(Self::Tcp)
            }
            Self::Tls(listener) => {
                TcpListener::from_std(SockRef::from(listener).try_clone()?.into()).map(Self::Tls)
            }
            Self::Unix(listener, _) => {
                let socket = SockRef::from(listener).try_clone()?;
                UnixListener::from_std(socket.into()).map(|listener| Self::Unix(listener, PathBuf::new()))
            }
        }
    }

    /// Waits for a connection.
    pub async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) | Self::Tls(listener) => {
                Ok(Stream::Tcp(listener.accept().await?.0.into_std()?))
            }
            Self::Unix(listener, _) => Ok(Stream::Unix(listener.accept().await?.0.into_std()?)),
        }
    }

    /// Closes it, and gives those who have connected and were not accepted yet: the system would reset them, and with
    /// them the requests that they may have sent.
    pub async fn close(mut self) -> Vec<Stream> {
        match &mut self {
            Self::Tcp(listener) | Self::Tls(listener) => {
                let listener = SockRef::from(&*listener);
                // Where it cannot be had, who connects between the last look and the end is reset as ever.
                let _ = listener.attach_filter(&NO_NEW_CONNECTION);
                waiting(&listener).map(|socket| Stream::Tcp(socket.into())).collect()
            }
            Self::Unix(listener, path) => {
                // Nobody finds it any more from here on, and what is there next is somebody else's.
                let path = std::mem::take(path);
                let own = path.clone();
                let _ = files::run(&path, move || Ok(std::fs::remove_file(own)?)).await;
                waiting(&SockRef::from(&*listener)).map(|socket| Stream::Unix(socket.into())).collect()
            }
        }
    }
}

/// Drops packets that would begin a connection, SYN without ACK, and leaves all others alone: their senders try again a
/// little later, and are refused then. In the system's own language (`BPF`): the flags are in byte 13 of a TCP header.
const NO_NEW_CONNECTION: [SockFilter; 5] = [
    SockFilter::new(0x30, 0, 0, 13),       // load that byte
    SockFilter::new(0x54, 0, 0, 0x12),     // keep its bits for SYN and ACK
    SockFilter::new(0x15, 0, 1, 0x02),     // only SYN: the next line, else the one after
    SockFilter::new(0x06, 0, 0, 0),        // nothing of the packet
    SockFilter::new(0x06, 0, 0, u32::MAX), // all of it
];

/// Those who have connected and were not accepted yet.
fn waiting(listener: &SockRef<'_>) -> impl Iterator<Item = Socket> {
    let accept = || {
        loop {
            match listener.accept() {
                Ok((socket, _)) => return Some(socket),
                Err(error) if is_of_the_caller(&error) || error.kind() == io::ErrorKind::Interrupted => {}
                // There is nobody, or nothing to take them by.
                Err(_) => return None,
            }
        }
    };
    std::iter::from_fn(accept).filter(|socket| socket.set_nonblocking(true).is_ok())
}

/// A caller that is gone before it was accepted is no trouble of ours.
pub(super) fn is_of_the_caller(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | ConnectionRefused)
}

/// Lets the system ask silent callers whether they are still there, so that one that vanished while its answer is
/// being waited for is found out in two minutes. Accepted connections inherit it from the listener.
fn keep_alive(listener: &std::net::TcpListener) -> io::Result<()> {
    let probes = TcpKeepalive::new()
        .with_time(Duration::from_mins(1))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    SockRef::from(listener).set_tcp_keepalive(&probes)
}

/// Removes the file of a socket, unless its file system hangs.
fn remove(path: &Path) {
    let own = path.to_owned();
    let _ = files::run_now(path, move || Ok(std::fs::remove_file(own)?));
}

/// Removes a socket that a killed process left behind, but neither a file of another kind nor a socket that
/// somebody still listens on.
fn remove_leftover(path: &Path) -> io::Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(not_a_socket());
    }
    let asking = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A process that accepts nobody would keep the connection waiting once its queue is full.
    asking.set_nonblocking(true)?;
    match asking.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on it")),
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self
            && !path.as_os_str().is_empty()
        {
            remove(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_leftover_socket_is_replaced_and_a_living_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let address = Address::Unix(directory.path().join("s"));
        let Address::Unix(path) = &address else { unreachable!() };

        drop(std::os::unix::net::UnixListener::bind(path).unwrap());
        let living = Listener::bind(&address).unwrap_or_else(|error| panic!("{error}"));
        assert!(Listener::bind(&address).is_err());
        drop(living);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_whose_queue_is_full_is_a_living_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let accepts_nobody = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        accepts_nobody.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        accepts_nobody.listen(0).unwrap();
        let _first = std::os::unix::net::UnixStream::connect(&path).unwrap();

        let error = Listener::bind(&Address::Unix(path.clone())).map(drop).unwrap_err();

        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn who_has_connected_is_not_left_behind_when_a_listener_closes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = Listener::bind(&Address::Unix(path.clone())).unwrap_or_else(|error| panic!("{error}"));
        let callers: Vec<_> =
            (0..3).map(|_| std::os::unix::net::UnixStream::connect(&path).unwrap()).collect();
        assert_eq!(listener.close().await.len(), callers.len());

        let any_port = Address::Tcp(([127, 0, 0, 1], 0).into());
        let listener = Listener::bind(&any_port).unwrap_or_else(|error| panic!("{error}"));
        let Address::Tcp(tcp) = listener.address() else { unreachable!() };
        let callers: Vec<_> = (0..3).map(|_| std::net::TcpStream::connect(tcp).unwrap()).collect();
        let accepted = listener.close().await;
        assert_eq!(accepted.len(), callers.len());
        for (stream, mut caller) in accepted.into_iter().zip(callers) {
            let Stream::Tcp(stream) = stream else { unreachable!() };
            let mut stream = tokio::net::TcpStream::from_std(stream).unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"served").await.unwrap();
            drop(stream);
            let mut heard = String::new();
            std::io::Read::read_to_string(&mut caller, &mut heard).unwrap();
            assert_eq!(heard, "served");
        }
        assert!(std::net::TcpStream::connect(tcp).is_err());
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.txt");
        std::fs::write(&path, "keep me").unwrap();
        assert!(Listener::bind(&Address::Unix(path.clone())).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "keep me");
    }
}
