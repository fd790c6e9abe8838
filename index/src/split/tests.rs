use super::*;
use crate::{FlowEntry, SplitBuilder, Summary};
use proptest::prelude::*;
use std::ops::Range;
use tapstone_packet::flow::FlowKey;
use tapstone_packet::interface::LinkType;
use tapstone_packet::names::Name;
use tapstone_packet::predicate::Number;
use tapstone_packet::time::Timestamp;

#[derive(Debug)]
struct Bytes(Vec<u8>);

impl BundleSource for Bytes {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let range = range.start as usize..range.end as usize;
        self.0.get(range).map(<[u8]>::to_vec).ok_or(io::ErrorKind::UnexpectedEof.into())
    }
}

#[derive(Clone, Debug)]
struct Flow {
    key: Vec<u8>,
    paths: Vec<Vec<u8>>,
    ports: Vec<u16>,
    names: Vec<Name>,
    packets: u64,
    blocks: Vec<u32>,
}

fn path(vlan: u16, protocol: u8) -> Vec<u8> {
    let [high, low] = vlan.to_be_bytes();
    vec![1, 0, 1, 3, 8, 0, 4, high, low, 6, protocol]
}

fn flow() -> impl Strategy<Value = Flow> {
    let address = 0u8..4;
    let name = ("[ab]{1,2}(\\.[ab]{1,2}){0,2}", 1u8..=4).prop_map(|(name, kind)| Name {
        kind: NameKind::ALL[usize::from(kind) - 1].0,
        name: name.into_bytes(),
    });
    let parts = (address.clone(), address, 0u16..4, 0u16..4, any::<bool>());
    let more = (
        proptest::collection::btree_set((0u16..3, 0u8..3), 1..3),
        proptest::collection::vec(1000u16..1003, 0..2),
        proptest::collection::btree_set(name, 0..3),
        1u64..9,
        proptest::collection::btree_set(0u32..99, 1..4),
    );
    (parts, more).prop_map(
        |((a, b, port_a, port_b, wide), (paths, ports, names, packets, blocks))| {
            let mut key = Vec::new();
            if wide {
                key.extend([0x61, 6]);
                for end in [a, b] {
                    key.extend([0x20, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, end]);
                }
            } else {
                key.extend([0x41, 6, 10, 0, 0, a, 10, 1, 0, b]);
            }
            key.extend(port_a.to_be_bytes());
            key.extend(port_b.to_be_bytes());
            Flow {
                key,
                paths: paths.into_iter().map(|(vlan, protocol)| path(vlan, protocol)).collect(),
                ports,
                names: names.into_iter().collect(),
                packets,
                blocks: blocks.into_iter().collect(),
            }
        },
    )
}

fn predicate() -> impl Strategy<Value = Predicate> {
    let name = prop_oneof![
        Just(NamePattern::Any),
        "[ab]{1,2}(\\.[ab]{1,2}){0,1}".prop_map(NamePattern::Domain),
        "[ab]{1,2}(\\.[ab]{1,2}){0,1}".prop_map(NamePattern::Exact),
    ];
    let net4 = (0u8..4, 8u8..=32)
        .prop_map(|(end, prefix)| Net { address: IpAddr::from([10, 1, 0, end]), prefix });
    let net6 = (0u8..4, 0u8..=128).prop_map(|(end, prefix)| {
        let mut octets = [0; 16];
        (octets[0], octets[1], octets[15]) = (0x20, 1, end);
        Net { address: IpAddr::from(octets), prefix }
    });
    let leaf = prop_oneof![
        Just(Predicate::All),
        Just(Predicate::None),
        net4.prop_map(Predicate::Net),
        net6.prop_map(Predicate::Net),
        (0u16..5, 0u16..3).prop_map(|(low, more)| Predicate::Port(low..=low + more)),
        (999u16..1004).prop_map(|port| Predicate::Port(port..=port)),
        (0u16..4).prop_map(|vlan| Predicate::Path(PathTest::Vlan(vlan))),
        (0u8..4).prop_map(|it| Predicate::Path(PathTest::Protocol(it))),
        Just(Predicate::Path(PathTest::LinkType(LinkType::ETHERNET))),
        Just(Predicate::Path(PathTest::Opaque)),
        (proptest::sample::subsequence(NameKind::ALL.map(|(kind, _)| kind).to_vec(), 0..4), name)
            .prop_map(|(kinds, pattern)| Predicate::Name(NameTest { kinds, pattern })),
        (0u64..9).prop_map(|low| Predicate::Number(Number::Packets, low..=6)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Predicate::And),
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Predicate::Or),
            inner.prop_map(|part| Predicate::Not(Box::new(part))),
        ]
    })
}

