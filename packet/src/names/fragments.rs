//! Putting IP fragments together, for the names in their datagrams.

use std::collections::HashMap;
use std::collections::VecDeque;

use crate::decode::{DatagramId, Fragment};

/// Most datagrams under construction; the oldest gives way.
const DATAGRAMS_MAX: usize = 256;
/// A datagram cannot be longer than its offsets reach.
const DATAGRAM_LEN_MAX: usize = 65_535;

/// Joins the fragments of datagrams. Where fragments overlap, what came first stays.
#[derive(Debug, Default)]
pub struct FragmentJoiner {
    open: HashMap<DatagramId, Datagram>,
    order: VecDeque<DatagramId>,
}

#[derive(Debug, Default)]
struct Datagram {
    data: Vec<u8>,
    /// Which stretches are there, in order and apart from each other.
    filled: Vec<(usize, usize)>,
    length: Option<usize>,
}

impl FragmentJoiner {
    /// Adds a fragment; gives the datagram's whole payload when it completes it.
    pub fn add(&mut self, fragment: &Fragment<'_>) -> Option<Vec<u8>> {
        let start = fragment.offset as usize;
        let end = start + fragment.payload.len();
        if end > DATAGRAM_LEN_MAX {
            return None;
        }
        if !self.open.contains_key(&fragment.datagram) {
            if self.open.len() == DATAGRAMS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.open.remove(&oldest);
            }
            self.order.push_back(fragment.datagram);
        }
        let datagram = self.open.entry(fragment.datagram).or_default();
        datagram.fill(start, fragment.payload);
        if !fragment.more {
            datagram.length.get_or_insert(end);
        }
        let length = datagram.length?;
        if datagram.filled.first() != Some(&(0, datagram.data.len())) {
            return None;
        }
        if datagram.data.len() < length {
            return None;
        }
        self.order.retain(|open| *open != fragment.datagram);
        let mut whole = self.open.remove(&fragment.datagram)?.data;
        whole.truncate(length);
        Some(whole)
    }
}

impl Datagram {
    fn fill(&mut self, start: usize, piece: &[u8]) {
        let end = start + piece.len();
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        let mut at = start;
        for &(from, to) in &self.filled {
            if from > at {
                let until = from.min(end);
                if until > at {
                    self.data[at..until].copy_from_slice(&piece[at - start..until - start]);
                }
            }
            at = at.max(to);
        }
        if at < end {
            self.data[at..end].copy_from_slice(&piece[at - start..]);
        }
        self.filled.push((start, end));
        self.filled.sort_unstable();
        let mut merged: Vec<(usize, usize)> = Vec::with_capacity(self.filled.len());
        for &(from, to) in &self.filled {
            match merged.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        self.filled = merged;
    }
}
