//! Shedding: which packets are not stored while not everything can be (docs/state-machine.md,
//! DEGRADED / PartialCapture). By flow, never at random: what is kept of a flow is its beginning,
//! and that of a flow of a critical class is all of it.

use tapstone_packet::time::Timestamp;

use super::flows::{Flow, Standing};
use crate::effects::Shedding;

/// Flows that are remembered while only shedding asks for it (768 KiB for each ring).
pub(super) const FLOWS: usize = 1 << 15;

/// What is stored of a flow before the rest is shed: names, handshakes, requests, and most flows
/// from their first packet to their last.
const FIRST_BYTES: u64 = 64 << 10;
/// The same when nothing else helps: a handshake with the names in it, or a question and its answer.
const FEWEST_BYTES: u64 = 4 << 10;
/// Flows that may begin within a second then. Together they take 4 MiB a second at most, so that no
/// flood of new flows takes the place of those that are critical.
const BEGUN_PER_SECOND: u32 = 1024;

/// Why a flow's packets were shed: of what kind it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ShedFlow {
    /// The first 64 KiB of it are stored.
    Heavy,
    /// The first 4 KiB of it are.
    Light,
    /// Nothing of it is: too many began within the same second.
    New,
}

impl ShedFlow {
    /// All there are.
    pub const ALL: [ShedFlow; 3] = [ShedFlow::Heavy, ShedFlow::Light, ShedFlow::New];

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            ShedFlow::Heavy => "heavy",
            ShedFlow::Light => "light",
            ShedFlow::New => "new",
        }
    }
}

/// Sheds packets of one ring.
#[derive(Debug, Default)]
pub(super) struct Shedder {
    pub(super) level: Shedding,
    /// The current second, and how many flows have begun within it.
    second: i64,
    begun: u32,
}

impl Shedder {
    /// Why a packet of a flow is shed, if it is. `is_critical` is asked when nobody has before: of
    /// the first packet that came since it matters.
    pub(super) fn judge(
        &mut self,
        flow: &mut Flow,
        time: Timestamp,
        is_critical: impl FnOnce() -> bool,
    ) -> Option<ShedFlow> {
        if self.level == Shedding::No {
            return None;
        }
        if flow.standing == Standing::Unknown {
            flow.standing = match is_critical() {
                true => Standing::Critical,
                // What has begun is not turned away.
                false if flow.stored > 0 || self.lets_in(time) => Standing::Other,
                false => Standing::TurnedAway,
            };
        }
        match (self.level, flow.standing) {
            (Shedding::No | Shedding::Evaluate, _) => None,
            (_, Standing::Critical | Standing::Unknown) => None,
            (_, _) if flow.stored >= FIRST_BYTES => Some(ShedFlow::Heavy),
            (Shedding::Prioritize, _) => None,
            (Shedding::Suspend, Standing::TurnedAway) => Some(ShedFlow::New),
            (Shedding::Suspend, Standing::Other) => {
                (flow.stored >= FEWEST_BYTES).then_some(ShedFlow::Light)
            }
        }
    }

