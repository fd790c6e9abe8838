//! The planner's answer is a full scan's, for filters nobody thought of.

use tapstone::Selection;
use tapstone_benches::random::Random;
use tapstone_benches::workload::{Needle, Workload};
use tapstone_packet::filter::{Dialect, Program};
use tapstone_packet::interface::{ByteOrder, LinkType};

use crate::support::{import, open, read};

/// A filter made up from what the workload holds.
fn filter(random: &mut Random, depth: u32) -> String {
    if depth > 0 && random.chance(0.7) {
        let (left, right) = (filter(random, depth - 1), filter(random, depth - 1));
        return match random.below(5) {
            0..=1 => format!("({left} and {right})"),
            2..=3 => format!("({left} or {right})"),
            _ => format!("(not {left})"),
        };
    }
    let client = random.below(8000);
    let server = random.below(300);
    match random.below(14) {
        0 => format!("host 10.0.{}.{}", client / 256, client % 256),
        1 => format!("dst host 198.51.{}.{}", server / 256, server % 256),
        2 => format!("net 10.0.{}.0/{}", client / 256, 20 + random.below(5)),
        3 => "port 53".to_owned(),
        4 => format!("src port {}", [22, 25, 80, 443, 445][random.below(5) as usize]),
        5 => "tcp".to_owned(),
        6 => "udp and portrange 50-60".to_owned(),
        7 => format!("dst portrange {}-{}", 32768, 32768 + random.below(9000)),
        8 => "tcp[13] & 4 != 0".to_owned(),
        9 => format!("greater {}", 60 + random.below(1400)),
        10 => "ip6 or arp".to_owned(),
        11 => "ether src 02:00:5e:00:00:01".to_owned(),
        12 => "vlan".to_owned(),
        _ => "ip proto 17".to_owned(),
    }
}

#[test]
fn random_filters_find_what_a_full_scan_finds() {
    let mut bytes = Vec::new();
    Workload::short_flows(20 << 20, 11).write(&mut bytes).unwrap();
    let capture = read(&bytes);
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    import(&store, &bytes, "a");
    let seed = 42;
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let dialect = Dialect { link_type: LinkType::ETHERNET, byte_order: ByteOrder::Little };
    let (mut asked, mut matched) = (0, 0);
    while asked < 200 {
        // The first ones are asked of the open segment.
        if asked == 80 {
            store.seal().unwrap();
        }
        let expression = filter(&mut random, 3);
        // What libpcap finds to match nothing is refused by it, and not of interest here.
        let Ok(program) = Program::compile(&expression, dialect) else { continue };
        let packets = capture.packets.iter();
        let scanned =
            packets.filter(|(_, raw)| program.matches(&raw.data, raw.original_len)).count() as u64;
        let selection = Selection { filter: expression.clone(), ..Selection::default() };
        let found = store.count(&selection).unwrap();
        assert_eq!(found.packets, scanned, "seed {seed}: {expression}");
        asked += 1;
        matched += u64::from(scanned > 0);
    }
    assert!(matched > 50, "only {matched} filters matched anything");
}

/// Each question for one flow read the whole open segment, at the pace of a scan when that was much.
#[test]
fn a_question_for_one_flow_reads_the_same_blocks_before_and_after_the_seal() {
    let mut bytes = Vec::new();
    let made = Workload::short_flows(40 << 20, 12).write(&mut bytes).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    import(&store, &bytes, "a");
    let to_read = |filter: String| {
        let selection = Selection { filter, ..Selection::default() };
        store.query_stream(&selection).unwrap().bytes_to_read()
    };
    let all =
        |needles: &[Needle]| needles.iter().map(|it| to_read(it.filter())).collect::<Vec<_>>();
    let needles = &made.needles[..10];
    let before = all(needles);
    assert!(before.iter().all(|it| *it > 0 && *it < 4 << 20), "{before:?} of {}", bytes.len());
    store.seal().unwrap();
    assert_eq!(all(needles), before);
}
