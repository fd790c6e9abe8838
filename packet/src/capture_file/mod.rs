//! Capture files, in and out: pcap and pcapng as a stream of steps over bytes somebody else reads.
//!
//! [`CaptureReader`] finds out the format and then takes one record or block at a time off the
//! front of whatever has been read so far. It copies nothing and reads nothing, so the same code
//! serves files, pipes, and bytes arriving one at a time. Where libpcap and the format's
//! description disagree, libpcap is followed: the answers of a store are tcpdump's answers.
//!
//! [`PcapngWriter`] and [`PcapWriter`] append to a buffer the caller flushes.

mod error;
pub mod options;
mod pcap;
mod pcapng;
mod writer;

use std::ops::Range;

pub use error::{CaptureError, Damage};
pub use writer::{PcapWriter, PcapWriterError, PcapngWriter};

use crate::interface::{ByteOrder, Interface};
use crate::time::Timestamp;

/// What a step over a capture gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// The next step needs at least this many bytes of input; call again with more.
    More {
        /// Bytes of input needed, counted from the same start.
        needed: usize,
    },
    /// A packet.
    Packet(PacketRecord),
    /// Something that is not a packet was passed over: a header, an interface, another block.
    Skipped {
        /// Bytes of input it took.
        consumed: usize,
    },
    /// The capture is complete.
    End,
}

/// A packet as its capture holds it.
#[derive(Debug, PartialEq, Eq)]
pub struct PacketRecord {
    /// Bytes of input that the record took.
    pub consumed: usize,
    /// Where its captured bytes are in the input.
    pub data: Range<usize>,
    /// Its length on the wire. Some files claim less than they captured.
    pub original_len: u32,
    /// When it was captured; [`Timestamp::EPOCH`] for packets that have no time.
    pub time: Timestamp,
    /// Index into [`CaptureReader::interfaces`].
    pub interface: u32,
    /// Its options (comments, direction flags, ...) in the form of [`options`]; `None` when it
    /// has none.
    pub options: Option<Vec<u8>>,
}

/// What kind of capture it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Classic pcap.
    Pcap,
    /// pcapng.
    Pcapng,
}

/// Steps through a capture.
#[derive(Debug)]
pub struct CaptureReader {
    state: State,
    interfaces: Vec<Interface>,
    offset: u64,
    skipped_blocks: u64,
    cut_packets: u64,
}

#[derive(Debug)]
enum State {
    Start,
    Pcap(pcap::Reader),
    Pcapng(pcapng::Reader),
    Failed,
}

impl Default for CaptureReader {
    fn default() -> Self {
        Self::new()
    }
}

impl CaptureReader {
    /// A reader at the start of a capture.
    #[must_use]
    pub fn new() -> Self {
        CaptureReader {
            state: State::Start,
            interfaces: Vec::new(),
            offset: 0,
            skipped_blocks: 0,
            cut_packets: 0,
        }
    }

    /// Takes the next step. `input` is everything not consumed yet; `end` says that no more will
    /// come, and then the answer is never [`Step::More`].
    ///
    /// # Errors
    ///
    /// When the capture is damaged or cut short here; the packets before have been given.
    pub fn step(&mut self, input: &[u8], end: bool) -> Result<Step, CaptureError> {
        let step = match &mut self.state {
            State::Start => self.start(input, end),
            State::Pcap(reader) => reader.step(input, end, &mut self.cut_packets),
            State::Pcapng(reader) => {
                reader.step(input, end, &mut self.interfaces, &mut self.skipped_blocks)
            }
            State::Failed => Ok(Step::End),
        };
        match step {
            Ok(step) => {
                if let Step::Packet(PacketRecord { consumed, .. }) | Step::Skipped { consumed } =
                    &step
                {
                    self.offset += *consumed as u64;
                }
                Ok(step)
            }
            Err(damage) => {
                self.state = State::Failed;
                Err(CaptureError { offset: self.offset, damage })
            }
        }
    }

    /// The interfaces described so far, through all sections.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// Bytes consumed so far: where the next step begins.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The format, once the first bytes have told it.
    #[must_use]
    pub fn format(&self) -> Option<Format> {
        match self.state {
            State::Pcap(_) => Some(Format::Pcap),
            State::Pcapng(_) => Some(Format::Pcapng),
            State::Start | State::Failed => None,
        }
    }

    /// Blocks that are neither packets nor sections nor interfaces (names, statistics, secrets,
    /// custom ones), passed over.
    #[must_use]
    pub fn skipped_blocks(&self) -> u64 {
        self.skipped_blocks
    }

    /// Packets that were longer than the file's snapshot length and were cut to it, as libpcap
    /// does.
    #[must_use]
    pub fn cut_packets(&self) -> u64 {
        self.cut_packets
    }

    fn start(&mut self, input: &[u8], end: bool) -> Result<Step, Damage> {
        let Some(magic) = input.first_chunk::<4>() else {
            return if end { Err(Damage::TooShort) } else { Ok(Step::More { needed: 4 }) };
        };
        if *magic == pcapng::SECTION_HEADER.to_le_bytes() {
            self.state = State::Pcapng(pcapng::Reader::new());
            return self.step_pcapng(input, end);
        }
        match pcap::Reader::open(input)? {
            Some((reader, interface)) => {
                self.state = State::Pcap(reader);
                self.interfaces.push(interface);
                Ok(Step::Skipped { consumed: pcap::HEADER_LEN })
            }
            None if end => Err(Damage::cut_short("the file header", pcap::HEADER_LEN, input)),
            None => Ok(Step::More { needed: pcap::HEADER_LEN }),
        }
    }

    fn step_pcapng(&mut self, input: &[u8], end: bool) -> Result<Step, Damage> {
        let State::Pcapng(reader) = &mut self.state else { return Ok(Step::End) };
        reader.step(input, end, &mut self.interfaces, &mut self.skipped_blocks)
    }
}

/// The largest captured length that libpcap takes for a packet of a link type
/// (`max_snaplen_for_dlt`): beyond it a length is taken for damage.
fn captured_len_max(link_type: u16) -> u32 {
    match link_type {
        231 => 128 << 20,             // D-Bus
        279 => 8 << 20,               // EBHSCR
        189 | 220 | 249 => 128 << 20, // USB
        266 => 128 << 20,             // USB on Darwin
        _ => 262_144,
    }
}

/// The snapshot length that libpcap works with for a file that claims `claimed`.
fn effective_snap_len(link_type: u16, claimed: u32) -> u32 {
    if claimed == 0 || claimed > i32::MAX as u32 { captured_len_max(link_type) } else { claimed }
}

/// Reads numbers in a given byte order.
#[derive(Clone, Copy, Debug)]
struct Fields<'a> {
    bytes: &'a [u8],
    order: ByteOrder,
}

impl<'a> Fields<'a> {
    fn new(bytes: &'a [u8], order: ByteOrder) -> Self {
        Fields { bytes, order }
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*taken)
    }

    fn u16(&mut self) -> Option<u16> {
        let bytes = self.take()?;
        Some(match self.order {
            ByteOrder::Little => u16::from_le_bytes(bytes),
            ByteOrder::Big => u16::from_be_bytes(bytes),
        })
    }

    fn u32(&mut self) -> Option<u32> {
        let bytes = self.take()?;
        Some(match self.order {
            ByteOrder::Little => u32::from_le_bytes(bytes),
            ByteOrder::Big => u32::from_be_bytes(bytes),
        })
    }
}
