//! Live packets of a network interface, through a ring that is shared with the kernel
//! (`AF_PACKET` with `TPACKET_V3`, `Documentation/networking/packet_mmap.rst` of the kernel).
//!
//! [`open`] gives one ring for each shard; the kernel spreads the interface's flows over them. A
//! ring is read block by block: [`PacketRing::next_block`] gives the next one that the kernel has
//! filled, which goes back to it when it is dropped.

mod block;
mod mapping;
mod socket;

use std::io;
use std::time::Duration;

pub use block::{Packets, RingPacket, VlanTag};
use mapping::Mapping;
pub use mapping::RingGauge;
use socket::PacketSocket;
pub(crate) use socket::attach;
pub use socket::{Hardware, Instruction};

/// Bytes of a ring's block. It holds a packet at least, however long.
const BLOCK_SIZE: usize = 1 << 20;

/// How long the kernel keeps a block that is not full, in milliseconds.
pub(crate) const RETIRED_AFTER: u32 = 100;
/// A packet that came is seen after so long at the latest.
pub const HELD_AT_MOST: Duration = Duration::from_millis(RETIRED_AFTER as u64 + 20);

/// A program that takes nothing.
pub(crate) const NOTHING: [Instruction; 1] = [Instruction { code: 6, jt: 0, jf: 0, k: 0 }];

/// How to open an interface.
#[derive(Clone, Debug)]
pub struct RingOptions {
    /// Rings; one gets all packets, more share the flows among them.
    pub rings: usize,
    /// Bytes of each ring, rounded up to whole blocks.
    pub size: usize,
    /// Whether packets that are not for this machine are wanted.
    pub promiscuous: bool,
    /// What the kernel runs over each packet: it gives the number of bytes to keep.
    pub program: Vec<Instruction>,
}

