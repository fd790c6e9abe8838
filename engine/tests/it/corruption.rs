//! One bad byte at a time, one cut file, one missing file: what each costs, and what is told of it.
//!
//! The store is small: three captures of eight packets, each a unit of one block. A bad byte may
//! cost one block's packets at most, and whatever it costs is told. Some 700 bytes of a file are
//! tried; with `TAPSTONE_PROVE=1` all that are not zero, and some of those that are. A catalog has more
//! than a process has descriptors to lose on them (glommio keeps two of each executor that ended):
//! there it is one in so many.

use std::fs;
use std::path::{Path, PathBuf};

use tapstone::{CheckReport, OpenOptions, Selection, Store};
use tapstone_packet::capture_file::PcapngWriter;
use tapstone_packet::interface::{Interface, LinkType};
use tapstone_packet::time::Timestamp;

use crate::support::{Raw, allow_many_files, copy, import, raw};

const PACKETS_A_BLOCK: usize = 8;
const BLOCKS: usize = 3;
/// Bytes of a file that are flipped at most: those that are not zero, and those that are.
const USED_MAX: usize = 5000;
const ZEROS_MAX: usize = 500;
/// Damaged copies that are looked at, at once.
const AT_ONCE: usize = 8;

/// A store to be damaged in copies.
struct Sample {
    dir: tempfile::TempDir,
    packets: Vec<Raw>,
}

fn capture(number: usize) -> Vec<u8> {
    let (mut writer, mut out) = (PcapngWriter::new("test"), Vec::new());
    let interface = Interface::new(LinkType::RAW);
    for packet in 0..PACKETS_A_BLOCK {
        let last = (number * PACKETS_A_BLOCK + packet) as u8;
        let data = [
            0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, last, 0, 99, 0, 98, 0,
            12, 0, 0, last, 2, 3, 4,
        ];
        let time = Timestamp::from_secs_nanos(i64::from(last), 0);
        writer.packet(&interface, time, &data, 32, &[], &mut out);
    }
    out
}

fn open(folder: &Path, rebuild: bool) -> Result<Store, String> {
    let options = OpenOptions { shards: 1, rebuild, ..OpenOptions::default() };
    Store::open(folder, options).map_err(|error| error.to_string())
}

impl Sample {
    /// With its segment sealed, or left open as by a crash.
    fn new(sealed: bool) -> Sample {
        allow_many_files();
        let dir = tempfile::tempdir().unwrap();
        let options = OpenOptions { create: true, shards: 1, ..OpenOptions::default() };
        let store = Store::open(dir.path(), options).unwrap();
        for number in 0..BLOCKS {
            import(&store, &capture(number), "sample");
        }
        let packets = crate::support::everything(&store);
        assert_eq!(packets.len(), PACKETS_A_BLOCK * BLOCKS);
        if sealed {
            store.close().unwrap();
            return Sample { dir, packets };
        }
        // What a crash would leave.
        let left = tempfile::tempdir().unwrap();
        copy(dir.path(), left.path());
        Sample { dir: left, packets }
    }

    /// The one file whose name ends so, relative to the store.
    fn file(&self, folder: &str, ending: &str) -> PathBuf {
        let entries = fs::read_dir(self.dir.path().join(folder)).unwrap();
        let mut names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let name = names.find(|name| name.ends_with(ending)).unwrap();
        Path::new(folder).join(name)
    }

    fn damaged(&self, damage: impl FnOnce(&Path)) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        copy(self.dir.path(), dir.path());
        damage(dir.path());
        dir
    }

    /// Opens a damaged copy and reads everything.
    fn probe(&self, dir: &Path) -> Result<Probe, String> {
        let store = open(dir, false)?;
        let mut packets = store.query(&Selection::default()).map_err(|error| error.to_string())?;
        let found: Vec<Raw> = packets.by_ref().map(|packet| raw(&packet)).collect();
        assert!(found.iter().all(|packet| self.packets.contains(packet)), "invented a packet");
        assert!(found.is_sorted_by(|a, b| a.time < b.time), "gave a packet twice");
        let lost = self.packets.len() - found.len();
        let complete = packets.answer().completeness.is_complete();
        let check = store.check();
        let filtered = Selection { filter: "udp dst port 98".into(), ..Selection::default() };
        let narrowed = store.count(&filtered).map_err(|error| error.to_string())?;
        assert_eq!(narrowed.packets as usize, found.len(), "the index hides packets");
        Ok(Probe { lost, complete, told: store.damage(), check })
    }
}

/// What came of a damaged store.
#[derive(Debug)]
struct Probe {
    /// Packets that are not found.
    lost: usize,
    complete: bool,
    /// What opening it told.
    told: Vec<String>,
    check: CheckReport,
}

impl Probe {
    fn names(&self, file: &Path) -> bool {
        self.check.damage.iter().any(|damage| damage.path.ends_with(file))
    }
}

