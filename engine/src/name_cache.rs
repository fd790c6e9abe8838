//! The name cache: which addresses DNS gave for a name. The only module that names sled.
//!
//! It makes `name:` find flows by the name that their client looked up. Nothing depends on it: it
//! is filled from DNS answers that the splits keep too, and may be lost or deleted at any time. Each
//! entry has the number of the last segment that had it, so that it goes when its segments have gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::OnceLock;

use tapstone_packet::names::{Answer, reversed_labels};
use tapstone_packet::predicate::NamePattern;

/// Most addresses given for one question: a domain with more is asked for by its name alone.
const ADDRESSES_MAX: usize = 4096;
/// So many entries are looked at together when some are forgotten.
const GONE_AT_ONCE: usize = 100_000;

/// The cache, opened when it is first needed; a disabled one knows nothing.
#[derive(Debug)]
pub(crate) struct NameCache {
    folder: PathBuf,
    tree: OnceLock<Option<sled::Db>>,
}

impl NameCache {
    pub(crate) fn new(folder: PathBuf) -> NameCache {
        NameCache { folder, tree: OnceLock::new() }
    }

    /// Whether there is nothing in it: it is new, or was deleted.
    pub(crate) fn is_empty(&self) -> bool {
        self.tree().is_some_and(|tree| tree.is_empty())
    }

    /// Opens the cache. One that cannot be opened is thrown away and begun anew; a disk that
    /// refuses even that costs the cache, not the store.
    fn tree(&self) -> Option<&sled::Db> {
        let opened = self.tree.get_or_init(|| {
            if !tapstone_runtime::is_real() {
                return None;
            }
            let open = || {
                let config = sled::Config::new().path(&self.folder).cache_capacity(16 << 20);
                config.flush_every_ms(None).open()
            };
            let opened = open().or_else(|error| {
                tracing::warn!(%error, "the name cache is damaged; it is begun anew");
                std::fs::remove_dir_all(&self.folder)?;
                open()
            });
            opened
                .inspect_err(|error| tracing::warn!(%error, "no name cache; name: finds less"))
                .ok()
        });
        opened.as_ref()
    }

    /// Takes in the DNS answers of a segment.
    pub(crate) fn learn(&self, segment: u32, answers: &[Answer]) {
        if answers.is_empty() {
            return;
        }
        let Some(tree) = self.tree() else { return };
        let later = |known: Option<&[u8]>| {
            let known = known.and_then(segment_of).unwrap_or_default();
            Some(known.max(segment).to_be_bytes().to_vec())
        };
        let mut answers = answers.iter().map(|answer| key(&answer.name, answer.address));
        let learned = answers.try_for_each(|key| tree.fetch_and_update(key, later).map(drop));
        if let Err(error) = learned.and_then(|()| tree.flush().map(drop)) {
            tracing::warn!(%error, "the name cache refuses; name: finds less");
        }
    }

    /// Forgets what no segment has any more; gives how many entries that were. `is_there` says of a
    /// segment's number whether it is; `earlier` gives those that are, up to a number, with their
    /// answers, in order.
    pub(crate) fn forget_gone<E>(
        &self,
        is_there: impl Fn(u32) -> bool,
        mut earlier: impl FnMut(u32) -> Result<Vec<(u32, Vec<Answer>)>, E>,
    ) -> Result<u64, E> {
        let Some(tree) = self.tree() else { return Ok(0) };
        let mut forgotten = 0;
        let mut entries = tree.iter().map_while(Result::ok);
        loop {
            // Those whose last segment is gone; an older program did not say which that was.
            let gone =
                entries.by_ref().filter(|(_, value)| !segment_of(value).is_some_and(&is_there));
            let mut gone: BTreeMap<_, _> = gone.take(GONE_AT_ONCE).collect();
            let Some(last) = gone.values().map(|it| segment_of(it).unwrap_or(u32::MAX)).max()
            else {
                tree.flush().ok();
                return Ok(forgotten);
            };
            // An earlier one may be held.
            for (segment, answers) in earlier(last)? {
                for answer in &answers {
                    let key = key(&answer.name, answer.address);
                    if let Some((key, value)) = gone.remove_entry(&key[..]) {
                        let dated = Some(&segment.to_be_bytes()[..]);
                        // What was learned meanwhile is newer.
                        tree.compare_and_swap(key, Some(value), dated).ok();
                    }
                }
            }
            for (key, value) in gone {
                let swapped = tree.compare_and_swap(key, Some(value), None::<&[u8]>);
                forgotten += u64::from(swapped.is_ok_and(|swapped| swapped.is_ok()));
            }
        }
    }

