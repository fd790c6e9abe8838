//! Sets of flows.

/// A set of row numbers of one split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowSet {
    words: Vec<u64>,
    rows: u32,
}

impl FlowSet {
    /// No flow of a split of so many.
    #[must_use]
    pub fn empty(rows: u32) -> FlowSet {
        FlowSet { words: vec![0; rows.div_ceil(64) as usize], rows }
    }

    /// Every flow of a split of so many.
    #[must_use]
    pub fn full(rows: u32) -> FlowSet {
        let mut words = vec![u64::MAX; rows.div_ceil(64) as usize];
        if let Some(last) = words.last_mut()
            && !rows.is_multiple_of(64)
        {
            *last = (1 << (rows % 64)) - 1;
        }
        FlowSet { words, rows }
    }

    /// Whether a row is in it.
    #[inline]
    #[must_use]
    pub fn contains(&self, row: u32) -> bool {
        self.words.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Adds a row; one that the split does not have is left out.
    #[inline]
    pub fn insert(&mut self, row: u32) {
        if row < self.rows {
            self.words[row as usize / 64] |= 1 << (row % 64);
        }
    }

    /// How many rows are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether no row is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Its rows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.words.iter().zip(0u32..).flat_map(|(word, index)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(index * 64 + bit)
            })
        })
    }

    pub(crate) fn union(&mut self, other: &FlowSet) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word |= other);
    }

    pub(crate) fn intersect(&mut self, other: &FlowSet) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= other);
    }

    pub(crate) fn subtract(&mut self, other: &FlowSet) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= !other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_set_has_every_row_and_no_more() {
        for rows in [0, 1, 63, 64, 65, 1000] {
            let full = FlowSet::full(rows);
            assert_eq!(full.iter().collect::<Vec<_>>(), (0..rows).collect::<Vec<_>>());
            assert_eq!(full.len(), rows as usize);
            assert!(!full.contains(rows));
        }
    }
}