/// Why an interface cannot be captured from.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none of that name.
    #[error("there is no network interface '{interface}'; there are: {}", .known.join(", "))]
    NoSuchInterface {
        /// The name asked for.
        interface: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// Not allowed.
    #[error(
        "capturing from {interface} needs the capability {capability}: run as root, or give it to \
         the program (setcap {}+ep FILE, or AmbientCapabilities={capability} in the service's unit)",
        .capability.to_lowercase()
    )]
    NotAllowed {
        /// The interface.
        interface: String,
        /// What is needed.
        capability: &'static str,
    },
    /// The ring's memory cannot be had.
    #[error(
        "cannot get {size} bytes of memory for packets of {interface}: {source}; ask for less \
         (--buffer)"
    )]
    Memory {
        /// The interface.
        interface: String,
        /// Bytes asked for.
        size: usize,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel does not run the program.
    #[error("cannot set a filter on {interface}: {source}")]
    Program {
        /// The interface.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// libpcap does not open it.
    #[error("cannot capture from {interface}: {message}{hint}")]
    Libpcap {
        /// The interface.
        interface: String,
        /// What libpcap said.
        message: String,
        /// What to do.
        hint: &'static str,
    },
    /// The kernel refused something else.
    #[error("cannot {what} {interface}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The interface.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// How many packets came to a ring so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingCounts {
    /// All that the program took, those that were dropped among them.
    pub received: u64,
    /// Those for which there was no room in the ring.
    pub dropped: u64,
}

/// Opens an interface: one ring for each shard, to which packets come from now on; one alone for
/// the loopback interface.
///
/// # Errors
///
/// When there is no such interface, when it may not be captured from, and when there is no memory
/// for the rings.
pub fn open(interface: &str, options: &RingOptions) -> Result<Vec<PacketRing>, OpenError> {
    // In a group the kernel forgets that what is sent is not wanted, and gives it twice.
    let alone = hardware(interface)? == Hardware::LOOPBACK;
    let count = if alone { 1 } else { options.rings };
    let rings: Result<Vec<PacketRing>, OpenError> =
        (0..count).map(|_| PacketRing::open(interface, options, alone)).collect();
    let rings = rings?;
    let failed = |what| move |source| system(what, interface, source);
    // Nothing comes before every ring has its share of the flows: it would come twice.
    if let [first, others @ ..] = &rings[..]
        && !others.is_empty()
    {
        let group = first.socket.lead_group().map_err(failed("share the flows of"))?;
        for ring in others {
            ring.socket.join_group(group).map_err(failed("share the flows of"))?;
        }
    }
    for ring in &rings {
        ring.socket.filter(&options.program).map_err(refused_program(interface))?;
    }
    Ok(rings)
}

/// What kind of packets an interface has.
///
/// # Errors
///
/// When there is no such interface, or this process may not look at it.
pub fn hardware(interface: &str) -> Result<Hardware, OpenError> {
    let socket = PacketSocket::new().map_err(|error| refused(interface, error))?;
    let index = socket.index_of(interface);
    index.map_err(|error| no_such_interface(interface, error))?;
    socket.hardware(interface).map_err(|source| system("ask for the kind of", interface, source))
}

/// Names of the interfaces there are.
#[must_use]
pub fn interfaces() -> Vec<String> {
    socket::interfaces()
}

/// Whether there is an interface of that name. Anybody may ask.
///
/// # Errors
///
/// When the system does not say.
pub fn is_there(interface: &str) -> io::Result<bool> {
    socket::is_there(interface)
}

/// A ring of packets, and the socket that they come by.
#[derive(Debug)]
pub struct PacketRing {
    mapping: Mapping,
    socket: PacketSocket,
    /// The block that the kernel fills next, or has filled.
    next: usize,
    counts: RingCounts,
}

impl PacketRing {
    /// A ring to which nothing comes yet; of what the loopback interface sends, nothing ever.
    fn open(
        interface: &str,
        options: &RingOptions,
        is_loopback: bool,
    ) -> Result<PacketRing, OpenError> {
        let failed = |what| move |source| system(what, interface, source);
        let socket = PacketSocket::new().map_err(|error| refused(interface, error))?;
        let index =
            socket.index_of(interface).map_err(|error| no_such_interface(interface, error))?;
        socket.filter(&NOTHING).map_err(failed("set a filter on"))?;
        let blocks = options.size.div_ceil(BLOCK_SIZE).max(2);
        let size = blocks * BLOCK_SIZE;
        let no_memory =
            |source| OpenError::Memory { interface: interface.to_owned(), size, source };
        socket.make_ring(BLOCK_SIZE, blocks, RETIRED_AFTER).map_err(no_memory)?;
        let mapping = Mapping::new(&socket, BLOCK_SIZE, blocks).map_err(no_memory)?;
        if is_loopback {
            // Its packets would come twice, going out and coming in.
            socket.ignore_outgoing().map_err(failed("leave out what is sent on"))?;
        }
        socket.bind(index).map_err(failed("capture from"))?;
        if options.promiscuous {
            socket.be_promiscuous(index).map_err(failed("capture all packets of"))?;
        }
        Ok(PacketRing { mapping, socket, next: 0, counts: RingCounts::default() })
    }

    /// The next block that the kernel has filled, when there is one.
    pub fn next_block(&mut self) -> Option<RingBlock<'_>> {
        self.mapping.is_ours(self.next).then(|| RingBlock { ring: self })
    }

    /// How long it may be left alone when it is empty.
    #[must_use]
    pub fn look_after(&self) -> Duration {
        look_after(self.mapping.blocks() * BLOCK_SIZE)
    }

    /// How full it is, for others than the one who reads it.
    #[must_use]
    pub fn gauge(&self) -> RingGauge {
        self.mapping.gauge()
    }

    /// How many packets came so far.
    ///
    /// # Errors
    ///
    /// When the kernel does not say.
    pub fn counts(&mut self) -> io::Result<RingCounts> {
        // The kernel begins from zero each time it is asked.
        let since = self.socket.take_statistics()?;
        self.counts.received += u64::from(since.packets);
        self.counts.dropped += u64::from(since.drops);
        Ok(self.counts)
    }

    /// Lets no more packets come. Those that have come are there to be read within some time, as
    /// [`counts`](Self::counts) says how many.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn stop(&self) -> io::Result<()> {
        self.socket.filter(&NOTHING)
    }

    /// Runs another program over the packets that come from now on.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub fn filter(&self, program: &[Instruction]) -> io::Result<()> {
        self.socket.filter(program)
    }
}

