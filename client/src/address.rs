//! Where a server is.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// Host and port.
    Tcp {
        /// `host:port`.
        authority: String,
        /// Whether the connection is encrypted.
        tls: bool,
    },
}

/// A text that is not a server's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a server's address; write it like sensor.example.com:7373, https://10.0.0.1:7373, \
     http://127.0.0.1:7373 (without TLS), or unix:/var/lib/tapstone/socket"
)]
pub struct ParseAddressError(String);

impl FromStr for Address {
    type Err = ParseAddressError;

    /// Reads `host:port`, with or without a scheme, or `unix:PATH`. Without a scheme the connection
    /// is encrypted unless the host is this one.
    fn from_str(text: &str) -> Result<Address, ParseAddressError> {
        let error = || ParseAddressError(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(error()) } else { Ok(Address::Unix(path.into())) };
        }
        let (tls, authority) = match text.split_once("://") {
            Some(("https", authority)) => (Some(true), authority),
            Some(("http", authority)) => (Some(false), authority),
            Some(_) => return Err(error()),
            None => (None, text),
        };
        let authority = authority.trim_end_matches('/');
        let (host, port) = authority.rsplit_once(':').ok_or_else(error)?;
        let parsed: Result<u16, _> = port.parse();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = |host: &str| {
            !host.is_empty()
                && host.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'.' | b'-'))
        };
        let known = bare.map_or_else(|| is_host(host), |it| it.parse::<IpAddr>().is_ok());
        if parsed.is_err() || !known {
            return Err(error());
        }
        let host = bare.unwrap_or(host);
        let is_this = host == "localhost" || host.parse().is_ok_and(|it: IpAddr| it.is_loopback());
        Ok(Address::Tcp { authority: authority.to_owned(), tls: tls.unwrap_or(!is_this) })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "{}", path.display()),
            Address::Tcp { authority, .. } => f.write_str(authority),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_encrypted_unless_they_stay_here() {
        let tcp = |authority: &str, tls| Address::Tcp { authority: authority.to_owned(), tls };
        let cases = [
            ("sensor.example.com:7373", tcp("sensor.example.com:7373", true)),
            ("127.0.0.1:7373", tcp("127.0.0.1:7373", false)),
            ("[::1]:7373", tcp("[::1]:7373", false)),
            ("localhost:1", tcp("localhost:1", false)),
            ("https://127.0.0.1:7373/", tcp("127.0.0.1:7373", true)),
            ("http://10.0.0.1:7373", tcp("10.0.0.1:7373", false)),
            ("unix:/a/socket", Address::Unix("/a/socket".into())),
            ("unix:///a/socket", Address::Unix("/a/socket".into())),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in
            ["", "host", "host:", ":1", "host:70000", "ftp://a:1", "a b:1", "unix:", "[x]:1"]
        {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
