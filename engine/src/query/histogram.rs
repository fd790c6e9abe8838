//! How many packets when: counts and bytes over time.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tapstone_packet::decode::Decoder;
use tapstone_packet::flow::{KeyPart, PathPart};
use tapstone_packet::interface::Interface;
use tapstone_packet::summary::protocol_name;
use tapstone_packet::time::{ATTOS_PER_NANO, Timestamp};

use super::Completeness;

/// Most bars that the time range may be cut into.
const BARS_MAX: i128 = 10_000;

/// What packets of one bar have in common besides their time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupBy {
    /// Nothing.
    #[default]
    Nothing,
    /// The interface they were captured on.
    Interface,
    /// The innermost protocol.
    Protocol,
}

/// Packets and bytes over time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Those that are not empty, by time and group.
    pub bars: Vec<Bar>,
    /// What is lacking.
    pub completeness: Completeness,
}

/// The packets of one stretch of time and one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Where it begins: a multiple of the width since the epoch.
    pub start: Timestamp,
    /// What the packets have in common.
    pub group: Group,
    /// Packets.
    pub packets: u64,
    /// Their captured bytes.
    pub bytes: u64,
}

/// What the packets of a bar have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    /// Nothing was asked for.
    All,
    /// The interface.
    Interface(Box<Interface>),
    /// `tcp`, `udp`, `arp`, ...; `0x88cc` for an EtherType; `link 105` for what is not decoded.
    Protocol(String),
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bars {
    width: i128,
    by: GroupBy,
}

impl Bars {
    pub(crate) fn new(width: Duration, by: GroupBy) -> Bars {
        let nanos = i128::try_from(width.as_nanos()).unwrap_or(i128::MAX / ATTOS_PER_NANO);
        Bars { width: nanos.max(1).saturating_mul(ATTOS_PER_NANO), by }
    }

    /// The number of bars over a stretch of time, when there are too many.
    pub(crate) fn too_many(&self, first: Timestamp, last: Timestamp) -> Option<i128> {
        let bars = last.attos().div_euclid(self.width) - first.attos().div_euclid(self.width) + 1;
        (bars > BARS_MAX).then_some(bars)
    }
}

/// Which bar a packet belongs to: its number since the epoch, and its group.
type Place = (i128, Key);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    All,
    /// The number in the segment.
    Interface(u32),
    Ip(u8),
    Arp,
    EtherType(u16),
    LinkType(u16),
}

/// Counts the packets of one job.
#[derive(Debug)]
pub(crate) struct Tally {
    bars: Bars,
    decoder: Decoder,
    counts: HashMap<Place, (u64, u64)>,
}

impl Tally {
    pub(crate) fn new(bars: Bars) -> Tally {
        Tally { bars, decoder: Decoder::new(), counts: HashMap::new() }
    }

    pub(crate) fn add(&mut self, time: Timestamp, number: u32, interface: &Interface, data: &[u8]) {
        let key = match self.bars.by {
            GroupBy::Nothing => Key::All,
            GroupBy::Interface => Key::Interface(number),
            GroupBy::Protocol => self.protocol(interface, data),
        };
        let place = (time.attos().div_euclid(self.bars.width), key);
        let (packets, bytes) = self.counts.entry(place).or_default();
        *packets += 1;
        *bytes += data.len() as u64;
    }

    /// Forgets what was counted.
    pub(crate) fn clear(&mut self) {
        self.counts.clear();
    }

    /// Takes over what another tally of the same segment counted.
    pub(crate) fn merge(&mut self, other: &mut Tally) {
        for (place, (packets, bytes)) in other.counts.drain() {
            let sum = self.counts.entry(place).or_default();
            *sum = (sum.0 + packets, sum.1 + bytes);
        }
    }

    fn protocol(&mut self, interface: &Interface, data: &[u8]) -> Key {
        self.decoder.decode(interface.link_type, interface.byte_order, data);
        match self.decoder.key().innermost() {
            Some(layer) => layer.protocol.map_or(Key::Arp, Key::Ip),
            None => {
                let ether_type = self.decoder.path().parts().filter_map(|part| match part {
                    PathPart::EtherType(it) => Some(it),
                    _ => None,
                });
                let of_key = self.decoder.key().parts().filter_map(|part| match part {
                    KeyPart::EtherType(it) => Some(it),
                    _ => None,
                });
                let link_type = Key::LinkType(interface.link_type.0);
                ether_type.chain(of_key).last().map_or(link_type, Key::EtherType)
            }
        }
    }
}

/// Puts the counts of many jobs together.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    interfaces: Vec<Interface>,
    counts: BTreeMap<Place, (u64, u64)>,
}

impl Sum {
    pub(crate) fn add(&mut self, tally: Tally, interfaces: &[Interface]) {
        for ((bar, key), (packets, bytes)) in tally.counts {
            let key = match key {
                Key::Interface(number) => Key::Interface(self.number(&interfaces[number as usize])),
                other => other,
            };
            let sum = self.counts.entry((bar, key)).or_default();
            *sum = (sum.0 + packets, sum.1 + bytes);
        }
    }

    /// An interface's number among those of all segments.
    fn number(&mut self, interface: &Interface) -> u32 {
        let known = self.interfaces.iter().position(|it| it == interface);
        let number = known.unwrap_or_else(|| {
            self.interfaces.push(interface.clone());
            self.interfaces.len() - 1
        });
        number as u32
    }

    pub(crate) fn finish(self, bars: Bars) -> Vec<Bar> {
        let bar = |((number, key), (packets, bytes)): (Place, (u64, u64))| {
            let group = match key {
                Key::All => Group::All,
                Key::Interface(it) => {
                    Group::Interface(Box::new(self.interfaces[it as usize].clone()))
                }
                Key::Ip(protocol) => Group::Protocol(protocol_name(protocol)),
                Key::Arp => Group::Protocol("arp".to_owned()),
                Key::EtherType(it) => Group::Protocol(format!("0x{it:04x}")),
                Key::LinkType(it) => Group::Protocol(format!("link {it}")),
            };
            Bar { start: Timestamp::from_attos(number * bars.width), group, packets, bytes }
        };
        self.counts.into_iter().map(bar).collect()
    }
}
