//! Which packets came a moment ago.

use std::hash::Hasher;
use std::time::Duration;

use siphasher::sip128::{Hasher128, SipHasher13};
use tapstone_packet::time::Timestamp;
use tapstone_runtime::random_bytes;

use super::table::{self, Table};

/// Packets that are remembered (4 MiB): as many as come in 50 ms at 2.6 million a second.
pub(super) const PACKETS: usize = 1 << 17;
/// Where the tags of an Ethernet frame begin, and how long each is.
const TAGS_AT: usize = 12;
const TAG_LEN: usize = 4;

#[derive(Clone, Copy)]
struct Entry {
    /// Of its bytes. The key is random, so nobody can make two packets that seem the same.
    hash: u128,
    nanos: i64,
}

impl table::Entry for Entry {
    const NOTHING: Entry = Entry { hash: 0, nanos: i64::MIN };

    fn hash(&self) -> u64 {
        self.hash as u64
    }

    fn seen(&self) -> i64 {
        self.nanos
    }
}

/// The packets of one ring that were stored within the window.
pub(super) struct Duplicates {
    window: i64,
    ignore_vlans: bool,
    key: [u8; 16],
    table: Table<Entry>,
}

impl Duplicates {
    /// None yet, with room for so many.
    pub(super) fn new(window: Duration, ignore_vlans: bool, packets: usize) -> Duplicates {
        let (key, table) = (random_bytes(), Table::new(packets));
        Duplicates { window: nanos_of(window), ignore_vlans, key, table }
    }

    /// Looks back so far, and has room for so many, from now on.
    pub(super) fn adjust(&mut self, window: Duration, packets: usize) {
        self.window = nanos_of(window);
        self.table.resize(packets);
    }

    /// Whether the same bytes were stored within the window. Otherwise these count as stored.
    pub(super) fn is_one(&mut self, data: &[u8], time: Timestamp) -> bool {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        let tags = if self.ignore_vlans { tags(data) } else { 0 };
        let (addresses, rest) = data.split_at(TAGS_AT.min(data.len()));
        hasher.write(addresses);
        hasher.write(&rest[tags..]);
        let (hash, nanos) = (hasher.finish128().as_u128(), nanos(time));
        let (entry, known) = self.table.place(hash as u64, |entry| entry.hash == hash);
        // The clock may have been set back.
        let is_recent = known && nanos.abs_diff(entry.nanos) <= self.window.unsigned_abs();
        if !is_recent {
            *entry = Entry { hash, nanos };
        }
        is_recent
    }
}

fn nanos_of(window: Duration) -> i64 {
    i64::try_from(window.as_nanos()).unwrap_or(i64::MAX)
}

/// Nanoseconds since the epoch; live packets have no finer times.
fn nanos(time: Timestamp) -> i64 {
    let (secs, nanos) = time.secs_nanos();
    secs as i64 * 1_000_000_000 + i64::from(nanos)
}

/// Bytes of VLAN tags in an Ethernet frame.
fn tags(data: &[u8]) -> usize {
    let behind = data.get(TAGS_AT..).unwrap_or_default();
    let is_tag = |chunk: &&[u8]| matches!(chunk, [0x81 | 0x91, 0, ..] | [0x88, 0xa8, ..]);
    behind.chunks_exact(TAG_LEN).take_while(is_tag).count() * TAG_LEN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_tags_in_a_row_are_looked_past() {
        let frame = |tags: &[u8]| [&[1; TAGS_AT], tags, &[8, 0, 0x45, 1, 2, 3]].concat();
        assert_eq!(tags(&frame(&[])), 0);
        assert_eq!(tags(&frame(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6])), 8);
        assert_eq!(tags(&[1; 5]), 0);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_duplicates_of_what_was_long_ago() {
        let mut duplicates = Duplicates::new(Duration::from_secs(1), false, 1 << 10);
        let mut is_one = |secs| duplicates.is_one(b"same", Timestamp::from_secs_nanos(secs, 0));
        assert!(!is_one(5000));
        assert!(!is_one(100));
        assert!(is_one(101));
    }

    /// Forgetting may only mean to store a duplicate.
    #[test]
    fn packets_that_differ_are_never_duplicates() {
        let mut duplicates = Duplicates::new(Duration::from_secs(1), false, 1 << 10);
        for number in 0..3u64 << 10 {
            assert!(!duplicates.is_one(&number.to_le_bytes(), Timestamp::from_nanos(0)));
        }
    }
}
