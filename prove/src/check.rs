//! Whether a store holds what was promised.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tapstone::{Selection, Store};

use crate::Fault;
use crate::workload::{Numbered, Promise, number_of};

/// What was found wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Acknowledged packets that were not found as they were given.
    pub lost: u64,
    /// Everything that is wrong, in words; empty when all is well.
    pub wrong: Vec<String>,
}

/// Compares what a store gave with what was promised.
#[must_use]
pub fn judge(found: &[Numbered], promise: &Promise, all: &[Numbered]) -> Verdict {
    let mut counts = vec![0u32; promise.may as usize];
    let mut wrong = Vec::new();
    for packet in found {
        let number = number_of(packet.time).filter(|number| *number < promise.may);
        match number {
            None => wrong.push(format!("a packet at {:?} was never imported", packet.time)),
            Some(number) if all[number as usize].data != packet.data => {
                wrong.push(format!("packet {number} has other bytes"));
            }
            Some(number) => counts[number as usize] += 1,
        }
    }
    let twice = counts.iter().filter(|count| **count > 1).count();
    if twice > 0 {
        wrong.push(format!("{twice} packets are there more than once"));
    }
    let lost = counts[..promise.must as usize].iter().filter(|count| **count == 0).count() as u64;
    if lost > 0 {
        wrong.push(format!("{lost} of {} acknowledged packets are gone", promise.must));
    }
    Verdict { lost, wrong }
}

/// Asks an open store for everything and checks all of it.
///
/// # Errors
///
/// When a question cannot be asked at all.
pub fn check(store: &Store, promise: &Promise, all: &[Numbered]) -> Result<Verdict, Fault> {
    let mut packets = store.query(&Selection::default())?;
    let found: Vec<Numbered> = (&mut packets)
        .map(|packet| Numbered { time: packet.time(), data: packet.data().to_vec() })
        .collect();
    let mut verdict = judge(&found, promise, all);
    for missing in &packets.answer().completeness.missing {
        verdict.wrong.push(format!("the answer is incomplete: {missing}"));
    }
    let report = store.check();
    verdict.wrong.extend(report.damage.iter().map(|damage| format!("check: {damage}")));
    if report.packets != found.len() as u64 {
        let text = format!("check counts {} packets, {} found", report.packets, found.len());
        verdict.wrong.push(text);
    }
    Ok(verdict)
}

/// The files of a store by their paths, without those that opening it may write: the lock, the
/// catalog's own book-keeping, and the name cache, which may be lost.
///
/// # Errors
///
/// When one cannot be read.
pub fn snapshot(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>, Fault> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        if ["lock", "catalog.redb", "names"].iter().any(|it| name == *it) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            files.extend(snapshot(&path)?);
        } else {
            files.insert(path.clone(), fs::read(path)?);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{STEPS, all_packets};

    #[test]
    fn loss_repetition_and_strangers_are_told_apart() {
        let all = all_packets(STEPS);
        let promise = Promise { must: 3, may: 5 };
        let judged = |found: &[Numbered]| judge(found, &promise, &all);
        assert_eq!(judged(&all[..3]), Verdict::default());
        assert_eq!(judged(&all[..5]), Verdict::default());
        assert_eq!(judged(&all[1..5]).lost, 1);
        assert_eq!(judged(&all[..6]).wrong.len(), 1);
        let twice = [&all[..3], &all[2..3]].concat();
        let verdict = judged(&twice);
        assert_eq!((verdict.lost, verdict.wrong.len()), (0, 1));
        let mut changed = all[..3].to_vec();
        changed[1].data[5] ^= 1;
        let verdict = judged(&changed);
        assert_eq!((verdict.lost, verdict.wrong.len()), (1, 2));
    }
}
