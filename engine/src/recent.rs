//! A map of what was used last, whose least recently used members make room.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// What is opened once and kept while it is used: a bounded number of them.
#[derive(Debug)]
pub(crate) struct Recent<K, V>(Mutex<Members<K, V>>);

#[derive(Debug)]
struct Members<K, V> {
    /// Each with the time of its last use.
    members: BTreeMap<K, (V, u64)>,
    most: usize,
    /// Counts the uses.
    now: u64,
}

impl<K: Ord + Copy, V: Clone> Recent<K, V> {
    pub(crate) fn new(most: usize) -> Recent<K, V> {
        Recent(Mutex::new(Members { members: BTreeMap::new(), most, now: 0 }))
    }

    pub(crate) fn get(&self, key: K) -> Option<V> {
        let mut kept = self.kept();
        kept.now += 1;
        let now = kept.now;
        let (value, used) = kept.members.get_mut(&key)?;
        *used = now;
        Some(value.clone())
    }

    /// Keeps a value; the least recently used one goes where there is no room.
    pub(crate) fn keep(&self, key: K, value: V) {
        let mut kept = self.kept();
        kept.now += 1;
        let now = kept.now;
        kept.members.insert(key, (value, now));
        let gone = kept.shrink();
        // What the last owner of a value does takes time, and needs no lock.
        drop(kept);
        drop(gone);
    }

    pub(crate) fn forget(&self, key: K) {
        let gone = self.kept().members.remove(&key);
        drop(gone);
    }

    /// Keeps at most so many from now on.
    pub(crate) fn bound(&self, most: usize) {
        let mut kept = self.kept();
        kept.most = most;
        let gone = kept.shrink();
        drop(kept);
        drop(gone);
    }

    /// Keeps nothing of what is there.
    pub(crate) fn clear(&self) {
        let gone = std::mem::take(&mut self.kept().members);
        drop(gone);
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Members<K, V>> {
        self.0.lock().expect("no holder of the lock panics")
    }
}

impl<K: Ord + Copy, V> Members<K, V> {
    /// Takes out what is too much. The whole map is looked at for each: it is small, and whoever
    /// puts something into it has just opened a file.
    fn shrink(&mut self) -> Vec<V> {
        let mut gone = Vec::new();
        while self.members.len() > self.most {
            let oldest = self.members.iter().min_by_key(|(_, (_, used))| *used);
            let oldest = *oldest.expect("it is not empty").0;
            gone.extend(self.members.remove(&oldest).map(|(value, _)| value));
        }
        gone
    }
}

#[cfg(test)]
impl<K: Ord + Copy, V> Recent<K, V> {
    pub(crate) fn keys(&self) -> Vec<K> {
        self.0.lock().unwrap().members.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn what_was_used_last_stays() {
        let recent = Recent::new(2);
        recent.keep(1, "one");
        recent.keep(2, "two");
        assert_eq!(recent.get(1), Some("one"));
        recent.keep(3, "three");
        assert_eq!((recent.get(2), recent.keys()), (None, vec![1, 3]));
        recent.bound(1);
        assert_eq!(recent.keys(), [3]);
        recent.bound(2);
        recent.keep(4, "four");
        recent.forget(3);
        assert_eq!(recent.keys(), [4]);
        recent.clear();
        assert_eq!((recent.get(4), recent.keys()), (None, vec![]));
        recent.bound(0);
        recent.keep(5, "five");
        assert!(recent.keys().is_empty(), "there is no room for anything");
    }

    /// The same as a list in order of use.
    #[test]
    fn it_agrees_with_a_list_in_order_of_use() {
        let seed = fastrand::u64(..);
        eprintln!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let recent = Recent::new(5);
        let (mut list, mut most) = (VecDeque::new(), 5);
        for _ in 0..5000 {
            let key = random.u8(..12);
            let place = list.iter().position(|it| *it == key);
            match random.u8(..10) {
                0 => {
                    most = random.usize(..8);
                    recent.bound(most);
                }
                1 => {
                    recent.forget(key);
                    place.map(|place| list.remove(place));
                }
                2..=5 => {
                    assert_eq!(recent.get(key).is_some(), place.is_some());
                    if let Some(place) = place {
                        list.remove(place);
                        list.push_back(key);
                    }
                }
                _ => {
                    recent.keep(key, ());
                    place.map(|place| list.remove(place));
                    list.push_back(key);
                }
            }
            while list.len() > most {
                list.pop_front();
            }
            let mut expected: Vec<u8> = list.iter().copied().collect();
            expected.sort_unstable();
            assert_eq!(recent.keys(), expected);
        }
    }
}
