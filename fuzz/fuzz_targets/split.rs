//! A split with some of its bytes changed: it is noticed, or changes nothing.

#![no_main]

use std::io;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tapstone::Timestamp;
use tapstone_index::{BundleSource, FlowEntry, Split, SplitBuilder, parse_metadata};
use tapstone_packet::decode::Decoder;
use tapstone_packet::interface::{ByteOrder, LinkType};

#[derive(Debug)]
struct Bytes(Vec<u8>);

impl BundleSource for Bytes {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let range = range.start as usize..range.end as usize;
        self.0.get(range).map(<[u8]>::to_vec).ok_or(io::ErrorKind::UnexpectedEof.into())
    }
}

/// A split of a hundred flows.
static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut builder = SplitBuilder::new(10).unwrap();
    let mut decoder = Decoder::new();
    for flow in 0..100 {
        let packet = [
            0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, flow, 0, flow, 1, 187,
            0, 8, 0, 0,
        ];
        decoder.decode(LinkType::RAW, ByteOrder::Little, &packet);
        let path = builder.add_path(decoder.path());
        let time = Timestamp::from_secs_nanos(flow.into(), 0);
        let entry = FlowEntry {
            key: decoder.key(),
            first_end_started: true,
            paths: &[path],
            extra_ports: &[],
            names: &[],
            first: time,
            last: time,
            packets: 1,
            bytes: 28,
            blocks: &[u32::from(flow) / 10],
        };
        builder.add(&entry).unwrap();
    }
    builder.add_answer(b"www.example", [10, 0, 0, 1].into());
    builder.finish().unwrap().bytes
});

fuzz_target!(|edits: &[u8]| {
    let mut bytes = SOUND.clone();
    for edit in edits.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % bytes.len();
        bytes[at] ^= edit[2];
    }
    let source = Arc::new(Bytes(bytes));
    // tantivy trusts what it is given. In a store, frames are authenticated below this.
    if Split::verify_bytes(source.clone()).is_err() {
        return;
    }
    let split = Split::open(source).unwrap();
    split.verify().unwrap();
    for question in
        ["port:443", "name:*.example", "ip:10.0.0.0/8", "NOT proto:udp", "packets:[2 TO *]"]
    {
        let predicate = parse_metadata(question).unwrap();
        let found = split.candidates(&predicate).unwrap();
        split.blocks(&found).unwrap();
        found.iter().take(10).for_each(|row| drop(split.row(row).unwrap()));
    }
    split.answers().unwrap();
});
