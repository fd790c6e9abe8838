//! Packets of one flow after the other: decoding, names, and what is held of incomplete messages.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tapstone_packet::decode::Decoder;
use tapstone_packet::interface::{ByteOrder, Interface, LinkType};
use tapstone_packet::names::{Findings, FragmentJoiner, NameState};
use tapstone_packet::summary::summarise;

const LINK_TYPES: [u16; 16] =
    [1, 0, 9, 12, 50, 51, 101, 104, 105, 108, 113, 127, 192, 228, 229, 276];

/// Bytes that a flow may hold of messages that are not whole yet.
const BUFFERED_MAX: usize = 1 << 18;

fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, mut rest)) = bytes.split_first() else { return };
    let link_type = LinkType(LINK_TYPES[usize::from(kind) % LINK_TYPES.len()]);
    let order = if kind & 0x80 == 0 { ByteOrder::Little } else { ByteOrder::Big };
    let interface = Interface { byte_order: order, ..Interface::new(link_type) };
    let mut decoder = Decoder::new();
    let mut joiner = FragmentJoiner::default();
    let (mut state, mut found) = (NameState::default(), Findings::default());
    // Packets follow each other behind their lengths.
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(behind.len());
        let (packet, behind) = behind.split_at(length);
        rest = behind;
        let decoded = decoder.decode(link_type, order, packet);
        if let Some(transport) = &decoded.transport {
            state.feed(transport, decoded.from_first_end, &mut found);
        }
        if let Some(fragment) = &decoded.fragment
            && let Some(whole) = joiner.add(fragment)
        {
            decoder.reassembled(link_type, &fragment.datagram, &whole);
        }
        assert!(decoder.key().parts().count() > 0);
        let _ = decoder.key().community_id();
        decoder.path().parts().count();
        summarise(&mut decoder, &interface, packet).to_string();
        assert!(state.buffered() <= BUFFERED_MAX, "{} bytes held", state.buffered());
    }
});
