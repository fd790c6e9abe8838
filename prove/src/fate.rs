//! What a power cut leaves of the writes that no flush had made durable: pure, and the same for
//! the same seed.

use tapstone_benches::random::Random;

use crate::log::Entry;

/// What becomes of one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// All of it is on the disk.
    Kept,
    /// Nothing of it is.
    Dropped,
    /// These pieces of it are, each of so many bytes.
    Torn {
        /// Bytes of a piece.
        piece: usize,
        /// For each piece whether it is on the disk.
        kept: Vec<bool>,
    },
}

/// The entries that a cut before entry `point` leaves in doubt: those behind the last flush.
/// Everything before them is durable.
#[must_use]
pub fn in_doubt(entries: &[Entry], point: usize) -> std::ops::Range<usize> {
    let flush = entries[..point].iter().rposition(|entry| entry.flush);
    flush.unwrap_or(0)..point
}

/// A seed for one variant of one crash point, so that it can be tried again alone.
#[must_use]
pub fn seed_of(seed: u64, point: usize, variant: u32) -> u64 {
    let mixed = Random::new(seed ^ (point as u64) << 20 ^ u64::from(variant)).number();
    mixed ^ seed
}

/// Draws the fates of entries in doubt; a write is torn into pieces of one of these lengths.
///
/// A quarter of the draws drops all of them and a quarter keeps all but the last: the mistakes
/// that are made most often show at these ends. The others decide for each write.
#[must_use]
pub fn draw(entries: &[Entry], pieces: &[usize], seed: u64) -> Vec<Fate> {
    let mut random = Random::new(seed);
    let style = random.below(4);
    let last = entries.len().saturating_sub(1);
    let fate = |(index, entry): (usize, &Entry)| match style {
        // A write that went through to the disk is no longer in doubt once it is done, and all but
        // the last are done.
        _ if entry.fua && index < last => Fate::Kept,
        0 => Fate::Dropped,
        1 if index < last => Fate::Kept,
        _ => draw_one(entry, pieces, &mut random),
    };
    entries.iter().enumerate().map(fate).collect()
}

fn draw_one(entry: &Entry, pieces: &[usize], random: &mut Random) -> Fate {
    let length = entry.data.len();
    // ext4 has its super block on the first page, with the checksum in another sector than what it
    // covers, and does not mount one that was torn there: a store can do nothing about that.
    let piece = pieces[random.below(pieces.len() as u64) as usize];
    let piece = if entry.offset < 4096 { piece.max(4096) } else { piece };
    match random.below(3) {
        0 => Fate::Kept,
        1 => Fate::Dropped,
        _ if length <= piece => [Fate::Kept, Fate::Dropped][random.below(2) as usize].clone(),
        _ => {
            let count = length.div_ceil(piece) as u64;
            let begun = random.below(count + 1);
            // As often a beginning of the write as any mixture.
            let in_order = random.chance(0.5);
            let kept = (0..count)
                .map(|index| if in_order { index < begun } else { random.chance(0.5) })
                .collect();
            Fate::Torn { piece, kept }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(length: usize) -> Entry {
        Entry { offset: 1 << 20, data: 0..length, flush: false, fua: false }
    }

    fn flush() -> Entry {
        Entry { flush: true, ..write(0) }
    }

    #[test]
    fn what_is_behind_the_last_flush_is_in_doubt() {
        let entries = [write(512), flush(), write(512), write(512), flush(), write(512)];
        assert_eq!(in_doubt(&entries, 1), 0..1);
        assert_eq!(in_doubt(&entries, 4), 1..4);
        assert_eq!(in_doubt(&entries, 5), 4..5);
        assert_eq!(in_doubt(&entries, 6), 4..6);
    }

    #[test]
    fn the_same_seed_draws_the_same_and_every_fate_comes_up() {
        let entries = vec![write(16384); 6];
        let mut seen = [false; 4];
        for seed in 0..100 {
            let fates = draw(&entries, &[512, 4096], seed);
            assert_eq!(fates, draw(&entries, &[512, 4096], seed));
            for fate in fates {
                match fate {
                    Fate::Kept => seen[0] = true,
                    Fate::Dropped => seen[1] = true,
                    Fate::Torn { piece: 512, kept } => seen[2] |= kept.len() == 32,
                    Fate::Torn { kept, .. } => seen[3] |= kept.len() == 4,
                }
            }
        }
        assert_eq!(seen, [true; 4]);
    }

    #[test]
    fn the_super_block_is_not_torn() {
        let entries = vec![Entry { offset: 0, ..write(4096) }; 4];
        let torn =
            |seed| draw(&entries, &[512], seed).iter().any(|it| matches!(it, Fate::Torn { .. }));
        assert!(!(0..100).any(torn));
    }

    #[test]
    fn a_write_through_the_cache_survives_once_it_is_done() {
        let entries = [Entry { fua: true, ..write(4096) }, write(4096)];
        for seed in 0..50 {
            assert_eq!(draw(&entries, &[512], seed)[0], Fate::Kept);
        }
    }

    #[test]
    fn points_and_variants_have_seeds_of_their_own() {
        let seeds: std::collections::BTreeSet<u64> =
            (0..50).flat_map(|point| (0..4).map(move |it| seed_of(9, point, it))).collect();
        assert_eq!(seeds.len(), 200);
    }
}
