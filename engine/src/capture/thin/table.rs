//! A table of fixed size, whose oldest entries make room: what is forgotten costs nothing but that
//! it is met as if for the first time.

/// Places that an entry may be in.
const PLACES: usize = 8;

/// What a table remembers.
pub(super) trait Entry: Copy {
    /// An empty place.
    const NOTHING: Self;

    /// Decides the places that it may be in.
    fn hash(&self) -> u64;

    /// When it was seen last, by any clock; an empty place before anything else.
    fn seen(&self) -> i64;
}

pub(super) struct Table<E> {
    rows: Box<[[E; PLACES]]>,
}

impl<E: Entry> Table<E> {
    /// A table of so many entries, rounded up to a power of two.
    pub(super) fn new(entries: usize) -> Table<E> {
        let rows = entries.div_ceil(PLACES).next_power_of_two();
        Table { rows: vec![[E::NOTHING; PLACES]; rows].into() }
    }

    /// The place of the entry with this hash that `is` the one; or the place of the oldest that may
    /// make room for it, and that it is not known.
    pub(super) fn place(&mut self, hash: u64, is: impl Fn(&E) -> bool) -> (&mut E, bool) {
        let row = self.row(hash);
        let known = row.iter().position(is);
        let oldest = || (0..PLACES).min_by_key(|place| row[*place].seen());
        let place = known.or_else(oldest).expect("there are places");
        (&mut row[place], known.is_some())
    }

    /// Has room for so many entries from now on; those that were seen last stay.
    pub(super) fn resize(&mut self, entries: usize) {
        let mut resized: Table<E> = Table::new(entries);
        if resized.rows.len() == self.rows.len() {
            return;
        }
        for entry in self.rows.iter().flatten() {
            let row = resized.row(entry.hash());
            let oldest = row.iter_mut().min_by_key(|it| it.seen()).expect("there are places");
            if oldest.seen() < entry.seen() {
                *oldest = *entry;
            }
        }
        *self = resized;
    }

    fn row(&mut self, hash: u64) -> &mut [E; PLACES] {
        let mask = self.rows.len() - 1;
        &mut self.rows[hash as usize & mask]
    }
}

#[cfg(test)]
impl<E: Entry> Table<E> {
    /// Entries that there is room for.
    pub(super) fn room(&self) -> usize {
        self.rows.len() * PLACES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    struct Seen(u64, i64);

    impl Entry for Seen {
        const NOTHING: Seen = Seen(u64::MAX, i64::MIN);

        fn hash(&self) -> u64 {
            self.0
        }

        fn seen(&self) -> i64 {
            self.1
        }
    }

    fn meet(table: &mut Table<Seen>, hash: u64, at: i64) -> bool {
        let (place, known) = table.place(hash, |it| it.0 == hash);
        *place = Seen(hash, at);
        known
    }

    #[test]
    fn a_table_remembers_as_many_as_it_has_places_for() {
        let mut table = Table::new(1000);
        assert_eq!(table.room(), 1024);
        for hash in 0..1024 {
            assert!(!meet(&mut table, hash, hash as i64));
        }
        assert!((0..1024).all(|hash| meet(&mut table, hash, 5000)));
        // The oldest of its row makes room.
        assert!(!meet(&mut table, 1024, 5001));
        assert!(!meet(&mut table, 0, 5002));
    }

    #[test]
    fn what_was_seen_last_stays_when_a_table_becomes_smaller() {
        let mut table = Table::new(1024);
        for hash in 0..1024 {
            meet(&mut table, hash, hash as i64);
        }
        table.resize(128);
        assert_eq!(table.room(), 128);
        let known: Vec<u64> =
            (0..1024).filter(|hash| table.place(*hash, |it| it.0 == *hash).1).collect();
        assert_eq!(known, (896..1024).collect::<Vec<_>>());
        table.resize(1024);
        let still = |hash: &u64| table.place(*hash, |it| it.0 == *hash).1;
        assert_eq!((0..1024).filter(still).count(), 128, "nothing is lost in a larger one");
    }
}
