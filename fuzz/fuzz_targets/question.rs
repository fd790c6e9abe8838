//! Whatever people type: instants, metadata queries, filters.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tapstone::{Timestamp, format_instant, parse_instant};
use tapstone_index::parse_metadata;
use tapstone_packet::filter::{Dialect, Program};
use tapstone_packet::interface::{ByteOrder, LinkType};

fuzz_target!(|text: &str| {
    if let Ok(time) = parse_instant(text, Timestamp::EPOCH) {
        // Formatting keeps nanoseconds.
        let (secs, nanos) = time.secs_nanos();
        let again =
            parse_instant(&format_instant(time), Timestamp::EPOCH).map(Timestamp::secs_nanos);
        assert_eq!(again, Ok((secs, nanos)));
    }
    let _ = parse_metadata(text);
    let dialect = Dialect { link_type: LinkType::ETHERNET, byte_order: ByteOrder::Little };
    // libpcap takes its time over hundreds of alternatives.
    if text.len() < 200
        && let Ok(program) = Program::compile(text, dialect)
    {
        let _ = (program.narrow(), program.matches(&[0; 60], 60));
    }
});