/// A block of packets, which goes back to the kernel when it is dropped.
#[derive(Debug)]
pub struct RingBlock<'r> {
    ring: &'r mut PacketRing,
}

impl RingBlock<'_> {
    /// Its packets, in the order in which they came.
    #[must_use]
    pub fn packets(&self) -> Packets<'_> {
        Packets::new(self.ring.mapping.block(self.ring.next))
    }
}

impl Drop for RingBlock<'_> {
    fn drop(&mut self) {
        self.ring.mapping.give_back(self.ring.next);
        self.ring.next = (self.ring.next + 1) % self.ring.mapping.blocks();
    }
}

/// By then 10 Gbit/s have filled a quarter of a ring. Each look costs some 0.1 ms of the processor's
/// time where nothing else is to be done.
fn look_after(size: usize) -> Duration {
    const BYTES_A_MILLISECOND: usize = 1_250_000;
    let millis = (size / 4 / BYTES_A_MILLISECOND).clamp(1, 10);
    Duration::from_millis(millis as u64)
}

fn system(what: &'static str, interface: &str, source: io::Error) -> OpenError {
    OpenError::System { what, interface: interface.to_owned(), source }
}

fn refused_program(interface: &str) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Program { interface: interface.to_owned(), source }
}

fn refused(interface: &str, error: io::Error) -> OpenError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            OpenError::NotAllowed { interface: interface.to_owned(), capability: "CAP_NET_RAW" }
        }
        _ => system("make a socket for", interface, error),
    }
}

fn no_such_interface(interface: &str, error: io::Error) -> OpenError {
    match error.raw_os_error() {
        Some(libc::ENODEV) => {
            OpenError::NoSuchInterface { interface: interface.to_owned(), known: interfaces() }
        }
        _ => system("find", interface, error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::*;

    #[test]
    fn a_small_ring_is_looked_at_more_often() {
        let sizes = [2 << 20, 8 << 20, 16 << 20, 64 << 20, 1 << 30];
        assert_eq!(sizes.map(|size| look_after(size).as_millis()), [1, 1, 3, 10, 10]);
    }

    /// Everything that comes, whole.
    const ALL: Instruction = Instruction { code: 6, jt: 0, jf: 0, k: u32::MAX };

    #[test]
    fn how_full_a_ring_is_shows_from_outside() {
        let options =
            RingOptions { rings: 1, size: 4 << 20, promiscuous: false, program: vec![ALL] };
        let mut ring = match open("lo", &options) {
            Ok(mut rings) => rings.remove(0),
            Err(error) => return eprintln!("SKIPPED: {error}"),
        };
        let gauge = ring.gauge();
        let looking = gauge.clone();
        // Whoever looks is another thread, and looks while blocks go back and forth.
        let (seen, over) = (AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let used = looking.read().map_or(0, |(used, _)| used);
                    seen.fetch_max(used, Ordering::Relaxed);
                }
            });
            let _over = Over(&over);
            fill_and_read(&mut ring, &gauge, &seen);
        });
        drop(ring);
        assert_eq!(gauge.read(), None, "it does not keep the ring");
    }

    /// Also when something fails: nobody looks for ever.
    struct Over<'a>(&'a AtomicBool);

    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn fill_and_read(ring: &mut PacketRing, gauge: &RingGauge, seen: &AtomicU64) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let began = std::time::Instant::now();
        while gauge.read() != Some((4, 4)) || seen.load(Ordering::Relaxed) < 4 {
            socket.send_to(&[7; 8000], socket.local_addr().unwrap()).unwrap();
            assert!(began.elapsed() < Duration::from_secs(30), "{:?}", gauge.read());
        }
        let mut packets = 0;
        while let Some(block) = ring.next_block() {
            packets += block.packets().filter(|it| it.data.len() > 8000).count();
            drop(block);
            if packets > 200 {
                break;
            }
        }
        assert!(packets > 200, "{packets}");
    }

    #[test]
    fn anybody_may_ask_whether_an_interface_is_there() {
        assert!(is_there("lo").unwrap());
        assert!(!is_there("nothing0").unwrap());
        assert!(!is_there("a name that is too long for any").unwrap_or(false));
    }
}
