//! The name cache: which addresses DNS gave for a name. The only module that names sled.
//!
//! It makes `name:` find flows by the name that their client looked up. Nothing depends on it: it
//! is filled from DNS answers that the splits keep too, and may be lost or deleted at any time.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::OnceLock;

use tapstone_packet::names::{Answer, reversed_labels};
use tapstone_packet::predicate::NamePattern;

/// Most addresses given for one question: a domain with more is asked for by its name alone.
const ADDRESSES_MAX: usize = 4096;

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

    /// Takes DNS answers in.
    pub(crate) fn learn(&self, answers: &[Answer]) {
        if answers.is_empty() {
            return;
        }
        let Some(tree) = self.tree() else { return };
        let mut batch = sled::Batch::default();
        for answer in answers {
            batch.insert(key(&answer.name, answer.address), &[]);
        }
        if let Err(error) = tree.apply_batch(batch).and_then(|()| tree.flush().map(drop)) {
            tracing::warn!(%error, "the name cache refuses; name: finds less");
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
        cache.learn(&[answer("example.com", 1), answer("www.example.com", 2), answer("b.com", 0)]);
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
}
