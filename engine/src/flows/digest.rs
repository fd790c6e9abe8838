//! Which addresses the flows of a table may have, group by group: a question for a host looks at the
//! few groups that may have it, and not at half a million flows.

use std::hash::BuildHasher;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use tapstone_packet::flow::{FlowKey, Path};
use tapstone_packet::predicate::{PathTest, Predicate};

/// Flows of one group.
pub(crate) const GROUP: u32 = 1024;
/// Bits of one digest: with two addresses a flow one in sixty says yes that should say no.
const BITS: u64 = 1 << 15;

/// The digests of all groups. A Bloom filter each, with two probes, keyed at random: whoever writes
/// the traffic must not choose what is slow.
#[derive(Debug, Default)]
pub(crate) struct Digests {
    hasher: RandomState,
    groups: Vec<Box<[u64]>>,
    /// Flows of which some packet was not understood to its end: few, and each must be looked at.
    opaque: Vec<u32>,
}

impl Digests {
    /// Notes the key of a flow, or its new key, and a path that its packets took.
    pub(crate) fn add(&mut self, flow: u32, key: &FlowKey, path: &Path) {
        let group = (flow / GROUP) as usize;
        while self.groups.len() <= group {
            self.groups.push(vec![0; (BITS / 64) as usize].into());
        }
        let probes = key.addresses().flat_map(|address| probes(&self.hasher, address));
        let digest = &mut self.groups[group];
        probes.for_each(|bit| digest[bit / 64] |= 1 << (bit % 64));
        if key.is_opaque() || path.test(&PathTest::Opaque) {
            self.opaque.push(flow);
        }
    }

    /// Flows that must be looked at whatever their group's digest says.
    pub(crate) fn opaque(&self) -> &[u32] {
        &self.opaque
    }

    /// Whether some flow of a group that is not opaque may satisfy a predicate.
    pub(crate) fn may_match(&self, group: usize, predicate: &Predicate) -> bool {
        self.groups.get(group).is_none_or(|digest| self.may(digest, predicate))
    }

    fn may(&self, digest: &[u64], predicate: &Predicate) -> bool {
        match predicate {
            Predicate::None | Predicate::Path(PathTest::Opaque) => false,
            Predicate::And(parts) => parts.iter().all(|part| self.may(digest, part)),
            Predicate::Or(parts) => parts.iter().any(|part| self.may(digest, part)),
            Predicate::Net(net) => {
                let whole = if net.address.is_ipv4() { 32 } else { 128 };
                let mut probes = probes(&self.hasher, net.address).into_iter();
                net.prefix < whole || probes.all(|bit| digest[bit / 64] >> (bit % 64) & 1 == 1)
            }
            Predicate::All
            | Predicate::Not(_)
            | Predicate::Port(_)
            | Predicate::Path(_)
            | Predicate::Name(_)
            | Predicate::CommunityId(_)
            | Predicate::Number(..) => true,
        }
    }
}

fn probes(hasher: &RandomState, address: IpAddr) -> [usize; 2] {
    let hash = hasher.hash_one(address);
    [hash % BITS, (hash >> 32) % BITS].map(|bit| bit as usize)
}

#[cfg(test)]
mod tests {
    use super::super::table::FlowTable;
    use super::super::tracker::Tracker;
    use super::GROUP;
    use proptest::prelude::*;
    use tapstone_benches::workload::Workload;
    use tapstone_packet::filter::{Dialect, Program};
    use tapstone_packet::flow::{FlowKey, Path};
    use tapstone_packet::interface::{ByteOrder, LinkType};
    use tapstone_packet::predicate::{Net, PathTest, Predicate};
    use tapstone_testkit::captures::read;

    /// A server spent three quarters of its time on flows that could not match.
    #[test]
    fn a_question_for_two_hosts_looks_at_few_groups() {
        let mut capture = Vec::new();
        let made = Workload::short_flows(20 << 20, 3).write(&mut capture).unwrap();
        let mut tracker = Tracker::default();
        tracker.table.begin_unit();
        let capture = read(&capture);
        for (interface, raw) in &capture.packets {
            tracker.packet(&capture.interfaces[*interface as usize], &raw.data);
        }
        let dialect = Dialect { link_type: LinkType::ETHERNET, byte_order: ByteOrder::Little };
        let program = Program::compile(&made.needles[0].filter(), dialect).unwrap();
        let question = program.narrow();
        let groups = tracker.table.len().div_ceil(GROUP as usize);
        let may = (0..groups).filter(|group| tracker.table.digests().may_match(*group, &question));
        let may = may.count();
        assert!(groups > 5 && may <= 2, "{may} of {groups} groups: {question:?}");
    }

    /// The path of a packet that was not understood to its end.
    const STRANGE: [u8; 4] = [1, 0, 1, 8];

    /// UDP over IPv4 from 10.0.x.y to 10.1.0.z; see docs/format/split.md for keys.
    fn key(client: u16, server: u8) -> Vec<u8> {
        let [x, y] = client.to_be_bytes();
        vec![0x41, 17, 10, 0, x, y, 10, 1, 0, server, 0, 1, 0, 2]
    }

    fn host(address: [u8; 4]) -> Predicate {
        Predicate::Net(Net { address: address.into(), prefix: 32 })
    }

    fn questions() -> impl Strategy<Value = Predicate> {
        let leaf = prop_oneof![
            any::<[u8; 2]>().prop_map(|[x, y]| host([10, 0, x % 20, y])),
            any::<u8>().prop_map(|z| host([10, 1, 0, z])),
            Just(Predicate::Net(Net { address: [10, 0, 1, 0].into(), prefix: 24 })),
            Just(Predicate::Port(1..=1)),
            Just(Predicate::Path(PathTest::Opaque)),
        ];
        leaf.prop_recursive(2, 6, 3, |inner| {
            let parts = proptest::collection::vec(inner, 1..4);
            prop_oneof![parts.clone().prop_map(Predicate::And), parts.prop_map(Predicate::Or),]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_flow_is_passed_over(
            question in questions(), opaque in proptest::option::of(0u16..5000),
        ) {
            let mut table = FlowTable::default();
            let path = Path::from_bytes(&[1, 0, 1]);
            let strange = Path::from_bytes(&STRANGE);
            table.begin_unit();
            for client in 0..5000u16 {
                let own = key(client, (client % 251) as u8);
                let is_opaque = opaque == Some(client);
                let key = if is_opaque { FlowKey::opaque() } else { FlowKey::from_bytes(&own) };
                table.look_up(key, if is_opaque { strange } else { path }, true);
            }
            let found = table.matching(&question);
            for flow in 0..table.len() as u32 {
                let path = if opaque.map(u32::from) == Some(flow) { strange } else { path };
                let expected = question.matches(&table.view(flow, &[path]));
                prop_assert_eq!(found.contains(flow), expected, "flow {}", flow);
            }
        }
    }
}
