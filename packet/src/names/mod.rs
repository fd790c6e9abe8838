//! Host names that conversations carry: DNS, TLS, HTTP, QUIC.

/// Where a name was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum NameKind {
    /// A DNS question or an answer's owner (mDNS and LLMNR too).
    Dns = 1,
    /// TLS Server Name Indication, also in QUIC.
    Sni = 2,
    /// A protocol offered by ALPN.
    Alpn = 3,
    /// HTTP/1 Host.
    Http = 4,
}

/// One name a flow carries. Names are bytes from the wire: ASCII is lower-cased, everything else
/// is kept and escaped at output.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Where it was seen.
    pub kind: NameKind,
    /// The name: no trailing dot; the DNS root is the empty name.
    pub name: Vec<u8>,
}