fn build(flows: &[Flow]) -> crate::SplitFile {
    let mut builder = SplitBuilder::new(10).unwrap();
    for (number, flow) in flows.iter().enumerate() {
        let paths: Vec<u32> =
            flow.paths.iter().map(|path| builder.add_path(Path::from_bytes(path))).collect();
        let first = Timestamp::from_nanos(1_000_000 - number as i64);
        let entry = FlowEntry {
            key: FlowKey::from_bytes(&flow.key),
            first_end_started: number % 2 == 0,
            paths: &paths,
            extra_ports: &flow.ports,
            names: &flow.names,
            first,
            last: Timestamp::from_nanos(2_000_000),
            packets: flow.packets,
            bytes: 7,
            blocks: &flow.blocks,
        };
        builder.add(&entry).unwrap();
    }
    builder.add_answer(b"a.b", IpAddr::from([10, 0, 0, 1]));
    builder.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_split_finds_what_looking_at_each_flow_finds(
        flows in proptest::collection::vec(flow(), 0..150),
        predicates in proptest::collection::vec(predicate(), 1..20),
    ) {
        let file = build(&flows);
        let summary = Summary::new(&file.summary);
        let split = Split::open(Arc::new(Bytes(file.bytes))).unwrap();
        split.verify().unwrap();
        prop_assert_eq!(split.flow_count() as usize, flows.len());
        prop_assert_eq!(split.answers().unwrap(), vec![(b"a.b".to_vec(), IpAddr::from([10, 0, 0, 1]))]);
        for (number, flow) in flows.iter().enumerate() {
            let row = split.row(number as u32).unwrap();
            prop_assert_eq!((&row.key, &row.names), (&flow.key, &flow.names));
            prop_assert_eq!((&row.blocks, row.packets), (&flow.blocks, flow.packets));
            prop_assert_eq!(row.first, Timestamp::from_nanos(1_000_000 - number as i64));
            prop_assert_eq!(row.first_end_started, number % 2 == 0);
        }
        for predicate in predicates {
            let expected: Vec<u32> = (0..).zip(&flows).filter_map(|(row, flow)| {
                let paths: Vec<&Path> = flow.paths.iter().map(|path| Path::from_bytes(path)).collect();
                let duration = 1_000_000 + u64::from(row);
                let view = FlowView {
                    key: FlowKey::from_bytes(&flow.key),
                    paths: &paths,
                    extra_ports: &flow.ports,
                    names: &flow.names,
                    packets: flow.packets,
                    bytes: 7,
                    duration_nanos: duration,
                };
                predicate.matches(&view).then_some(row)
            }).collect();
            let found = split.candidates(&predicate).unwrap();
            prop_assert_eq!(found.iter().collect::<Vec<_>>(), expected.clone(), "{:?}", predicate);
            prop_assert!(expected.is_empty() || summary.may_match(&predicate), "{:?}", predicate);
            let blocks = split.blocks(&found).unwrap();
            let all = expected.iter().flat_map(|row| flows[*row as usize].blocks.clone());
            let distinct: std::collections::BTreeSet<u32> = all.collect();
            prop_assert_eq!(blocks, distinct.into_iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_damaged_split_is_an_error_and_never_a_panic() {
    let flow = Flow {
        key: vec![0x41, 6, 10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 200, 0],
        paths: vec![path(1, 6)],
        ports: Vec::new(),
        names: vec![Name { kind: NameKind::Sni, name: b"a.b".to_vec() }],
        packets: 3,
        blocks: vec![0],
    };
    let file = build(&vec![flow; 40]);
    for length in (0..file.bytes.len()).step_by(37) {
        assert!(Split::open(Arc::new(Bytes(file.bytes[..length].to_vec()))).is_err(), "{length}");
    }
    for index in 0..file.bytes.len() {
        let mut bytes = file.bytes.clone();
        bytes[index] ^= 0x21;
        // tantivy trusts its bytes, so they are verified before it sees them.
        let found = Split::verify_bytes(Arc::new(Bytes(bytes)));
        assert!(found.is_err(), "byte {index}");
    }
}
