//! The names of stores and segments.

use std::fmt;
use std::str::FromStr;

/// A store's identity: 128 random bits, drawn when it was made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(pub [u8; 16]);

/// A segment's identity: unique everywhere, and sorted by the time it was begun.
///
/// 16 bytes, big-endian so that they sort: milliseconds since the epoch (6), sequence number in
/// the store (4), the first bytes of the store's id (6).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub [u8; 16]);

impl SegmentId {
    /// The id of segment number `sequence` of a store, begun `unix_millis` after the epoch.
    #[must_use]
    pub fn new(store: StoreId, sequence: u32, unix_millis: u64) -> Self {
        let mut id = [0; 16];
        id[..6].copy_from_slice(&unix_millis.to_be_bytes()[2..]);
        id[6..10].copy_from_slice(&sequence.to_be_bytes());
        id[10..].copy_from_slice(&store.0[..6]);
        SegmentId(id)
    }

    /// The segment's number in its store: later segments have larger ones.
    #[must_use]
    pub fn sequence(self) -> u32 {
        u32::from_be_bytes([self.0[6], self.0[7], self.0[8], self.0[9]])
    }

    /// The day on which it was begun (UTC, days since the epoch), which is that of its bucket.
    #[must_use]
    pub(crate) fn day(self) -> u32 {
        let [a, b, c, d, e, f] = *self.0.first_chunk().expect("an id has 16 bytes");
        let unix_millis = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        // 48 bits of milliseconds are below four million days.
        (unix_millis / 86_400_000) as u32
    }
}

/// A text that is not an id in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id: 32 hexadecimal digits are needed")]
pub struct ParseIdError;

macro_rules! hexadecimal {
    ($id:ident) => {
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($id), "({})"), self)
            }
        }

        impl FromStr for $id {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let digits = text.as_bytes();
                if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(ParseIdError);
                }
                u128::from_str_radix(text, 16)
                    .map(|number| $id(number.to_be_bytes()))
                    .map_err(|_| ParseIdError)
            }
        }
    };
}

hexadecimal!(StoreId);
hexadecimal!(SegmentId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_ids_sort_by_start_then_sequence() {
        let store = StoreId([0xff; 16]);
        let ids = [(1, 0, 5), (2, 5, 5), (3, 1, 6)]
            .map(|(_, sequence, millis)| SegmentId::new(store, sequence, millis));
        assert!(ids.is_sorted());
        assert_eq!(ids[1].sequence(), 5);
    }

    #[test]
    fn ids_survive_their_text_form() {
        let id = SegmentId::new(StoreId([7; 16]), 9, 1_700_000_000_000);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("+0000000000000000000000000000000".parse::<StoreId>(), Err(ParseIdError));
        assert_eq!("00".parse::<StoreId>(), Err(ParseIdError));
    }
}