    /// The addresses that were given for a name, or for any name below a domain.
    pub(crate) fn addresses(&self, pattern: &NamePattern) -> BTreeSet<IpAddr> {
        let Some(tree) = self.tree() else { return BTreeSet::new() };
        let prefix = match pattern {
            NamePattern::Any => return BTreeSet::new(),
            NamePattern::Exact(name) => {
                let mut prefix = reversed_labels(name.as_bytes());
                prefix.push(0);
                prefix
            }
            NamePattern::Domain(name) => reversed_labels(name.as_bytes()),
        };
        let keys = tree.scan_prefix(prefix).keys().map_while(Result::ok);
        keys.filter_map(|key| address(&key)).take(ADDRESSES_MAX).collect()
    }
}

/// The last segment that an entry was learned from.
fn segment_of(value: &[u8]) -> Option<u32> {
    value.try_into().map(u32::from_be_bytes).ok()
}

/// Labels in reverse order, a zero byte, the address.
fn key(name: &[u8], address: IpAddr) -> Vec<u8> {
    let mut key = reversed_labels(name);
    key.push(0);
    match address {
        IpAddr::V4(address) => {
            key.extend_from_slice(&address.octets());
            key.push(4);
        }
        IpAddr::V6(address) => {
            key.extend_from_slice(&address.octets());
            key.push(16);
        }
    }
    key
}

fn address(key: &[u8]) -> Option<IpAddr> {
    let (&length, rest) = key.split_last()?;
    match length {
        4 => rest.last_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        16 => rest.last_chunk::<16>().map(|octets| IpAddr::from(*octets)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_by_domain_and_exactly() {
        let dir = tempfile::tempdir().unwrap();
        let cache = NameCache::new(dir.path().to_owned());
        assert!(cache.is_empty());
        let answer = |name: &str, last| Answer {
            name: name.as_bytes().to_vec(),
            address: IpAddr::from([192, 0, 2, last]),
        };
        cache.learn(
            1,
            &[answer("example.com", 1), answer("www.example.com", 2), answer("b.com", 0)],
        );
        let find = |pattern| -> Vec<u8> {
            let found = cache.addresses(&pattern).into_iter();
            found
                .map(|address| match address {
                    IpAddr::V4(address) => address.octets()[3],
                    IpAddr::V6(_) => 99,
                })
                .collect()
        };
        assert_eq!(find(NamePattern::Domain("example.com".into())), [1, 2]);
        assert_eq!(find(NamePattern::Exact("example.com".into())), [1]);
        assert_eq!(find(NamePattern::Domain("b.com".into())), [0]);
        assert!(find(NamePattern::Domain("xample.com".into())).is_empty());
    }

    #[test]
    fn what_no_segment_has_any_more_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let cache = NameCache::new(dir.path().to_owned());
        let answer =
            |last| Answer { name: b"a.com".to_vec(), address: IpAddr::from([192, 0, 2, last]) };
        let found = || cache.addresses(&NamePattern::Exact("a.com".into())).len();
        cache.learn(1, &[answer(1), answer(2), answer(3)]);
        cache.learn(3, &[answer(3)]);
        cache.learn(2, &[answer(2), answer(3)]);
        // As an older program wrote it.
        let undated = key(b"a.com", answer(4).address);
        cache.tree().unwrap().insert(undated, &[]).unwrap();
        let has = |segment| {
            let had = [vec![1, 2, 3], vec![2, 3], vec![3]][segment as usize - 1].clone();
            (segment, had.into_iter().map(answer).collect::<Vec<_>>())
        };
        let forget = |there: &[u32]| {
            let earlier = |last| {
                let there = there.iter().filter(|it| **it <= last);
                Ok::<_, ()>(there.map(|it| has(*it)).collect())
            };
            cache.forget_gone(|it| there.contains(&it), earlier).unwrap()
        };
        assert_eq!((forget(&[1, 2, 3]), found()), (1, 3), "nobody has the undated one");
        assert_eq!((forget(&[2, 3]), found()), (1, 2));
        // The last segment that had an entry is gone, and one before it is held.
        assert_eq!((forget(&[2]), found()), (0, 2));
        assert_eq!((forget(&[2]), found()), (0, 2), "they are dated by that one now");
        assert_eq!((forget(&[]), found()), (2, 0));
    }
}
