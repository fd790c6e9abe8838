//! Opening an interface: before a store is touched.

use std::sync::Arc;

use tapstone_packet::capture_file::options;
use tapstone_packet::filter::{Dialect, FilterError, KernelInstruction, Program};
use tapstone_packet::interface::{ByteOrder, Interface, LinkType};
use tapstone_packet::time::TimeScale;
use tapstone_runtime::packet_ring::{self, Hardware, Instruction, OpenError, RingOptions};
use tapstone_runtime::packet_source::{Libpcap, LibpcapOptions, PacketSource};

use super::thin::{Rules, ThinError, Thinning};

/// How to capture from an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureOptions {
    /// The interface's name.
    pub interface: String,
    /// A pcap filter; packets that do not match are not captured. Empty: all are.
    pub filter: String,
    /// Bytes kept of a packet.
    pub snap_len: u32,
    /// Bytes of each ring, where packets wait for a shard.
    pub buffer: usize,
    /// Whether packets that are not for this machine are captured.
    pub promiscuous: bool,
    /// What is left out on arrival.
    pub thinning: Thinning,
}

impl CaptureOptions {
    /// The longest packet there is.
    pub const SNAP_LEN_MAX: u32 = 262_144;
    /// What a ring has when nobody says.
    pub const BUFFER: usize = 64 << 20;

    /// All packets of an interface, whole.
    #[must_use]
    pub fn new(interface: &str) -> CaptureOptions {
        CaptureOptions {
            interface: interface.to_owned(),
            filter: String::new(),
            snap_len: Self::SNAP_LEN_MAX,
            buffer: Self::BUFFER,
            promiscuous: true,
            thinning: Thinning::default(),
        }
    }
}

/// Why an interface cannot be captured from.
#[derive(Debug, thiserror::Error)]
pub enum OpenInterfaceError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The filter is refused.
    #[error("filter for {interface}: {source}")]
    Filter {
        /// The interface.
        interface: String,
        /// Why.
        source: FilterError,
    },
    /// What should be left out makes no sense.
    #[error(transparent)]
    Thin(#[from] ThinError),
    /// Its packets have headers that no link type describes.
    #[error(
        "{interface} is of a kind that cannot be captured from (data link type {data_link}); \
         Ethernet, loopback, tunnels of IP packets, 802.11 in monitor mode, and what else libpcap \
         captures and files have a link type for (any, nflog:GROUP, usbmonN, ...) can be"
    )]
    Kind {
        /// The interface.
        interface: String,
        /// What its packets begin with (`DLT_*`).
        data_link: i32,
    },
}

/// An interface that is open: its packets wait in rings, one for each shard, or for libpcap to
/// give them to one shard.
#[derive(Debug)]
pub struct LiveSource {
    pub(super) name: Arc<str>,
    pub(super) interface: Interface,
    pub(super) rings: Vec<PacketSource>,
    /// Asked about packets that the kernel could not judge.
    pub(super) program: Option<Arc<Program>>,
    /// Whether that is all of them.
    pub(super) judge_all: bool,
    pub(super) rules: Rules,
}

impl LiveSource {
    /// The interface's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Opens an interface for `shards` shards; or what else libpcap can capture from, which is for
    /// one. From now on its packets wait; capture soon.
    ///
    /// # Errors
    ///
    /// When there is no such interface, it may not be captured from, or the filter is refused.
    pub fn open(options: &CaptureOptions, shards: usize) -> Result<LiveSource, OpenInterfaceError> {
        let snap_len = options.snap_len.clamp(1, CaptureOptions::SNAP_LEN_MAX);
        let options = CaptureOptions { snap_len, ..options.clone() };
        match ring_for(&options.interface)? {
            Some(link_type) => open_rings(&options, link_type, shards),
            None => open_libpcap(&options),
        }
    }
}