    /// Whether another flow may begin now.
    fn lets_in(&mut self, time: Timestamp) -> bool {
        if self.level != Shedding::Suspend {
            return true;
        }
        let second = time.secs_nanos().0 as i64;
        if self.second != second {
            (self.second, self.begun) = (second, 0);
        }
        let lets_in = self.begun < BEGUN_PER_SECOND;
        self.begun += u32::from(lets_in);
        lets_in
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tapstone_packet::interface::LinkType;

    use super::super::flows::Flows;
    use super::*;

    /// A ring's flows, and what is shed of them.
    struct Ring {
        flows: Flows,
        shedder: Shedder,
        kept: u64,
    }

    impl Ring {
        fn new(level: Shedding) -> Ring {
            let shedder = Shedder { level, ..Shedder::default() };
            Ring { flows: Flows::new(LinkType::RAW, FLOWS), shedder, kept: 0 }
        }

        /// A packet of a flow; one of a port below 100 is critical.
        fn packet(&mut self, port: u16, from: u32, secs: i64, length: u64) -> Option<ShedFlow> {
            let mut data = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
            data.extend(from.to_be_bytes());
            data.extend([10, 0, 0, 2]);
            data.extend(port.to_be_bytes());
            data.extend([0, 80, 0, 8, 0, 0]);
            let time = Timestamp::from_secs_nanos(secs, 0);
            let flow = self.flows.of(&data, time, || None);
            let shed = self.shedder.judge(flow, time, || port < 100);
            if shed.is_none() {
                flow.stored += length;
                self.kept += length;
            }
            shed
        }
    }

    const CRITICAL: u16 = 53;
    const OTHER: u16 = 5000;

    #[test]
    fn critical_flows_are_whole_and_others_have_their_first_bytes() {
        let mut ring = Ring::new(Shedding::Prioritize);
        for packet in 0..200 {
            assert_eq!(ring.packet(CRITICAL, 1, 0, 1024), None);
            let heavy = (packet >= 64).then_some(ShedFlow::Heavy);
            assert_eq!(ring.packet(OTHER, 1, 0, 1024), heavy, "{packet}");
        }
    }

    #[test]
    fn what_a_flow_had_before_counts_and_the_level_decides() {
        let mut ring = Ring::new(Shedding::Evaluate);
        for _ in 0..100 {
            assert_eq!(ring.packet(OTHER, 1, 0, 1024), None, "nothing is shed yet");
        }
        for _ in 0..10 {
            assert_eq!(ring.packet(OTHER, 2, 0, 1024), None);
        }
        ring.shedder.level = Shedding::Prioritize;
        assert_eq!(ring.packet(OTHER, 1, 0, 1024), Some(ShedFlow::Heavy), "at once");
        assert_eq!(ring.packet(OTHER, 2, 0, 1024), None);
        ring.shedder.level = Shedding::Suspend;
        assert_eq!(ring.packet(OTHER, 1, 0, 1024), Some(ShedFlow::Heavy));
        assert_eq!(ring.packet(OTHER, 2, 0, 1024), Some(ShedFlow::Light));
        for packet in 0..6 {
            let light = (packet >= 4).then_some(ShedFlow::Light);
            assert_eq!(ring.packet(OTHER, 3, 0, 1024), light, "{packet}");
            assert_eq!(ring.packet(CRITICAL, 3, 0, 1024), None);
        }
        ring.shedder.level = Shedding::No;
        assert_eq!(ring.packet(OTHER, 1, 0, 1024), None);
    }

    #[test]
    fn so_many_flows_begin_within_a_second_and_those_go_on() {
        let mut ring = Ring::new(Shedding::Suspend);
        let begun = |ring: &mut Ring, flows: std::ops::Range<u32>, secs| {
            flows.filter(|flow| ring.packet(OTHER, *flow, secs, 100).is_none()).count() as u32
        };
        assert_eq!(begun(&mut ring, 0..3000, 7), BEGUN_PER_SECOND);
        assert_eq!(ring.packet(CRITICAL, 9999, 7, 100), None, "they are not counted");
        // What was let in is let in still, and what was turned away is not.
        assert_eq!(begun(&mut ring, 0..3000, 8), BEGUN_PER_SECOND);
        assert_eq!(ring.packet(OTHER, 2999, 8, 100), Some(ShedFlow::New));
        assert_eq!(begun(&mut ring, 3000..6000, 8), BEGUN_PER_SECOND, "another second");
        // It is not turned away for good: a level below lets it on.
        ring.shedder.level = Shedding::Prioritize;
        assert_eq!(ring.packet(OTHER, 2999, 8, 100), None);
    }

    /// More flows than are remembered: what is kept of them is bounded all the same, and no
    /// critical packet is shed.
    #[test]
    fn a_flood_of_new_flows_takes_no_more_than_it_may() {
        let mut ring = Ring::new(Shedding::Suspend);
        let flows = 4 * FLOWS as u32;
        for flow in 0..flows {
            let secs = i64::from(flow / (flows / 2));
            ring.packet(OTHER, flow, secs, 1500);
            if flow % 100 == 0 {
                assert_eq!(ring.packet(CRITICAL, flow % 1000, secs, 0), None, "{flow}");
            }
        }
        let most = 2 * u64::from(BEGUN_PER_SECOND) * (FEWEST_BYTES + 1500);
        assert!(ring.kept <= most, "{} of {most}", ring.kept);
        assert!(ring.kept >= 2 * u64::from(BEGUN_PER_SECOND) * 1500);
    }

    proptest! {
        /// Whatever comes: a flow is kept from its beginning, without a gap, as far as the level
        /// says; and one that is critical is kept.
        #[test]
        fn a_flow_is_kept_from_its_beginning(
            packets in proptest::collection::vec((0u32..6, any::<bool>(), 1u64..3000), 1..400),
            suspend in any::<bool>(),
        ) {
            let (level, bound) = match suspend {
                true => (Shedding::Suspend, FEWEST_BYTES),
                false => (Shedding::Prioritize, FIRST_BYTES),
            };
            let mut ring = Ring::new(level);
            let mut stored = std::collections::BTreeMap::<(u16, u32), (u64, bool)>::new();
            for (from, critical, length) in packets {
                let port = if critical { CRITICAL } else { OTHER };
                let shed = ring.packet(port, from, 3, length);
                let (bytes, over) = stored.entry((port, from)).or_default();
                prop_assert!(!critical || shed.is_none());
                prop_assert!(!*over || shed.is_some(), "it goes on behind a gap");
                prop_assert_eq!(shed.is_some(), !critical && *bytes >= bound);
                *over = shed.is_some();
                *bytes += if shed.is_none() { length } else { 0 };
            }
        }
    }
}
