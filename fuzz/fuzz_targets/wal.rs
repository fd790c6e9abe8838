//! A log with some of its bytes changed: what came before them is kept, and nothing is made up.

#![no_main]

use libfuzzer_sys::fuzz_target;

const SOUND: &[u8] = include_bytes!("../../wal/testdata/wal-v1.log");

fuzz_target!(|edits: &[u8]| {
    let mut bytes = SOUND.to_vec();
    let mut first = bytes.len();
    for edit in edits.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % bytes.len();
        bytes[at] ^= edit[2];
        if edit[2] != 0 {
            first = first.min(at);
        }
    }
    let sound = tapstone_wal::scan(SOUND).unwrap().records;
    if let Ok(scan) = tapstone_wal::scan(&bytes) {
        assert!(sound.starts_with(&scan.records));
        // Each record stands in a page of its own, or shares it with those of its commit.
        assert!(scan.records.len() == sound.len() || first < bytes.len());
    } else {
        assert!(first < 4096);
    }
});
