//! What the tests share: captures in memory, and stores in temporary folders.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::{Resource, getrlimit, setrlimit};
use tapstone::{ImportOptions, ImportReport, OpenOptions, Packet, Selection, Store, Timestamp};
use tapstone_packet::capture_file::{CaptureReader, PcapngWriter, Step};
use tapstone_packet::interface::Interface;
use tapstone_packet::time::TimeScale;

/// A packet, wherever it was read from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Raw {
    pub(crate) time: Timestamp,
    pub(crate) data: Vec<u8>,
    pub(crate) original_len: u32,
    pub(crate) options: Vec<u8>,
    pub(crate) link_type: u16,
}

/// A capture, read whole.
#[derive(Debug)]
pub(crate) struct Capture {
    pub(crate) interfaces: Vec<Interface>,
    /// Each with its interface's number.
    pub(crate) packets: Vec<(u32, Raw)>,
}

pub(crate) fn read(bytes: &[u8]) -> Capture {
    let mut reader = CaptureReader::new();
    let mut packets = Vec::new();
    let mut at = 0;
    loop {
        match reader.step(&bytes[at..], true) {
            Ok(Step::Packet(packet)) => {
                let interface = &reader.interfaces()[packet.interface as usize];
                let raw = Raw {
                    time: packet.time,
                    data: bytes[at..][packet.data].to_vec(),
                    original_len: packet.original_len,
                    options: packet.options.unwrap_or_default(),
                    link_type: interface.link_type.0,
                };
                packets.push((packet.interface, raw));
                at += packet.consumed;
            }
            Ok(Step::Skipped { consumed }) => at += consumed,
            Ok(Step::End) => break,
            Ok(Step::More { .. }) => unreachable!("the end was announced"),
            Err(error) => panic!("{error}"),
        }
    }
    Capture { interfaces: reader.interfaces().to_vec(), packets }
}

/// The same capture with each packet's number, from 1, as its time in seconds.
pub(crate) fn numbered(capture: &Capture) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = PcapngWriter::new("test");
    for (number, (interface, raw)) in (1..).zip(&capture.packets) {
        let interface = &capture.interfaces[*interface as usize];
        let interface = Interface { scale: TimeScale::NANOS, ..interface.clone() };
        let time = Timestamp::from_secs_nanos(number, 0);
        writer.packet(&interface, time, &raw.data, raw.original_len, &raw.options, &mut out);
    }
    writer.finish(&mut out);
    out
}

pub(crate) fn open(folder: &Path) -> Store {
    allow_many_files();
    Store::open(folder, OpenOptions { create: true, shards: 2, ..OpenOptions::default() }).unwrap()
}

pub(crate) fn import(store: &Store, bytes: &[u8], name: &str) -> ImportReport {
    store.import(bytes, ImportOptions { name, ..ImportOptions::default() }).unwrap()
}

pub(crate) fn raw(packet: &Packet) -> Raw {
    Raw {
        time: packet.time(),
        data: packet.data().to_vec(),
        original_len: packet.original_len(),
        options: packet.options().to_vec(),
        link_type: packet.interface().link_type.0,
    }
}

/// Every packet of the store, in the order of an answer.
pub(crate) fn everything(store: &Store) -> Vec<Raw> {
    let mut packets = store.query(&Selection::default()).unwrap();
    let all = (&mut packets).map(|packet| raw(&packet)).collect();
    assert!(packets.answer().completeness.is_complete(), "{:?}", packets.answer());
    all
}

/// Copies a store's folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
            fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

/// Every store that was opened leaves a descriptor of glommio's behind in the process.
pub(crate) fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}
