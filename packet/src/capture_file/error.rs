//! What can be wrong with a capture, and where.

/// A capture that cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: {damage}")]
pub struct CaptureError {
    /// Where in the stream the record or block that cannot be read begins, in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub damage: Damage,
}

/// What is wrong with a capture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Nothing that could be told apart.
    #[error("not a capture: it has fewer than four bytes")]
    TooShort,
    /// A format that is none of ours.
    #[error("not a pcap or pcapng capture ({0})")]
    NotACapture(&'static str),
    /// A version that libpcap refuses too.
    #[error("{format} version {major}.{minor} is not supported (tcpdump refuses it too)")]
    Version {
        /// pcap or pcapng.
        format: &'static str,
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
    /// Bits of the link type that must be zero are not.
    #[error("the link type {0:#x} has reserved bits set")]
    LinkType(u32),
    /// The stream ends too early.
    #[error("cut short in {what}: {missing} more bytes belong there")]
    CutShort {
        /// What is incomplete.
        what: &'static str,
        /// Bytes that are missing.
        missing: u64,
    },
    /// A captured length that no capture has.
    #[error("a packet claims {captured} captured bytes, more than the {limit} there can be")]
    CapturedLength {
        /// What the record claims.
        captured: u32,
        /// The most there can be.
        limit: u32,
    },
    /// A pcapng block whose length cannot be.
    #[error("a block of type {kind:#010x} claims {length} bytes; {why}")]
    BlockLength {
        /// The block's type.
        kind: u32,
        /// What it claims.
        length: u32,
        /// Why that cannot be.
        why: &'static str,
    },
    /// A section that does not tell its byte order.
    #[error("a section header without a byte-order magic")]
    ByteOrder,
    /// A packet of an interface that was not described.
    #[error("a packet of interface {interface}, but the section describes only {described}")]
    Interface {
        /// The number the packet names.
        interface: u32,
        /// How many the section has described so far.
        described: u32,
    },
    /// A block whose parts do not fit in it.
    #[error("a block of type {kind:#010x} is malformed: {why}")]
    Block {
        /// The block's type.
        kind: u32,
        /// What does not fit.
        why: &'static str,
    },
}

impl Damage {
    pub(super) fn cut_short(what: &'static str, needed: usize, input: &[u8]) -> Damage {
        Damage::CutShort { what, missing: (needed - input.len()) as u64 }
    }
}

impl CaptureError {
    /// Whether the capture is sound as far as it goes, and only ends too early.
    #[must_use]
    pub fn is_cut_short(&self) -> bool {
        matches!(self.damage, Damage::CutShort { .. } | Damage::TooShort)
    }
}
