//! Live packets while not everything can be stored: through the loopback interface (root is
//! needed).

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

use tapstone::effects::Effects;
use tapstone::state::State;
use tapstone::{
    Capture, CaptureCounts, CaptureOptions, CutOff, LiveSource, LossCause, OpenOptions, Selection,
    ShedFlow, Sizes, Store, Thinning,
};

/// Bytes of a datagram, and of the frame that it comes in.
const DATAGRAM: usize = 1000;
const FRAME: u64 = DATAGRAM as u64 + 42;
/// What is stored of a flow before the rest is shed.
const FIRST_BYTES: u64 = 64 << 10;
const FEWEST_BYTES: u64 = 4 << 10;

struct Traffic {
    from: UdpSocket,
    critical: UdpSocket,
    other: UdpSocket,
}

impl Traffic {
    fn new() -> Traffic {
        let socket = || UdpSocket::bind("127.0.0.1:0").unwrap();
        Traffic { from: socket(), critical: socket(), other: socket() }
    }

    fn filter(socket: &UdpSocket) -> String {
        format!("udp port {}", socket.local_addr().unwrap().port())
    }

    fn send(&self, to: &UdpSocket, packets: u64) {
        for _ in 0..packets {
            self.from.send_to(&[7; DATAGRAM], to.local_addr().unwrap()).unwrap();
        }
    }
}

/// What becomes of packets that come from now on.
fn put_in_force(store: &Store, names: &[&str]) {
    let active: BTreeSet<State> =
        State::all().into_iter().filter(|it| names.contains(&it.name())).collect();
    // What came before is read before.
    store.flush().unwrap();
    store.apply_effects(&Effects::of(&active, &Sizes::default()));
    std::thread::sleep(Duration::from_millis(300));
}

fn lost(counts: &CaptureCounts, cause: LossCause) -> u64 {
    let place = LossCause::ALL.iter().position(|it| *it == cause).unwrap();
    counts.lost[place]
}

/// Packets that match, and what the answer lacks.
fn count(store: &Store, filter: &str) -> (usize, Vec<String>) {
    let selection = Selection { filter: filter.to_owned(), ..Selection::default() };
    let mut packets = store.query(&selection).unwrap();
    let found = (&mut packets).count();
    let missing = &packets.answer().completeness.missing;
    assert!(missing.iter().all(|it| !it.asked_for));
    (found, missing.iter().map(ToString::to_string).collect())
}

/// Begins to record what the sockets hear; `None` where that is not allowed.
#[expect(clippy::print_stderr, reason = "what is skipped is told")]
fn record(traffic: &Traffic, thinning: Thinning, folder: &Path) -> Option<(Store, Capture)> {
    let (critical, other) = (Traffic::filter(&traffic.critical), Traffic::filter(&traffic.other));
    let filter = format!("{critical} or {other}");
    let options = CaptureOptions { filter, thinning, ..CaptureOptions::new("lo") };
    let source = LiveSource::open(&options, 1);
    let source = source.inspect_err(|error| eprintln!("SKIPPED: root is needed: {error}")).ok()?;
    let options = OpenOptions { create: true, shards: 1, ..OpenOptions::default() };
    let store = Store::open(folder, options).unwrap();
    let capture = store.capture(vec![source]);
    Some((store, capture))
}

/// As long as packets came and none of them was stored, no answer told of those that were left out.
#[test]
fn what_is_left_out_is_told_while_nothing_is_stored() {
    let (traffic, dir) = (Traffic::new(), tempfile::tempdir().unwrap());
    let cut_off = vec![CutOff { class: "udp".to_owned(), bytes: 0 }];
    let thinning = Thinning { cut_off, ..Thinning::default() };
    let Some((store, capture)) = record(&traffic, thinning, dir.path()) else { return };
    let is_told = || store.info().unwrap().lost.contains_key(&LossCause::CutOff);
    let told = (0..500).any(|_| {
        traffic.send(&traffic.other, 1);
        std::thread::sleep(Duration::from_millis(20));
        is_told()
    });
    assert!(told);
    let counts = capture.stop().unwrap().remove(0);
    assert_eq!((counts.stored, counts.lost()), (0, 0));
    assert_eq!(counts.received, lost(&counts, LossCause::CutOff));
}

#[test]
fn what_is_shed_is_counted_to_the_packet_and_told_in_answers() {
    let (traffic, dir) = (Traffic::new(), tempfile::tempdir().unwrap());
    let (critical, other) = (Traffic::filter(&traffic.critical), Traffic::filter(&traffic.other));
    let thinning = Thinning { critical: vec![critical.clone()], ..Thinning::default() };
    let Some((store, capture)) = record(&traffic, thinning, dir.path()) else { return };

    put_in_force(&store, &["EvaluateFlows"]);
    traffic.send(&traffic.other, 10);
    put_in_force(&store, &["EvaluateFlows", "PrioritizeCritical"]);
    traffic.send(&traffic.other, 190);
    traffic.send(&traffic.critical, 200);
    store.flush().unwrap();
    // What was stored of the flow while nothing was shed counts.
    let first = FIRST_BYTES.div_ceil(FRAME);
    let counts = store.captures().remove(0);
    assert_eq!((counts.received, counts.stored), (400, 200 + first));
    assert_eq!(counts.shed, [200 - first, 0, 0], "{:?}", ShedFlow::ALL);

    put_in_force(&store, &["SuspendNonCritical"]);
    let another = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..20 {
        another.send_to(&[7; DATAGRAM], traffic.other.local_addr().unwrap()).unwrap();
    }
    traffic.send(&traffic.critical, 20);
    traffic.send(&traffic.other, 1);
    store.flush().unwrap();
    let fewest = FEWEST_BYTES.div_ceil(FRAME);
    let shed = 201 - first + 20 - fewest;

    put_in_force(&store, &[]);
    traffic.send(&traffic.other, 10);
    let counts = capture.stop().unwrap().remove(0);
    assert_eq!(counts.received, 451);
    assert_eq!(counts.shed, [201 - first, 20 - fewest, 0]);
    assert_eq!((lost(&counts, LossCause::Shed), counts.lost()), (shed, shed));
    assert_eq!(counts.received, counts.stored + shed, "each is stored or counted");

    let (found, missing) = count(&store, &other);
    assert_eq!(found as u64, first + fewest + 10);
    assert!(!missing.is_empty() && missing.iter().all(|it| it.contains("they were shed")));
    assert_eq!(count(&store, &critical).0, 220, "critical flows are whole");
    assert_eq!(store.info().unwrap().lost[&LossCause::Shed], shed);
    store.close().unwrap();
    // It is in the segments and in the catalog.
    let store = Store::open(dir.path(), OpenOptions::default()).unwrap();
    assert_eq!(store.info().unwrap().lost[&LossCause::Shed], shed);
    assert!(count(&store, &other).1.iter().all(|it| it.contains("they were shed")));
}
