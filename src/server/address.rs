//! Where to listen: TCP addresses, with TLS or without, and unix sockets.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

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
}
