//! What the catalog keeps of a split, so that most splits need not be opened: an approximate set
//! of its addresses and names (a Bloom filter). It says "no" only when that is certain.

use std::collections::HashSet;
use std::net::IpAddr;

use tapstone_packet::names::NameKind;
use tapstone_packet::predicate::{NamePattern, Predicate};
use xxhash_rust::xxh3::xxh3_64;

use crate::terms::{ip_term, name_term};

const BITS_PER_KEY: usize = 10;
const PROBES: u32 = 7;

/// The approximate content of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary<'b> {
    bits: &'b [u8],
}

#[derive(Debug, Default)]
pub(crate) struct SummaryBuilder {
    keys: HashSet<u64>,
    scratch: Vec<u8>,
}

impl SummaryBuilder {
    pub(crate) fn add_address(&mut self, address: IpAddr) {
        self.scratch.clear();
        ip_term(address, &mut self.scratch);
        self.keys.insert(xxh3_64(&self.scratch));
    }

    /// Adds a name's term, and every domain above it.
    pub(crate) fn add_name(&mut self, term: &[u8]) {
        for (end, _) in term.iter().enumerate().skip(1).filter(|(_, byte)| **byte == 0) {
            self.keys.insert(xxh3_64(&term[..=end]));
        }
        self.keys.insert(xxh3_64(&term[..1]));
        self.keys.insert(xxh3_64(term));
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        let mut bits = vec![0; (self.keys.len() * BITS_PER_KEY).div_ceil(8).max(1)];
        for key in &self.keys {
            for bit in probes(*key, bits.len()) {
                bits[bit / 8] |= 1 << (bit % 8);
            }
        }
        bits
    }
}

impl<'b> Summary<'b> {
    /// Takes the bytes that [`crate::SplitFile::summary`] holds.
    #[must_use]
    pub fn new(bits: &'b [u8]) -> Summary<'b> {
        Summary { bits }
    }

    /// Whether some flow of the split may satisfy a predicate.
    #[must_use]
    pub fn may_match(&self, predicate: &Predicate) -> bool {
        match predicate {
            Predicate::None => false,
            Predicate::And(parts) => parts.iter().all(|part| self.may_match(part)),
            Predicate::Or(parts) => parts.iter().any(|part| self.may_match(part)),
            Predicate::Net(net) => {
                let mut term = Vec::new();
                ip_term(net.address, &mut term);
                usize::from(net.prefix) < term.len() * 8 || self.may_hold(&term)
            }
            Predicate::Name(test) => {
                let kinds = NameKind::ALL.into_iter().map(|(kind, _)| kind);
                let mut kinds =
                    kinds.filter(|kind| test.kinds.is_empty() || test.kinds.contains(kind));
                kinds.any(|kind| match &test.pattern {
                    NamePattern::Any => self.may_hold(&[kind as u8]),
                    NamePattern::Domain(name) | NamePattern::Exact(name) => {
                        self.may_hold(&name_term(kind, name.as_bytes()))
                    }
                })
            }
            Predicate::All
            | Predicate::Not(_)
            | Predicate::Port(_)
            | Predicate::Path(_)
            | Predicate::CommunityId(_)
            | Predicate::Number(..) => true,
        }
    }

    fn may_hold(&self, term: &[u8]) -> bool {
        !self.bits.is_empty()
            && probes(xxh3_64(term), self.bits.len())
                .all(|bit| self.bits[bit / 8] >> (bit % 8) & 1 == 1)
    }
}

/// The bits of a key in a filter of so many bytes (double hashing; Kirsch and Mitzenmacher, 2006).
fn probes(key: u64, bytes: usize) -> impl Iterator<Item = usize> {
    let (first, step) = (key, (key >> 32) | 1);
    let bits = bytes as u64 * 8;
    (0..u64::from(PROBES))
        .map(move |probe| (first.wrapping_add(probe.wrapping_mul(step)) % bits) as usize)
}
