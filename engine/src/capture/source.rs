//! Opening an interface: before a store is touched.

use std::sync::Arc;

use tapstone_packet::capture_file::options;
use tapstone_packet::filter::{Dialect, FilterError, KernelInstruction, Program};
use tapstone_packet::interface::{ByteOrder, Interface, LinkType};
use tapstone_packet::time::TimeScale;
use tapstone_runtime::packet_ring::{
    self, Hardware, Instruction, OpenError, PacketRing, RingOptions,
};

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
        "{interface} is of a kind that cannot be captured from (hardware type {hardware}); \
         Ethernet, loopback, tunnels of IP packets, and 802.11 in monitor mode can be"
    )]
    Kind {
        /// The interface.
        interface: String,
        /// What kind it is (`ARPHRD_*`).
        hardware: u16,
    },
}

/// An interface that is open: its packets wait in rings, one for each shard.
#[derive(Debug)]
pub struct LiveSource {
    pub(super) name: Arc<str>,
    pub(super) interface: Interface,
    pub(super) rings: Vec<PacketRing>,
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

    /// Opens an interface for `shards` shards. From now on its packets wait; capture soon.
    ///
    /// # Errors
    ///
    /// When there is no such interface, it may not be captured from, or the filter is refused.
    pub fn open(options: &CaptureOptions, shards: usize) -> Result<LiveSource, OpenInterfaceError> {
        let name = &options.interface;
        let hardware = packet_ring::hardware(name)?;
        let kind = || OpenInterfaceError::Kind { interface: name.clone(), hardware: hardware.0 };
        let link_type = link_type(hardware).ok_or_else(kind)?;
        let snap_len = options.snap_len.clamp(1, CaptureOptions::SNAP_LEN_MAX);
        let refused = |source| OpenInterfaceError::Filter { interface: name.clone(), source };
        let program = match options.filter.trim() {
            "" => None,
            expression => Some(compile(expression, link_type).map_err(refused)?),
        };
        let rules = Rules::new(&options.thinning, name, link_type)?;
        let for_kernel = kernel_program(program.as_deref(), snap_len);
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
        let rings = opened?;
        let judge_all = program.is_some() && ring_options.program.len() == 1;
        let interface = describe(options, link_type, snap_len);
        let name = name.as_str().into();
        Ok(LiveSource { name, interface, rings, program, judge_all, rules })
    }
}

fn compile(expression: &str, link_type: LinkType) -> Result<Arc<Program>, FilterError> {
    Program::compile(expression, Dialect { link_type, byte_order: ByteOrder::Little }).map(Arc::new)
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

fn describe(options: &CaptureOptions, link_type: LinkType, snap_len: u32) -> Interface {
    let mut list = Vec::new();
    options::push(&mut list, options::INTERFACE_NAME, options.interface.as_bytes());
    if !options.filter.trim().is_empty() {
        // A zero says that it is text.
        let text = [&[0][..], options.filter.trim().as_bytes()].concat();
        options::push(&mut list, options::INTERFACE_FILTER, &text);
    }
    Interface { snap_len, scale: TimeScale::NANOS, options: list, ..Interface::new(link_type) }
}
