//! Where live packets come from: a ring of ours, or libpcap where we have none.
//!
//! Both are looked at without waiting, from the loop of a shard. A ring is faster, and flows are
//! spread over several; libpcap knows devices that are no network interfaces, or many at once.

mod libpcap;

use std::io;
use std::time::Duration;

pub use libpcap::{Libpcap, LibpcapOptions};

use crate::packet_ring::{HELD_AT_MOST, PacketRing, RingCounts, RingGauge, RingPacket};

/// How long libpcap may be left alone: nobody knows how much it has room for.
const LIBPCAP_LOOK: Duration = Duration::from_millis(4);

/// Live packets, for one shard.
#[derive(Debug)]
pub enum PacketSource {
    /// A ring that the kernel fills for us.
    Ring(PacketRing),
    /// What libpcap captures.
    Libpcap(Libpcap),
}

impl PacketSource {
    /// Shows some of the packets that have come, in the order in which they came. Gives how many
    /// were shown, or `None` when nothing is there.
    pub fn take(&mut self, mut show: impl FnMut(&RingPacket<'_>)) -> Option<u64> {
        match self {
            PacketSource::Ring(ring) => {
                let block = ring.next_block()?;
                Some(block.packets().map(|packet| show(&packet)).count() as u64)
            }
            PacketSource::Libpcap(libpcap) => libpcap.take(show),
        }
    }

    /// How many packets came so far.
    ///
    /// # Errors
    ///
    /// When the kernel does not say.
    pub fn counts(&mut self) -> io::Result<RingCounts> {
        match self {
            PacketSource::Ring(ring) => ring.counts(),
            PacketSource::Libpcap(libpcap) => libpcap.counts(),
        }
    }

    /// How long it may be left alone when nothing was there.
    #[must_use]
    pub fn look_after(&self) -> Duration {
        match self {
            PacketSource::Ring(ring) => ring.look_after(),
            PacketSource::Libpcap(_) => LIBPCAP_LOOK,
        }
    }

    /// How full it is, for others than the one who reads it; libpcap does not say.
    #[must_use]
    pub fn gauge(&self) -> Option<RingGauge> {
        match self {
            PacketSource::Ring(ring) => Some(ring.gauge()),
            PacketSource::Libpcap(_) => None,
        }
    }

    /// A packet that came is there to be taken after so long at the latest.
    #[must_use]
    pub fn held_at_most(&self) -> Duration {
        match self {
            PacketSource::Ring(_) => HELD_AT_MOST,
            PacketSource::Libpcap(libpcap) => libpcap.held_at_most(),
        }
    }

    /// Whether [`counts`](Self::counts) tells of packets that still wait to be taken. Where it
    /// does not, all that came [`held_at_most`](Self::held_at_most) ago are taken when nothing is
    /// there.
    #[must_use]
    pub fn counts_what_waits(&self) -> bool {
        match self {
            PacketSource::Ring(_) => true,
            // It leaves some out itself, and does not say how many.
            PacketSource::Libpcap(_) => false,
        }
    }

    /// Lets no more packets come. Those that have come are there to be taken.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn stop(&mut self) -> io::Result<()> {
        match self {
            PacketSource::Ring(ring) => ring.stop(),
            PacketSource::Libpcap(libpcap) => {
                libpcap.stop();
                Ok(())
            }
        }
    }
}
