//! Options of packets and interfaces: lists of (code, value), as pcapng has them, always
//! little-endian.
//!
//! A list is option after option: code (2 bytes), length of the value (2), the value, zeros to a
//! multiple of four. There is no end-of-options marker. Values that are numbers in pcapng are
//! little-endian whatever the section they came from.

use super::Fields;
use crate::interface::ByteOrder;

/// `opt_comment`: UTF-8 text; may occur several times.
pub const COMMENT: u16 = 1;
/// `epb_flags`: direction, reception type and link-layer errors.
pub const PACKET_FLAGS: u16 = 2;
/// `if_name`.
pub const INTERFACE_NAME: u16 = 2;
/// `if_description`.
pub const INTERFACE_DESCRIPTION: u16 = 3;
/// `if_filter`: a zero, and a filter in libpcap's language.
pub const INTERFACE_FILTER: u16 = 11;
/// `if_tsresol`.
pub(super) const TIME_RESOLUTION: u16 = 9;
/// `if_tsoffset`.
pub(super) const TIME_OFFSET: u16 = 14;
/// Tapstone's own, never written to a pcapng file: the tick count (8 bytes) of a packet whose
/// interface counts time finer than an attosecond.
pub(super) const RAW_TICKS: u16 = 0x8001;

/// Which way a packet went through its interface (`epb_flags`, bits 0 and 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It came in.
    Inbound,
    /// It went out.
    Outbound,
}

/// What the options belong to: the same code means different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Section,
    Packet,
    Interface,
}

/// The options of an encoded list, in order.
pub fn iter(list: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = list;
    std::iter::from_fn(move || take(&mut rest, ByteOrder::Little))
}

/// The value of the first option with this code.
#[must_use]
pub fn find(list: &[u8], code: u16) -> Option<&[u8]> {
    iter(list).find_map(|(found, value)| (found == code).then_some(value))
}

/// Which way a packet with these options went, when its capture says.
#[must_use]
pub fn direction(list: &[u8]) -> Option<Direction> {
    match find(list, PACKET_FLAGS)?.first()? & 3 {
        1 => Some(Direction::Inbound),
        2 => Some(Direction::Outbound),
        _ => None,
    }
}

/// Appends an option to an encoded list.
///
/// # Panics
///
/// When the value is longer than 65,535 bytes, which no option is.
pub fn push(list: &mut Vec<u8>, code: u16, value: &[u8]) {
    let length = u16::try_from(value.len()).expect("option values have 16-bit lengths");
    list.extend_from_slice(&code.to_le_bytes());
    list.extend_from_slice(&length.to_le_bytes());
    list.extend_from_slice(value);
    list.resize(list.len().next_multiple_of(4), 0);
}

/// Reads the options of a block in its section's byte order into an encoded list. What comes
/// behind a malformed option is left out: libpcap does not look at packet options at all, so they
/// must not cost the packet.
pub(super) fn normalise(raw: &[u8], order: ByteOrder, holder: Holder) -> Vec<u8> {
    let mut list = Vec::new();
    let mut rest = raw;
    while let Some((code, value)) = take(&mut rest, order) {
        if code == 0 {
            break;
        }
        if holder == Holder::Packet && code == RAW_TICKS {
            continue;
        }
        let width = number_width(code, holder);
        if order == ByteOrder::Big && width.is_some_and(|width| value.len() >= width) {
            let mut value = value.to_vec();
            value[..width.unwrap_or(0)].reverse();
            push(&mut list, code, &value);
        } else {
            push(&mut list, code, value);
        }
    }
    list
}

/// Appends a list and its end marker to a block of a section in this byte order.
pub(super) fn write<'l>(
    list: impl Iterator<Item = (u16, &'l [u8])>,
    order: ByteOrder,
    holder: Holder,
    out: &mut Vec<u8>,
) {
    for (code, value) in list {
        let start = out.len();
        push(out, code, value);
        if order == ByteOrder::Big {
            out[start..start + 2].reverse();
            out[start + 2..start + 4].reverse();
            let width = number_width(code, holder).filter(|width| value.len() >= *width);
            out[start + 4..][..width.unwrap_or(0)].reverse();
        }
    }
    out.extend_from_slice(&[0; 4]);
}

/// Bytes at the front of an option's value that are one number.
fn number_width(code: u16, holder: Holder) -> Option<usize> {
    match (code, holder) {
        // Custom options begin with a private enterprise number.
        (2988 | 2989 | 19372 | 19373, _) => Some(4),
        (2 | 6, Holder::Packet) => Some(4),
        (4 | 5, Holder::Packet) => Some(8),
        (8 | 14 | 16 | 17, Holder::Interface) => Some(8),
        (10, Holder::Interface) => Some(4),
        _ => None,
    }
}

fn take<'a>(rest: &mut &'a [u8], order: ByteOrder) -> Option<(u16, &'a [u8])> {
    let mut fields = Fields::new(rest, order);
    let (code, length) = (fields.u16()?, fields.u16()? as usize);
    let value = fields.bytes.get(..length)?;
    *rest = fields.bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    Some((code, value))
}
