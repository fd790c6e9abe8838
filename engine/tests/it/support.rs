//! What the tests share: stores in temporary folders.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit, setrlimit};
use tapstone::{ImportOptions, ImportReport, OpenOptions, Packet, Selection, Store};
use tapstone_packet::capture_file::PcapngWriter;
use tapstone_packet::interface::{Interface, LinkType};
use tapstone_packet::time::Timestamp;
pub(crate) use tapstone_testkit::captures::{Raw, numbered, read};

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

/// A capture of one flow that no other number has, each packet a second behind the one before.
pub(crate) fn small_capture(number: u8, packets: u32) -> Vec<u8> {
    let (mut writer, mut out) = (PcapngWriter::new("test"), Vec::new());
    let interface = Interface::new(LinkType::RAW);
    for packet in 0..packets {
        let [.., high, low] = packet.to_be_bytes();
        let mut data = vec![
            0x45, 0, 0, 228, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, number, 7, 0, 99, 0, 98,
            0, 208, 0, 0,
        ];
        data.extend([high, low].repeat(100));
        let time = Timestamp::from_secs_nanos(i64::from(number) * 10_000 + i64::from(packet), 0);
        writer.packet(&interface, time, &data, 228, &[], &mut out);
    }
    writer.finish(&mut out);
    out
}

/// A store of so many sealed segments, each with a small capture of its number.
pub(crate) fn segments(folder: &Path, count: u8, packets: u32) -> Store {
    let store = open(folder);
    for number in 0..count {
        import(&store, &small_capture(number, packets), "a");
        store.seal().unwrap();
    }
    store
}

/// The files of a folder of the store, in the order of their names.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let mut files: Vec<PathBuf> = entries.collect();
    files.sort();
    files
}

/// Flips a bit of a file.
pub(crate) fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
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
