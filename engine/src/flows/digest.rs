//! Which addresses the flows of a table may have, group by group: a question for a host looks at the
//! few groups that may have it, and not at half a million flows.

use std::hash::BuildHasher;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use tapstone_packet::flow::FlowKey;
use tapstone_packet::predicate::Predicate;

/// Flows of one group.
pub(crate) const GROUP: u32 = 1024;
/// Bits of one digest: with two addresses a flow one in sixty says yes that should say no.
const BITS: u64 = 1 << 15;

/// The digests of all groups. A Bloom filter each, with two probes, keyed at random: whoever writes
/// the traffic must not choose what is slow.
#[derive(Debug, Default)]
pub(crate) struct Digests {
    hasher: RandomState,
    groups: Vec<Digest>,
}

#[derive(Debug)]
struct Digest {
    bits: Box<[u64]>,
    /// Whether some flow of it may have any address.
    has_opaque: bool,
}

impl Digests {
    /// Notes the key of a flow, or its new key.
    pub(crate) fn add(&mut self, flow: u32, key: &FlowKey) {
        let group = (flow / GROUP) as usize;
        while self.groups.len() <= group {
            let bits = vec![0; (BITS / 64) as usize].into();
            self.groups.push(Digest { bits, has_opaque: false });
        }
        let probes = key.addresses().flat_map(|address| probes(&self.hasher, address));
        let digest = &mut self.groups[group];
        digest.has_opaque |= key.is_opaque();
        probes.for_each(|bit| digest.bits[bit / 64] |= 1 << (bit % 64));
    }

    /// Whether some flow of a group may satisfy a predicate.
    pub(crate) fn may_match(&self, group: usize, predicate: &Predicate) -> bool {
        let Some(digest) = self.groups.get(group) else { return true };
        digest.has_opaque || self.may(digest, predicate)
    }

    fn may(&self, digest: &Digest, predicate: &Predicate) -> bool {
        match predicate {
            Predicate::None => false,
            Predicate::And(parts) => parts.iter().all(|part| self.may(digest, part)),
            Predicate::Or(parts) => parts.iter().any(|part| self.may(digest, part)),
            Predicate::Net(net) => {
                let whole = if net.address.is_ipv4() { 32 } else { 128 };
                let mut probes = probes(&self.hasher, net.address).into_iter();
                net.prefix < whole || probes.all(|bit| digest.bits[bit / 64] >> (bit % 64) & 1 == 1)
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
    use proptest::prelude::*;
    use tapstone_packet::flow::{FlowKey, Path};
    use tapstone_packet::predicate::{Net, Predicate};

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
            table.begin_unit();
            for client in 0..5000u16 {
                let own = key(client, (client % 251) as u8);
                let is_opaque = opaque == Some(client);
                let key = if is_opaque { FlowKey::opaque() } else { FlowKey::from_bytes(&own) };
                table.look_up(key, path, true);
            }
            let found = table.matching(&question);
            let paths = [path];
            for flow in 0..table.len() as u32 {
                let expected = question.matches(&table.view(flow, &paths));
                prop_assert_eq!(found.contains(flow), expected, "flow {}", flow);
            }
        }
    }
}