/// What the packets of an interface begin with that has rings; libpcap is left with all others.
fn ring_for(name: &str) -> Result<Option<LinkType>, OpenError> {
    match packet_ring::hardware(name) {
        Ok(hardware) => Ok(link_type(hardware)),
        Err(OpenError::NoSuchInterface { .. }) => Ok(None),
        // Who may not look at interfaces may read other devices.
        Err(OpenError::NotAllowed { .. })
            if !packet_ring::interfaces().iter().any(|it| it == name) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn open_rings(
    options: &CaptureOptions,
    link_type: LinkType,
    shards: usize,
) -> Result<LiveSource, OpenInterfaceError> {
    let name = &options.interface;
    let program = compile(options, link_type)?;
    let rules = Rules::new(&options.thinning, name, link_type)?;
    let for_kernel = kernel_program(program.as_deref(), options.snap_len);
    let mut ring_options = RingOptions {
        rings: shards,
        size: options.buffer,
        promiscuous: options.promiscuous,
        program: for_kernel,
    };
    let opened = match packet_ring::open(name, &ring_options) {
        // Not everything that libpcap makes is taken: then it is run here alone.
        Err(OpenError::Program { .. }) if ring_options.program.len() > 1 => {
            ring_options.program = vec![as_runtime(KernelInstruction::ALL)];
            packet_ring::open(name, &ring_options)
        }
        opened => opened,
    };
    let rings = opened?.into_iter().map(PacketSource::Ring).collect();
    let judge_all = program.is_some() && ring_options.program.len() == 1;
    let interface = describe(options, link_type, TimeScale::NANOS);
    Ok(LiveSource { name: name.as_str().into(), interface, rings, program, judge_all, rules })
}

fn open_libpcap(options: &CaptureOptions) -> Result<LiveSource, OpenInterfaceError> {
    let name = &options.interface;
    let mut libpcap = Libpcap::open(
        name,
        &LibpcapOptions {
            snap_len: options.snap_len,
            size: options.buffer,
            promiscuous: options.promiscuous,
        },
    )?;
    let data_link = libpcap.data_link();
    let kind = || OpenInterfaceError::Kind { interface: name.clone(), data_link };
    let link_type = link_type_of(data_link).ok_or_else(kind)?;
    // A filter that stored packets could not be asked for is refused, and said to be so in the same
    // words. libpcap runs what it makes for live packets.
    compile(options, link_type)?;
    libpcap.filter(name, options.filter.trim())?;
    let rules = Rules::new(&options.thinning, name, link_type)?;
    let scale = if libpcap.is_precise() { TimeScale::NANOS } else { TimeScale::MICROS };
    let interface = describe(options, link_type, scale);
    let (name, rings) = (name.as_str().into(), vec![PacketSource::Libpcap(libpcap)]);
    Ok(LiveSource { name, interface, rings, program: None, judge_all: false, rules })
}

fn compile(
    options: &CaptureOptions,
    link_type: LinkType,
) -> Result<Option<Arc<Program>>, OpenInterfaceError> {
    let expression = options.filter.trim();
    if expression.is_empty() {
        return Ok(None);
    }
    let interface = options.interface.clone();
    let refused = |source| OpenInterfaceError::Filter { interface, source };
    let dialect = Dialect { link_type, byte_order: ByteOrder::Little };
    Ok(Some(Arc::new(Program::compile(expression, dialect).map_err(refused)?)))
}

fn kernel_program(program: Option<&Program>, snap_len: u32) -> Vec<Instruction> {
    match program {
        None => vec![Instruction { code: 6, jt: 0, jf: 0, k: snap_len }],
        Some(program) => program.for_kernel(snap_len).into_iter().map(as_runtime).collect(),
    }
}

fn as_runtime(it: KernelInstruction) -> Instruction {
    Instruction { code: it.code, jt: it.jt, jf: it.jf, k: it.k }
}

/// What a packet of the interface begins with.
fn link_type(hardware: Hardware) -> Option<LinkType> {
    match hardware {
        Hardware::ETHERNET | Hardware::LOOPBACK => Some(LinkType::ETHERNET),
        Hardware::NONE => Some(LinkType::RAW),
        Hardware::RADIOTAP => Some(LinkType::IEEE802_11_RADIOTAP),
        _ => None,
    }
}

/// What libpcap numbers so on Linux is numbered otherwise in files, or not at all.
fn link_type_of(data_link: i32) -> Option<LinkType> {
    let number = match data_link {
        11 => 100,
        12 => 101,
        19 => 106,
        0..=10 | 50 | 51 | 99 | 104.. => data_link,
        _ => return None,
    };
    u16::try_from(number).ok().map(LinkType)
}

fn describe(options: &CaptureOptions, link_type: LinkType, scale: TimeScale) -> Interface {
    let mut list = Vec::new();
    options::push(&mut list, options::INTERFACE_NAME, options.interface.as_bytes());
    if !options.filter.trim().is_empty() {
        // A zero says that it is text.
        let text = [&[0][..], options.filter.trim().as_bytes()].concat();
        options::push(&mut list, options::INTERFACE_FILTER, &text);
    }
    let snap_len = options.snap_len;
    Interface { snap_len, scale, options: list, ..Interface::new(link_type) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `pcap/dlt.h` and `dlt_to_linktype` of libpcap.
    #[test]
    fn link_types_are_those_of_files() {
        for (data_link, expected) in [
            (1, Some(LinkType::ETHERNET)),
            (9, Some(LinkType::PPP)),
            (12, Some(LinkType::RAW)),
            (19, Some(LinkType(106))),
            (104, Some(LinkType::C_HDLC)),
            (113, Some(LinkType::LINUX_SLL)),
            (239, Some(LinkType::NFLOG)),
            (276, Some(LinkType::LINUX_SLL2)),
            (18, None),
            (-1, None),
            (70_000, None),
        ] {
            assert_eq!(link_type_of(data_link), expected, "{data_link}");
        }
    }
}
