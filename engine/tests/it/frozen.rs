//! Stores that were written once and must be read forever.
//!
//! `testdata/store-v1` was made by importing the capture of [`tapstone::doc_capture`]. To freeze a
//! store of a new format version, run this test with `TAPSTONE_FREEZE=1` and commit the new folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tapstone::Selection;

use crate::support::{everything, import, open, read};

fn copy(from: &Path, to: &Path) {
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

#[test]
fn a_store_of_version_1_is_read() {
    let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/store-v1");
    let capture = tapstone::doc_capture();
    if std::env::var_os("TAPSTONE_FREEZE").is_some() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        import(&store, &capture, "frozen.pcap");
        store.close().unwrap();
        for gone in ["names", "wal"] {
            fs::remove_dir_all(dir.path().join(gone)).ok();
        }
        fs::remove_file(dir.path().join("lock")).unwrap();
        copy(dir.path(), &frozen);
    }
    let dir = tempfile::tempdir().unwrap();
    copy(&frozen, dir.path());
    let store = open(dir.path());
    assert!(store.damage().is_empty(), "{:?}", store.damage());
    let expected: Vec<_> = read(&capture).packets.into_iter().map(|(_, raw)| raw).collect();
    assert_eq!(everything(&store), expected);
    let selection = Selection { filter: "host 10.0.0.3".into(), ..Selection::default() };
    assert_eq!(store.count(&selection).unwrap().packets, 1);
    assert_eq!(store.check().damage, []);
    assert!(import(&store, &capture, "again.pcap").is_refused());
}
