//! What must be found: numbered packets, and a list.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use tapstone::{ImportOptions, Selection, Store, Timestamp, read_audit};
use tapstone_packet::capture_file::PcapWriter;
use tapstone_packet::interface::{Interface, LinkType};

use super::life::FOLDER;

/// What the audit log is told of every import.
pub(super) const AUDIT_ENTRY: &[u8] = b"imported";

/// One of the seven flows, which is asked for by its address.
const FLOW: u8 = 3;

/// The packet of a number: a UDP datagram of one of seven flows that begins with it.
pub(super) fn packet(number: u64) -> (Timestamp, Vec<u8>) {
    let filler = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize;
    let length = 36 + filler % 300;
    let flow = (filler % 7) as u8;
    let mut data = vec![
        0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, flow, 0x30, 0x39, 0x30,
        0x39, 0, 0, 0, 0,
    ];
    data[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    data[24..26].copy_from_slice(&(length as u16 - 20).to_be_bytes());
    data.extend(number.to_le_bytes());
    data.extend((data.len()..length).map(|at| (at * filler) as u8));
    // Now and then time goes back.
    let back = if number.is_multiple_of(11) { 5 } else { 0 };
    let millis = 1_000 + number as i64 - back;
    (Timestamp::from_secs_nanos(millis / 1000, (millis % 1000) as u32 * 1_000_000), data)
}

/// A capture file of the packets of some numbers.
pub(super) fn capture(numbers: Range<u64>) -> Vec<u8> {
    let interface = Interface { snap_len: 65535, ..Interface::new(LinkType::RAW) };
    let mut bytes = Vec::new();
    let writer = PcapWriter::start(&interface, &mut bytes);
    for number in numbers {
        let (time, data) = packet(number);
        let written = writer.packet(&interface, time, &data, data.len() as u32, &mut bytes);
        written.unwrap();
    }
    bytes
}

/// Captures that were given to a store.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    /// All of it may be there.
    pub(super) given: Vec<Range<u64>>,
    /// All of it must be there.
    pub(super) acknowledged: Vec<Range<u64>>,
    /// These records must be in the audit log.
    pub(super) audited: Vec<u64>,
    /// Whether an operation on the disk went wrong.
    pub(super) faulty: bool,
}

/// What is left of what was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) packets: u64,
    /// Whether the store says that something is wrong.
    pub(super) told: bool,
}

impl Model {
    /// How many packets must be there.
    pub(super) fn acknowledged_packets(&self) -> u64 {
        self.acknowledged.iter().map(|it| it.end - it.start).sum()
    }

    /// How often each packet is in the store and whether some may be missing, or what is wrong
    /// with what is there.
    fn found(&self, store: &Store) -> Result<(BTreeMap<u64, usize>, String), String> {
        let mut packets = store.query(&Selection::default()).map_err(|it| it.to_string())?;
        let mut found: BTreeMap<u64, usize> = BTreeMap::new();
        for it in &mut packets {
            let number = it.data().get(28..36).ok_or("a packet that was never given")?;
            let number = u64::from_le_bytes(number.try_into().unwrap());
            let (time, data) = packet(number);
            if !self.given.iter().any(|given| given.contains(&number)) {
                return Err(format!("packet {number} was never given"));
            }
            if (it.time(), it.data()) != (time, &data[..]) {
                return Err(format!("packet {number} is not as it was given"));
            }
            *found.entry(number).or_default() += 1;
        }
        if let Some((number, count)) = found.iter().find(|(_, count)| **count > 1) {
            return Err(format!("packet {number} was found {count} times"));
        }
        let missing = &packets.answer().completeness.missing;
        let missing = missing.iter().map(|it| it.to_string()).collect::<Vec<_>>().join("; ");
        Ok((found, missing))
    }

    /// What a store has whose disk did not keep its word.
    pub(super) fn found_of_acknowledged(&self, store: &Store) -> Result<Found, String> {
        let (found, missing) = self.found(store)?;
        let acknowledged = self.acknowledged.iter().cloned().flatten();
        let packets = acknowledged.filter(|number| found.contains_key(number)).count() as u64;
        let told = !missing.is_empty() || !store.damage().is_empty();
        Ok(Found { packets, told })
    }

    /// Everything acknowledged is there, and nothing twice; gives the packets that are there.
    pub(super) fn holds(&self, store: &Store) -> Result<Vec<u64>, String> {
        let (found, missing) = self.found(store)?;
        if !missing.is_empty() {
            return Err(format!("incomplete: {missing}"));
        }
        let lost = self.acknowledged.iter().cloned().flatten().find(|it| !found.contains_key(it));
        match lost {
            Some(number) => {
                let damage = store.damage();
                Err(format!("packet {number} was acknowledged and is gone; damage: {damage:?}"))
            }
            None => Ok(found.into_keys().collect()),
        }
    }

    fn audit_log_holds(&self) -> Result<(), String> {
        let records = read_audit(Path::new(FOLDER)).map_err(|it| it.to_string())?;
        let records = records.collect::<Result<Vec<_>, _>>().map_err(|it| it.to_string())?;
        let is_there = |sequence: &u64| {
            let found = records.iter().find(|it| it.sequence == *sequence);
            found.is_some_and(|it| it.content == AUDIT_ENTRY)
        };
        match self.audited.iter().find(|it| !is_there(it)) {
            Some(sequence) => Err(format!("audit record {sequence} is gone")),
            None => Ok(()),
        }
    }

    /// As [`holds`](Self::holds), and the store is sound to its last byte, and finds one flow's
    /// packets by its index.
    pub(super) fn holds_soundly(&self, store: &Store) -> Result<(), String> {
        let found = self.holds(store)?;
        let counted = store.info().map_err(|it| it.to_string())?.packets;
        if counted != found.len() as u64 {
            return Err(format!("{} packets found, {counted} counted", found.len()));
        }
        let mut damage = store.check().damage;
        if self.faulty {
            // A catalog that suffered is told of, and made anew from what did not.
            damage.retain(|it| !it.what.contains("is made anew"));
        }
        if !damage.is_empty() {
            return Err(format!("check: {damage:?}"));
        }
        self.audit_log_holds()?;
        let selection = Selection { filter: format!("host 10.0.0.{FLOW}"), ..Selection::default() };
        let counted = store.count(&selection).map_err(|it| it.to_string())?.packets;
        let expected = found.iter().filter(|it| packet(**it).1[19] == FLOW).count() as u64;
        let told = || format!("{counted} of {expected} by filter");
        (counted == expected).then_some(()).ok_or_else(told)
    }

    /// As [`holds_soundly`](Self::holds_soundly), and goes on so when everything was taken in
    /// again: each packet is there once.
    pub(super) fn holds_for_good(&self, store: &Store) -> Result<(), String> {
        self.holds_soundly(store)?;
        self.take_in_again(store)?.holds_soundly(store)
    }

    /// Takes in everything that was given; gives what must be there then.
    pub(super) fn take_in_again(&self, store: &Store) -> Result<Model, String> {
        for given in &self.given {
            let options = ImportOptions { name: "again", ..ImportOptions::default() };
            store.import(&capture(given.clone())[..], options).map_err(|it| it.to_string())?;
        }
        Ok(Model { acknowledged: self.given.clone(), ..self.clone() })
    }
}