/// The bytes to flip.
fn positions(bytes: &[u8]) -> Vec<usize> {
    if std::env::var_os("TAPSTONE_PROVE").is_none() {
        return (0..bytes.len()).step_by(31.max(bytes.len() / 700)).collect();
    }
    // Of zeros, some: a catalog is mostly that.
    let (zero, used): (Vec<usize>, Vec<usize>) = (0..bytes.len()).partition(|at| bytes[*at] == 0);
    let some = |of: Vec<usize>, most: usize| {
        let step = of.len().div_ceil(most).max(1);
        of.into_iter().step_by(step)
    };
    some(used, USED_MAX).chain(some(zero, ZEROS_MAX)).collect()
}

/// Flips bytes of a file of the sample, each in a fresh copy.
#[expect(clippy::print_stdout, reason = "how much was tried is part of the result")]
fn flip_each(sample: &Sample, file: &Path, mut judge: impl FnMut(usize, Result<Probe, String>)) {
    let bytes = fs::read(sample.dir.path().join(file)).unwrap();
    let positions = positions(&bytes);
    let flip = |at: &usize| {
        let dir = sample.damaged(|dir| {
            let mut bytes = bytes.clone();
            bytes[*at] ^= 1 << (at % 8);
            fs::write(dir.join(file), bytes).unwrap();
        });
        sample.probe(dir.path())
    };
    // Most of the time goes into waiting for the disk.
    for few in positions.chunks(400) {
        let probes = tapstone_runtime::map(few, AT_ONCE, flip);
        few.iter().zip(probes).for_each(|(at, probe)| judge(*at, probe));
    }
    println!("{}: {} bytes flipped", file.display(), positions.len());
}

#[test]
fn a_bad_byte_of_a_sealed_segment_is_found_and_costs_a_block_at_most() {
    let sample = Sample::new(true);
    let file = sample.file("segments", ".seg");
    flip_each(&sample, &file, |at, probe| {
        let probe = probe.unwrap();
        assert!(probe.names(&file), "byte {at}: check finds nothing");
        assert!(probe.lost <= PACKETS_A_BLOCK, "byte {at}: {} lost", probe.lost);
        assert_eq!(probe.complete, probe.lost == 0, "byte {at}: {probe:?}");
    });
}

#[test]
fn a_bad_byte_of_a_split_costs_nothing_but_time_and_rebuilding_mends_it() {
    let sample = Sample::new(true);
    let file = sample.file("splits", ".split");
    let mut mended = 0;
    flip_each(&sample, &file, |at, probe| {
        let probe = probe.unwrap();
        assert!(probe.names(&file), "byte {at}: check finds nothing");
        assert_eq!((probe.lost, probe.complete), (0, true), "byte {at}");
        if at.is_multiple_of(5) {
            let dir = sample.damaged(|dir| {
                let mut bytes = fs::read(dir.join(&file)).unwrap();
                bytes[at] ^= 1;
                fs::write(dir.join(&file), bytes).unwrap();
            });
            open(dir.path(), true).unwrap();
            assert_eq!(sample.probe(dir.path()).unwrap().check.damage, [], "byte {at}");
            mended += 1;
        }
    });
    assert!(mended > 10);
}

#[test]
fn a_bad_byte_of_the_catalog_costs_nothing_but_time() {
    let sample = Sample::new(true);
    let mut told = 0;
    let mut judge = |at: usize, probe: Result<Probe, String>| {
        let probe = probe.unwrap();
        assert_eq!((probe.lost, probe.complete), (0, true), "byte {at}: {probe:?}");
        assert!(probe.told.iter().all(|text| text.contains("catalog.redb")), "byte {at}");
        told += usize::from(!probe.told.is_empty());
    };
    flip_each(&sample, Path::new("catalog.redb"), &mut judge);
    let dir = sample.damaged(|dir| fs::write(dir.join("catalog.redb"), [7; 9000]).unwrap());
    judge(0, sample.probe(dir.path()));
    assert!(told > 1, "no damage was told");
    // It was made anew, and the damaged one kept.
    let probe = sample.probe(dir.path()).unwrap();
    assert_eq!((probe.lost, probe.told, probe.check.damage), (0, vec![], vec![]));
    assert_eq!(fs::read(dir.path().join("catalog.damaged")).unwrap(), [7; 9000]);
}

/// With a bad sector under the catalog and another under a segment, the answer was empty and called
/// complete.
#[test]
fn a_segment_that_cannot_be_read_is_missing_from_the_answer_without_a_catalog_too() {
    let sample = Sample::new(true);
    let file = sample.file("segments", ".seg");
    let dir = sample.damaged(|dir| {
        fs::remove_file(dir.join("catalog.redb")).unwrap();
        let mut bytes = fs::read(dir.join(&file)).unwrap();
        let end = bytes.len() - 4096;
        bytes[..4096].fill(7);
        bytes[end..].fill(7);
        fs::write(dir.join(&file), bytes).unwrap();
    });
    let probe = sample.probe(dir.path()).unwrap();
    assert_eq!((probe.lost, probe.complete), (sample.packets.len(), false));
    assert!(probe.names(&file) && !probe.told.is_empty());
}

