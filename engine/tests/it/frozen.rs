//! Stores that were written once and must be read forever.
//!
//! `testdata/store-v1` was made by importing the capture of [`tapstone::doc_capture`]. To freeze a
//! store of a new format version, run this test with `TAPSTONE_FREEZE=1` and commit the new folder.

use std::fs;
use std::path::Path;

use tapstone::Selection;

use crate::support::{copy, everything, import, open, read};

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
