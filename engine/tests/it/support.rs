//! What the tests share: stores in temporary folders.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::{Resource, getrlimit, setrlimit};
use tapstone::{ImportOptions, ImportReport, OpenOptions, Packet, Selection, Store};
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
