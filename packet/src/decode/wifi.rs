//! 802.11, and the radio headers before it.

use super::{Decoder, Next, Walk};
use crate::interface::LinkType;

impl Decoder {
    /// Radiotap (<https://www.radiotap.org>): little-endian, its length at offset 2.
    pub(super) fn radiotap(&mut self, walk: &mut Walk<'_>) -> Next {
        let Some(&[_, _, low, high]) = walk.rest.first_chunk::<4>() else { return Next::Opaque };
        let length = usize::from(u16::from_le_bytes([low, high]));
        if length < 4 || walk.advance(length).is_none() {
            return Next::Opaque;
        }
        Next::Wifi
    }

    /// PPI: little-endian, its length at offset 2, the link type behind it at 4.
    pub(super) fn ppi(&mut self, walk: &mut Walk<'_>) -> Next {
        let Some(&[_, _, low, high, d0, d1, ..]) = walk.rest.first_chunk::<8>() else {
            return Next::Opaque;
        };
        let length = usize::from(u16::from_le_bytes([low, high]));
        if length < 8 || walk.advance(length).is_none() {
            return Next::Opaque;
        }
        match LinkType(u16::from_le_bytes([d0, d1])) {
            LinkType::PPI => Next::Opaque,
            link_type => Next::Link(link_type),
        }
    }

    /// A data frame that is not encrypted carries LLC.
    pub(super) fn wifi(&mut self, walk: &mut Walk<'_>) -> Next {
        let Some(&[control, flags]) = walk.rest.first_chunk::<2>() else { return Next::Opaque };
        let (kind, subtype) = (control >> 2 & 3, control >> 4);
        let (protected, no_data) = (flags & 0x40 != 0, subtype & 4 != 0);
        if kind != 2 || protected || no_data {
            return Next::Opaque;
        }
        let four_addresses = flags & 3 == 3;
        let quality = subtype & 8 != 0;
        let length = 24
            + 6 * usize::from(four_addresses)
            + 2 * usize::from(quality)
            + 4 * usize::from(quality && flags & 0x80 != 0);
        if walk.advance(length).is_none() {
            return Next::Opaque;
        }
        self.llc(walk)
    }
}
