//! What is left out of what.

use tapstone_packet::interface::LinkType;
use tapstone_packet::time::Timestamp;

use super::*;
use crate::effects::Shedding;
use crate::import::batch::Record;

const NOTHING: Option<LeftOut> = None;

/// UDP from one port to another, tagged or not, of so many bytes.
fn udp(ports: (u16, u16), vlan: Option<u16>, length: usize) -> Vec<u8> {
    let mut data = vec![2; 12];
    if let Some(vlan) = vlan {
        data.extend([0x81, 0]);
        data.extend(vlan.to_be_bytes());
    }
    data.extend([8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    data.extend(ports.0.to_be_bytes());
    data.extend(ports.1.to_be_bytes());
    data.resize(length, 0);
    data
}

fn rules(thinning: &Thinning) -> Arc<Rules> {
    Arc::new(Rules::new(thinning, "eth0", LinkType::ETHERNET).unwrap())
}

/// A thinner, and what is in force for it.
fn thinner_under(thinning: &Thinning) -> (Thinner, Orders) {
    let orders = Orders::new(Effects::default());
    (Thinner::new(Arc::new(Exchangeable::new(rules(thinning))), &orders), orders)
}

fn thinner(thinning: &Thinning) -> Thinner {
    thinner_under(thinning).0
}

fn judge(thinner: &mut Thinner, data: &[u8], millis: i64, original: usize) -> Option<LeftOut> {
    let mut batch = Batch::empty();
    batch.arena.extend_from_slice(data);
    batch.records.push(Record {
        time: Timestamp::from_nanos(millis * 1_000_000),
        offset: 0,
        captured: data.len() as u32,
        original: original as u32,
        interface: 0,
    });
    thinner.judge(&batch)
}

fn cut_off(class: &str, bytes: u64) -> CutOff {
    CutOff { class: class.to_owned(), bytes }
}

#[test]
fn the_first_bytes_of_every_flow_are_kept() {
    let classes = vec![cut_off("udp port 53", 0), cut_off("udp", 250)];
    let mut thinner = thinner(&Thinning { cut_off: classes, ..Thinning::default() });
    let mut judge = |ports| judge(&mut thinner, &udp(ports, None, 100), 0, 100);
    for _ in 0..3 {
        assert_eq!(judge((1, 2)), NOTHING);
    }
    assert_eq!(judge((1, 2)), Some(LeftOut::CutOff), "300 of 250 bytes are stored");
    assert_eq!(judge((2, 1)), NOTHING, "its addresses are not exchanged: another flow");
    assert_eq!(judge((1, 53)), Some(LeftOut::CutOff), "the first class counts");
}

#[test]
fn a_flow_of_no_class_is_stored_whole() {
    let classes = vec![cut_off("tcp", 0)];
    let mut thinner = thinner(&Thinning { cut_off: classes, ..Thinning::default() });
    for millis in 0..100 {
        assert_eq!(judge(&mut thinner, &udp((1, 2), None, 1000), millis, 1000), NOTHING);
    }
}

#[test]
fn the_same_bytes_are_stored_once_within_the_window() {
    let window = Some(Duration::from_millis(50));
    let mut thinner = thinner(&Thinning { duplicates: window, ..Thinning::default() });
    let (data, other) = (udp((1, 2), None, 100), udp((1, 3), None, 100));
    let mut judge = |data: &[u8], millis| judge(&mut thinner, data, millis, 100);
    assert_eq!(judge(&data, 0), NOTHING);
    assert_eq!(judge(&other, 1), NOTHING);
    assert_eq!(judge(&data, 50), Some(LeftOut::Duplicate));
    assert_eq!(judge(&data, 51), NOTHING, "the one that is stored is longer ago");
    assert_eq!(judge(&data, 90), Some(LeftOut::Duplicate));
    assert_eq!(judge(&data[..99], 90), NOTHING, "it was cut");
}

#[test]
fn tags_are_looked_past_when_that_is_asked_for() {
    let ms = Some(Duration::from_millis(50));
    let (plain, tagged) = (udp((1, 2), None, 100), udp((1, 2), Some(7), 104));
    for (ignore_vlans, expected) in [(false, NOTHING), (true, Some(LeftOut::Duplicate))] {
        let thinning = Thinning { duplicates: ms, ignore_vlans, ..Thinning::default() };
        let mut thinner = thinner(&thinning);
        assert_eq!(judge(&mut thinner, &plain, 0, 100), NOTHING);
        assert_eq!(judge(&mut thinner, &tagged, 1, 104), expected);
    }
}

#[test]
fn rules_can_be_exchanged() {
    let from = Arc::new(Exchangeable::new(rules(&Thinning::default())));
    let mut thinner = Thinner::new(Arc::clone(&from), &Orders::new(Effects::default()));
    let data = udp((1, 2), None, 100);
    assert_eq!(judge(&mut thinner, &data, 0, 100), NOTHING);
    let thinning = Thinning { cut_off: vec![cut_off("udp", 0)], ..Thinning::default() };
    from.exchange(rules(&thinning));
    assert_eq!(judge(&mut thinner, &data, 0, 100), NOTHING, "nobody has looked");
    thinner.keep_up();
    assert_eq!(judge(&mut thinner, &data, 0, 100), Some(LeftOut::CutOff));
}

#[test]
fn a_class_that_is_no_filter_is_refused() {
    let thinning = Thinning { cut_off: vec![cut_off("udp prot 5", 0)], ..Thinning::default() };
    let error = Rules::new(&thinning, "eth0", LinkType::ETHERNET).unwrap_err().to_string();
    assert!(error.starts_with("cut-off class 'udp prot 5' for eth0: "), "{error}");
    let thinning = Thinning { critical: vec!["udp prot 5".to_owned()], ..Thinning::default() };
    let error = Rules::new(&thinning, "eth0", LinkType::ETHERNET).unwrap_err().to_string();
    assert!(error.starts_with("critical class 'udp prot 5' for eth0: "), "{error}");
    let thinning = Thinning { critical: vec!["udp".to_owned(); 1025], ..Thinning::default() };
    let error = Rules::new(&thinning, "eth0", LinkType::ETHERNET).unwrap_err().to_string();
    assert!(error.starts_with("1025 classes are too many; write 1024 at most"), "{error}");
}

#[test]
fn duplicates_are_looked_for_longer_while_that_is_in_force() {
    let (ms, wider) = (Duration::from_millis, Effects { wider_window: 4, ..Effects::default() });
    let of = |duplicates, duplicates_under_pressure| {
        let thinning = Thinning { duplicates, duplicates_under_pressure, ..Thinning::default() };
        let rules = rules(&thinning);
        (rules.window(1), rules.window(wider.wider_window))
    };
    assert_eq!(of(None, None), (None, None), "nobody has asked");
    assert_eq!(of(Some(ms(50)), None), (Some(ms(50)), Some(ms(200))));
    assert_eq!(of(Some(ms(400)), Some(ms(7))), (Some(ms(400)), Some(ms(1000))));
    assert_eq!(of(Some(ms(5000)), None), (Some(ms(5000)), Some(ms(5000))));
    assert_eq!(of(None, Some(ms(70))), (None, Some(ms(70))), "asked for under pressure alone");

    let (mut thinner, orders) =
        thinner_under(&Thinning { duplicates: Some(ms(50)), ..Thinning::default() });
    let data = udp((1, 2), None, 100);
    assert_eq!(judge(&mut thinner, &data, 0, 100), NOTHING);
    orders.exchange(wider);
    thinner.keep_up();
    // What was stored before is known still.
    assert_eq!(judge(&mut thinner, &data, 200, 100), Some(LeftOut::Duplicate));
    orders.exchange(Effects::default());
    thinner.keep_up();
    assert_eq!(judge(&mut thinner, &data, 200, 100), NOTHING);
}

#[test]
fn memory_is_taken_when_it_is_needed_and_given_back_then() {
    let (mut thinner, orders) = thinner_under(&Thinning::default());
    let mut room = |effects| {
        orders.exchange(effects);
        thinner.keep_up();
        thinner.flows.as_ref().map(Flows::room)
    };
    assert_eq!(room(Effects::default()), None);
    let shedding = Effects { shedding: Shedding::Evaluate, ..Effects::default() };
    assert_eq!(room(shedding), Some(1 << 15));
    assert_eq!(room(Effects::default()), None);

    let cut_off = vec![cut_off("udp", 250)];
    let (mut thinner, orders) = thinner_under(&Thinning { cut_off, ..Thinning::default() });
    let data = udp((1, 2), None, 300);
    assert_eq!(judge(&mut thinner, &data, 0, 300), NOTHING);
    let mut under = |effects| {
        orders.exchange(effects);
        thinner.keep_up();
        // What is known of the flow stays known, however small the table becomes.
        assert_eq!(judge(&mut thinner, &data, 0, 300), Some(LeftOut::CutOff));
        thinner.flows.as_ref().map(Flows::room)
    };
    assert_eq!(under(Effects { smaller_tables: 8, ..Effects::default() }), Some(1 << 14));
    assert_eq!(under(Effects { smaller_tables: 8, ..shedding }), Some(1 << 15));
    assert_eq!(under(Effects::default()), Some(1 << 17));
}
