//! Where to listen: TCP addresses, with TLS or without, and unix sockets.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use socket2::{Domain, SockAddr, SockFilter, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::files;

/// An address to listen on: `127.0.0.1:8080`, `[::1]:8080`, `https://0.0.0.0:8443`, or `unix:/path/to/socket`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A TCP address; port 0 asks for a free port.
    Tcp(SocketAddr),
    /// The same, where TLS is spoken.
    Tls(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

/// Why a text is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It has another form.
    #[error(
        "neither an IP address (no host name) with a port, as it is or after \"https://\", nor a path after \"unix:\""
    )]
    Form,
    /// The system takes no such path for a socket (`unix(7)`).
    #[error("the path of a socket has at most {LONGEST_SOCKET_PATH} bytes, and no NUL among them")]
    SocketPath,
}

/// `sockaddr_un.sun_path` has 108 bytes, the last of them NUL.
const LONGEST_SOCKET_PATH: usize = 107;

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

impl Address {
    /// Whether only this machine can connect.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) | Self::Tls(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// Whether the system lets only one of the two be listened on.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix(path), Self::Unix(other)) => path == other,
            (Self::Tcp(one) | Self::Tls(one), Self::Tcp(other) | Self::Tls(other)) => {
                one.port() != 0 && one.port() == other.port() && overlap(one.ip(), other.ip())
            }
            (Self::Unix(_), _) | (_, Self::Unix(_)) => false,
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.len() {
                0 => Err(AddressError::Form),
                1..=LONGEST_SOCKET_PATH if !path.contains('\0') => Ok(Self::Unix(path.into())),
                _ => Err(AddressError::SocketPath),
            };
        }
        let (text, kind): (_, fn(SocketAddr) -> Self) = match text.strip_prefix("https://") {
            Some(text) => (text, Self::Tls),
            None => (text, Self::Tcp),
        };
        text.parse().map(kind).map_err(|_| AddressError::Form)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Tls(address) => write!(f, "https://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Whether a packet to one port of this machine could be for both.
fn overlap(one: IpAddr, other: IpAddr) -> bool {
    let covers = |all: IpAddr, one: IpAddr| match all {
        IpAddr::V4(all) => all.is_unspecified() && one.is_ipv4(),
        // Linux lets a socket on [::] take IPv4 as well (`net.ipv6.bindv6only = 0`).
        IpAddr::V6(all) => all.is_unspecified(),
    };
    let (one, other) = (one.to_canonical(), other.to_canonical());
    one == other || covers(one, other) || covers(other, one)
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
    pub fn close(mut self) -> Vec<Stream> {
        match &mut self {
            Self::Tcp(listener) | Self::Tls(listener) => {
                let listener = SockRef::from(&*listener);
                // Where it cannot be had, who connects between the last look and the end is reset as ever.
                let _ = listener.attach_filter(&NO_NEW_CONNECTION);
                waiting(&listener).map(|socket| Stream::Tcp(socket.into())).collect()
            }
            Self::Unix(listener, path) => {
                // Nobody finds it any more from here on, and what is there next is somebody else's.
                remove(&std::mem::take(path));
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
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is not a socket"));
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

    #[test]
    fn addresses_read_as_people_write_them() {
        assert_eq!("127.0.0.1:0".parse(), Ok(Address::Tcp(([127, 0, 0, 1], 0).into())));
        assert_eq!("https://[::]:8443".parse(), Ok(Address::Tls("[::]:8443".parse().unwrap())));
        assert_eq!("unix:/run/x.sock".parse(), Ok(Address::Unix("/run/x.sock".into())));
        for bad in ["", "8080", ":8080", "localhost:8080", "unix:", "http://127.0.0.1:80", "https://a:1"] {
            assert_eq!(bad.parse::<Address>(), Err(AddressError::Form), "{bad}");
        }
        let told = AddressError::Form.to_string();
        assert!(told.contains("no host name") && told.contains("https://"), "{told}");
    }

    #[test]
    fn a_socket_whose_path_the_system_does_not_take_is_no_address() {
        let path = |length: usize| format!("unix:/{}", "x".repeat(length - 1));
        assert!(path(LONGEST_SOCKET_PATH).parse::<Address>().is_ok());
        assert_eq!(path(LONGEST_SOCKET_PATH + 1).parse::<Address>(), Err(AddressError::SocketPath));
        assert_eq!("unix:/run/\0".parse::<Address>(), Err(AddressError::SocketPath));
    }

    #[test]
    fn addresses_conflict_where_the_second_could_not_be_bound() {
        let conflict =
            |one: &str, other: &str| one.parse::<Address>().unwrap().conflicts_with(&other.parse().unwrap());
        for (one, other) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("127.0.0.1:80", "https://127.0.0.1:80"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::1]:80", "[::]:80"),
            ("0.0.0.0:80", "[::]:80"),
            ("127.0.0.1:80", "https://[::]:80"),
            ("127.0.0.1:80", "[::ffff:127.0.0.1]:80"),
            ("unix:/s", "unix:/s"),
        ] {
            assert!(conflict(one, other) && conflict(other, one), "{one} and {other}");
        }
        for (one, other) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("127.0.0.1:80", "127.0.0.1:81"),
            ("127.0.0.1:80", "127.0.0.2:80"),
            ("127.0.0.1:80", "[::1]:80"),
            ("0.0.0.0:80", "[::1]:80"),
            ("unix:/s", "unix:/t"),
            ("unix:/s", "127.0.0.1:80"),
        ] {
            assert!(!conflict(one, other) && !conflict(other, one), "{one} and {other}");
        }
    }

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
        assert_eq!(listener.close().len(), callers.len());

        let any_port = Address::Tcp(([127, 0, 0, 1], 0).into());
        let listener = Listener::bind(&any_port).unwrap_or_else(|error| panic!("{error}"));
        let Address::Tcp(tcp) = listener.address() else { unreachable!() };
        let callers: Vec<_> = (0..3).map(|_| std::net::TcpStream::connect(tcp).unwrap()).collect();
        let accepted = listener.close();
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
