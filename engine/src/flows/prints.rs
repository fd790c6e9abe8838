//! A print of each flow's addresses: a question for a host passes over half a million flows in a
//! fraction of a millisecond, and looks at the few that may have it.

use std::hash::BuildHasher;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use tapstone_packet::flow::{FlowKey, Path};
use tapstone_packet::predicate::{PathTest, Predicate};

/// Flows that are compared together.
const TOGETHER: usize = 64;

/// What stands for an address: one flow in some thirty thousand has the print of another's. Keyed
/// at random: whoever writes the traffic must not choose what is slow.
type Print = u16;

/// The prints of all flows.
#[derive(Debug, Default)]
pub(crate) struct Prints {
    hasher: RandomState,
    of_flows: Vec<[Print; 2]>,
    /// Flows that must be looked at whatever their prints say: those of which some packet was not
    /// understood to its end, in tunnels, or with another key than before. Some are here often.
    others: Vec<u32>,
}

impl Prints {
    /// Notes the key of a flow, or its new key, and a path that its packets took.
    pub(crate) fn add(&mut self, flow: u32, key: &FlowKey, path: &Path) {
        let mut addresses = key.addresses().map(|address| self.print(address));
        let prints = [addresses.next().unwrap_or(0), addresses.next().unwrap_or(0)];
        let is_plain = addresses.next().is_none()
            && !key.is_opaque()
            && !path.test(&PathTest::Opaque)
            && self.of_flows.get(flow as usize).is_none_or(|before| *before == prints);
        if flow as usize >= self.of_flows.len() {
            self.of_flows.resize(flow as usize, [0, 0]);
            self.of_flows.push(prints);
        }
        if !is_plain {
            self.others.push(flow);
        }
    }

    /// Flows that must be looked at in any case.
    pub(crate) fn others(&self) -> &[u32] {
        &self.others
    }

    /// Those of the other flows that may satisfy a predicate; `None` when it may be any.
    pub(crate) fn candidates(&self, predicate: &Predicate) -> Option<Vec<u32>> {
        match predicate {
            Predicate::None | Predicate::Path(PathTest::Opaque) => Some(Vec::new()),
            Predicate::And(parts) => parts.iter().find_map(|part| self.candidates(part)),
            Predicate::Or(parts) => {
                let of_parts: Option<Vec<_>> = parts.iter().map(|it| self.candidates(it)).collect();
                of_parts.map(|it| it.concat())
            }
            Predicate::Net(net) => {
                let whole = if net.address.is_ipv4() { 32 } else { 128 };
                (net.prefix == whole).then(|| self.with(self.print(net.address)))
            }
            Predicate::All
            | Predicate::Not(_)
            | Predicate::Port(_)
            | Predicate::Path(_)
            | Predicate::Name(_)
            | Predicate::CommunityId(_)
            | Predicate::Number(..) => None,
        }
    }

    fn with(&self, print: Print) -> Vec<u32> {
        let mut flows = Vec::new();
        for (prints, first) in self.of_flows.chunks(TOGETHER).zip((0..).step_by(TOGETHER)) {
            // Without a branch, so that many are compared at once.
            let any =
                prints.iter().fold(false, |any, it| any | (it[0] == print) | (it[1] == print));
            if any {
                let with = prints.iter().zip(first..).filter(|(it, _)| it.contains(&print));
                flows.extend(with.map(|(_, flow)| flow));
            }
        }
        flows
    }

    fn print(&self, address: IpAddr) -> Print {
        self.hasher.hash_one(address) as Print
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::FlowTable;
    use super::super::tracker::Tracker;
    use proptest::prelude::*;
    use tapstone_benches::workload::Workload;
    use tapstone_packet::filter::{Dialect, Program};
    use tapstone_packet::flow::{FlowKey, Path};
    use tapstone_packet::interface::{ByteOrder, LinkType};
    use tapstone_packet::predicate::{Net, PathTest, Predicate};
    use tapstone_testkit::captures::read;

    /// A server spent three quarters of its time on flows that could not match.
    #[test]
    fn a_question_for_two_hosts_looks_at_few_flows() {
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
        let (flows, may) = (tracker.table.len(), tracker.table.prints().candidates(&question));
        let may = may.expect("hosts narrow it").len();
        assert!(flows > 5000 && may < flows / 100, "{may} of {flows} flows: {question:?}");
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
