//! Where in an answer: the place behind a packet, from which the same question goes on.

use std::fmt;
use std::str::FromStr;

use tapstone_packet::time::Timestamp;

use super::found::Position;
use crate::id::StoreId;

/// The version of the encoding.
const VERSION: u8 = 1;
/// Version, store, time, segment, unit, rank, checksum.
const LEN: usize = 1 + 16 + 16 + 4 + 4 + 4 + 4;

/// The place behind one packet of an answer ([`crate::Packet::cursor`]).
///
/// Given as [`crate::Selection::after`], the answer goes on behind that packet, without loss or
/// repetition, also after the store was closed and opened again. Packets that were stored since
/// and lie before it in time are not seen any more.
///
/// Its text is hexadecimal, to be kept and given back as it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub(crate) store: StoreId,
    pub(crate) position: Position,
}

/// A text or bytes that are not a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor; give one back exactly as an earlier answer ended with it")]
pub struct ParseCursorError;

impl Cursor {
    /// The cursor as bytes.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let Position { time, segment, unit, rank } = self.position;
        let mut bytes = Vec::with_capacity(LEN);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.store.0);
        bytes.extend_from_slice(&time.attos().to_le_bytes());
        for number in [segment, unit, rank] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// When it did not.
    pub fn from_bytes(bytes: &[u8]) -> Result<Cursor, ParseCursorError> {
        let bytes: &[u8; LEN] = bytes.try_into().map_err(|_| ParseCursorError)?;
        let (content, checksum) = bytes.split_at(LEN - 4);
        if crc32c::crc32c(content).to_le_bytes() != *checksum || content[0] != VERSION {
            return Err(ParseCursorError);
        }
        let (store, rest) = content[1..].split_first_chunk().ok_or(ParseCursorError)?;
        let (time, rest) = rest.split_first_chunk().ok_or(ParseCursorError)?;
        let number = |index: usize| {
            let bytes = rest[4 * index..].first_chunk().expect("the length was looked at");
            u32::from_le_bytes(*bytes)
        };
        let position = Position {
            time: Timestamp::from_attos(i128::from_le_bytes(*time)),
            segment: number(0),
            unit: number(1),
            rank: number(2),
        };
        Ok(Cursor { store: StoreId(*store), position })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({:?} of {})", self.position, self.store)
    }
}

impl FromStr for Cursor {
    type Err = ParseCursorError;

    fn from_str(text: &str) -> Result<Self, ParseCursorError> {
        let digit = |digit: &u8| char::from(*digit).to_digit(16);
        let byte = |pair: &[u8]| match pair {
            [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = text.trim().as_bytes().chunks(2).map(byte).collect();
        Cursor::from_bytes(&bytes.ok_or(ParseCursorError)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_survives_its_text_and_no_other_text_is_one(
            store: [u8; 16], time: i128, numbers: [u32; 3], flipped in 0..LEN * 8,
        ) {
            let [segment, unit, rank] = numbers;
            let time = Timestamp::from_attos(time);
            let position = Position { time, segment, unit, rank };
            let cursor = Cursor { store: StoreId(store), position };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
            let mut bytes = cursor.to_bytes();
            bytes[flipped / 8] ^= 1 << (flipped % 8);
            prop_assert_eq!(Cursor::from_bytes(&bytes), Err(ParseCursorError));
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in ["", "0", "00", "zz", "é", &"00".repeat(LEN), &"0".repeat(2 * LEN + 1)] {
            assert_eq!(text.parse::<Cursor>(), Err(ParseCursorError), "{text}");
        }
    }
}