#[test]
fn a_bad_byte_of_a_key_or_of_the_store_s_name_is_told() {
    let sample = Sample::new(true);
    let files = ["store".into(), "master.key".into(), sample.file("keys", ".key")];
    for file in files {
        flip_each(&sample, &file, |at, probe| match probe {
            Ok(probe) => assert!(!probe.complete && !probe.check.damage.is_empty(), "byte {at}"),
            Err(error) => assert!(error.contains(file.to_str().unwrap()), "byte {at}: {error}"),
        });
    }
}

#[test]
fn a_bad_byte_of_an_open_segment_costs_a_block_at_most_and_is_told() {
    let sample = Sample::new(false);
    let file = sample.file("segments", ".open");
    let sealed = file.with_extension("seg");
    flip_each(&sample, &file, |at, probe| {
        let probe = probe.unwrap();
        assert!(probe.names(&sealed), "byte {at}: check finds nothing");
        assert!(probe.lost <= PACKETS_A_BLOCK, "byte {at}: {} lost", probe.lost);
        assert_eq!(probe.complete, probe.lost == 0, "byte {at}: {probe:?}");
        assert!(probe.lost == 0 || !probe.told.is_empty(), "byte {at}: opening tells nothing");
    });
}

#[test]
fn a_bad_byte_of_a_log_costs_nothing() {
    let sample = Sample::new(false);
    let file = sample.file("wal", ".log");
    let mut told = 0;
    flip_each(&sample, &file, |at, probe| {
        let probe = probe.unwrap();
        assert_eq!((probe.lost, probe.complete), (0, true), "byte {at}: {probe:?}");
        told += usize::from(!probe.told.is_empty());
    });
    assert!(told > 0, "no bad byte of a log was told");
}

#[test]
fn a_file_cut_anywhere_loses_what_was_in_it_and_nothing_is_hidden() {
    let lengths = |length: usize| (0..length).step_by(length / 40 + 1);
    for sealed in [true, false] {
        let sample = Sample::new(sealed);
        let files = match sealed {
            true => vec![
                sample.file("segments", ".seg"),
                sample.file("splits", ".split"),
                "catalog.redb".into(),
            ],
            false => vec![sample.file("segments", ".open"), sample.file("wal", ".log")],
        };
        for file in files {
            let bytes = fs::read(sample.dir.path().join(&file)).unwrap();
            let can_lose = file.starts_with("segments");
            for length in lengths(bytes.len()) {
                let dir =
                    sample.damaged(|dir| fs::write(dir.join(&file), &bytes[..length]).unwrap());
                // What was told once is told again.
                for _ in 0..2 {
                    match sample.probe(dir.path()) {
                        Ok(probe) => {
                            let what = format!("{} cut to {length}: {probe:?}", file.display());
                            assert!(can_lose || probe.lost == 0, "{what}");
                            assert_eq!(probe.complete, probe.lost == 0, "{what}");
                        }
                        Err(error) => assert!(error.contains("tapstone rebuild"), "{error}"),
                    }
                }
            }
        }
    }
}

#[test]
fn a_file_that_is_gone_or_another_store_s_is_told() {
    for sealed in [true, false] {
        let (sample, other) = (Sample::new(sealed), Sample::new(sealed));
        let files = |sample: &Sample| match sealed {
            true => vec![
                sample.file("segments", ".seg"),
                sample.file("splits", ".split"),
                sample.file("keys", ".key"),
                "catalog.redb".into(),
                "master.key".into(),
            ],
            false => vec![sample.file("segments", ".open"), sample.file("wal", ".log")],
        };
        for (file, from) in files(&sample).into_iter().zip(files(&other)) {
            let foreign = fs::read(other.dir.path().join(from)).unwrap();
            let damages: [&dyn Fn(&Path); 2] =
                [&|dir| fs::remove_file(dir.join(&file)).unwrap(), &|dir| {
                    fs::write(dir.join(&file), &foreign).unwrap()
                }];
            for (kind, damage) in ["gone", "another's"].into_iter().zip(damages) {
                let dir = sample.damaged(damage);
                for _ in 0..2 {
                    let what = format!("{} {kind}", file.display());
                    match sample.probe(dir.path()) {
                        Ok(probe) => {
                            assert!(probe.lost == 0 || !probe.complete, "{what}: {probe:?}");
                        }
                        Err(error) => assert!(
                            error.contains("key") || error.contains("catalog"),
                            "{what}: {error}"
                        ),
                    }
                }
            }
        }
    }
}
