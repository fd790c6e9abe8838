//! What is done to the store while its disk is watched, and what must be found of it after a cut:
//! pure.

use std::net::Ipv4Addr;
use std::ops::Range;

use tapstone::Timestamp;
use tapstone_benches::packets::{self, Ends};
use tapstone_benches::random::Random;
use tapstone_packet::capture_file::PcapngWriter;
use tapstone_packet::interface::{Interface, LinkType};

/// One thing that is done; each is acknowledged once it has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Open the store, making it when there is none.
    Open,
    /// Import a capture of so many packets, each of so many payload bytes. The packets are
    /// numbered on from those before.
    Import(u64, usize),
    /// Import the last capture again, which must store nothing.
    ImportAgain,
    /// Seal what is open.
    Seal,
    /// Ask for everything.
    Query,
    /// Write everything to a pcapng file beside the store.
    Export,
    /// Close the store.
    Close,
    // Retention has its place here: a step that expires packets moves them, in `Promise`, from
    // what must be found to what may be while the step is under way, and out of both after it.
}

/// The workload: small and large captures, several to a segment and one, sealed by hand and by
/// closing, with reading in between.
pub const STEPS: &[Step] = {
    use Step::*;
    &[
        Open,
        Import(3, 40),
        Import(40, 200),
        Query,
        Import(1, 1200),
        Seal,
        Import(25, 90),
        Import(400, 900),
        Export,
        ImportAgain,
        Import(10, 300),
        Close,
        Open,
        Import(60, 500),
        Seal,
        Seal,
        Import(5, 60),
        Query,
        Import(5, 61),
        Import(5, 62),
        Close,
        Open,
        Query,
        Import(700, 400),
        Seal,
        Import(2, 1000),
        Import(2, 1001),
        Import(2, 1002),
        Import(2, 1003),
        Export,
        Import(2, 1004),
        Close,
        Open,
        Import(300, 1000),
        Import(1, 40),
        Seal,
        Import(50, 50),
        Import(50, 51),
        Import(50, 52),
        Import(50, 53),
        Seal,
        ImportAgain,
        Import(1, 41),
        Seal,
        Import(1, 42),
        Seal,
        Import(90, 600),
        Query,
        Close,
        Open,
        Import(20, 700),
        Import(20, 701),
        Import(20, 702),
        Import(20, 703),
        Import(20, 704),
        Import(20, 705),
        Seal,
        Import(150, 1300),
        Export,
        Import(30, 100),
        Close,
    ]
};

/// The numbers of the packets that step `index` imports.
#[must_use]
pub fn imported(steps: &[Step], index: usize) -> Range<u64> {
    let count = |step: &Step| if let Step::Import(packets, _) = step { *packets } else { 0 };
    let before: u64 = steps[..index].iter().map(count).sum();
    before..before + count(&steps[index])
}

/// What a store must and may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Packets below this number were acknowledged: all of them must be found.
    pub must: u64,
    /// Packets below this one were given to the store: no others may be found.
    pub may: u64,
}

/// What must hold when `done` steps have been acknowledged, and the next one may be under way.
#[must_use]
pub fn promise(steps: &[Step], done: usize) -> Promise {
    let end = |count: usize| count.checked_sub(1).map_or(0, |last| imported(steps, last).end);
    Promise { must: end(done), may: end((done + 1).min(steps.len())) }
}

/// A packet as it is imported, and as it must come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// When.
    pub time: Timestamp,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// Every packet of the workload, by number. Its number is in its time.
#[must_use]
pub fn all_packets(steps: &[Step]) -> Vec<Numbered> {
    let mut all = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        if let Step::Import(_, payload) = step {
            all.extend(imported(steps, index).map(|number| packet(number, *payload)));
        }
    }
    all
}

/// The capture that holds these packets.
#[must_use]
pub fn capture(packets: &[Numbered]) -> Vec<u8> {
    let interface = Interface::new(LinkType::ETHERNET);
    let mut writer = PcapngWriter::new("tapstone-powercut");
    let mut out = Vec::new();
    for packet in packets {
        let length = packet.data.len() as u32;
        writer.packet(&interface, packet.time, &packet.data, length, &[], &mut out);
    }
    writer.finish(&mut out);
    out
}

/// The number of the packet that was captured at this time.
#[must_use]
pub fn number_of(time: Timestamp) -> Option<u64> {
    let (seconds, nanos) = time.secs_nanos();
    let number = u64::try_from(seconds - i128::from(FIRST_SECOND)).ok()?;
    (u64::from(nanos) == number).then_some(number)
}

const FIRST_SECOND: i64 = 1_700_000_000;
/// One packet in so many is a DNS answer, so that the name cache is written too.
const DNS_EVERY: u64 = 29;

fn packet(number: u64, payload: usize) -> Numbered {
    let mut random = Random::new(number);
    let address = |net: u8, host: u64| Ipv4Addr::new(10, net, 0, host as u8);
    let mut ends = Ends {
        client: address(0, number % 7),
        server: address(1, number % 3),
        client_port: 40000 + (number % 11) as u16,
        server_port: 443,
    };
    let mut data = Vec::new();
    if number.is_multiple_of(DNS_EVERY) {
        ends.server_port = 53;
        let name = format!("host{number}.example.org");
        let answer = packets::dns_answer(number as u16, &name, address(2, number % 200));
        packets::udp(&mut data, ends, false, &answer);
    } else {
        // Half of it repeats and half does not, so that blocks are compressed and stay large.
        let body: Vec<u8> = (0..payload)
            .map(|at| if at % 2 == 0 { random.number() as u8 } else { number as u8 })
            .collect();
        packets::udp(&mut data, ends, number.is_multiple_of(2), &body);
    }
    let seconds = FIRST_SECOND + number as i64;
    Numbered { time: Timestamp::from_secs_nanos(seconds, number as u32), data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_acknowledged_must_be_found_and_what_is_under_way_may_be() {
        let steps = [Step::Open, Step::Import(3, 1), Step::Seal, Step::Import(2, 1)];
        let told: Vec<(u64, u64)> =
            (0..=4).map(|done| promise(&steps, done)).map(|it| (it.must, it.may)).collect();
        assert_eq!(told, [(0, 0), (0, 3), (3, 3), (3, 5), (5, 5)]);
        assert_eq!(imported(&steps, 3), 3..5);
    }

    #[test]
    fn packets_are_told_apart_by_their_times() {
        let all = all_packets(STEPS);
        assert_eq!(all.len() as u64, promise(STEPS, STEPS.len()).must);
        for (number, packet) in (0..).zip(&all) {
            assert_eq!(number_of(packet.time), Some(number));
        }
        assert_eq!(number_of(Timestamp::from_secs_nanos(FIRST_SECOND, 1)), None);
    }
}
