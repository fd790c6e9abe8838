//! The flow table of an open segment.

use std::collections::HashSet;
use std::hash::BuildHasher;

use foldhash::HashMap;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use tapstone_index::FlowSet;
use tapstone_packet::flow::{FlowKey, Path};
use tapstone_packet::names::Name;
use tapstone_packet::predicate::{FlowView, Predicate};
use tapstone_packet::time::{ATTOS_PER_NANO, Timestamp};

use super::prints::Prints;

/// Keys up to this length (IPv4 with a VLAN tag or two) are compared without leaving the table.
const INLINE_KEY_LEN: usize = 22;

/// Every flow of the segment so far, by key and by number.
#[derive(Debug, Default)]
pub(crate) struct FlowTable {
    /// Keyed at random: whoever writes the traffic must not choose who collides.
    hasher: RandomState,
    slots: HashTable<Slot>,
    flows: Vec<Flow>,
    prints: Prints,
    keys: Vec<u8>,
    paths: Paths,
    more_paths: HashMap<u32, Vec<u32>>,
    extra_ports: HashMap<u32, Vec<u16>>,
    names: HashMap<u32, Vec<Name>>,
    /// Flow and block, for every run of packets, in the order in which they were written.
    blocks: Vec<(u32, u32)>,
    unit: u32,
    /// The flows of the current unit, in order of appearance.
    of_unit: Vec<u32>,
    /// The number that the next packet's flow has, where that is known.
    expected: Option<u32>,
    /// Numbers that were passed over and have no flow yet.
    vacant: HashSet<u32>,
}

/// What is needed for every packet, in one cache line.
#[derive(Clone, Copy, Debug)]
struct Slot {
    key: [u8; INLINE_KEY_LEN],
    key_len: u8,
    silent: bool,
    flow: u32,
    path: u32,
    unit: u32,
    local: u32,
}

impl Slot {
    /// The key, unless it is too long to be here.
    fn short_key(&self) -> Option<&[u8]> {
        self.key.get(..self.key_len.into())
    }
}

/// What is touched once a unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    key_at: u32,
    key_len: u16,
    pub(crate) first_end_started: bool,
    path: u32,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// What looking up a packet's flow gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) flow: u32,
    /// The flow's number within the unit.
    pub(crate) local: u32,
    /// Whether it is new in this segment.
    pub(crate) is_new: bool,
    /// Whether it has nothing more to say about names.
    pub(crate) silent: bool,
}

#[derive(Debug, Default)]
struct Paths {
    list: Vec<Box<[u8]>>,
    numbers: HashMap<Box<[u8]>, u32>,
    recent: u32,
}

impl Paths {
    fn number(&mut self, path: &Path) -> u32 {
        let bytes = path.as_bytes();
        if self.list.get(self.recent as usize).is_some_and(|recent| **recent == *bytes) {
            return self.recent;
        }
        self.recent = match self.numbers.get(bytes) {
            Some(number) => *number,
            None => {
                let number = self.list.len() as u32;
                self.list.push(bytes.into());
                self.numbers.insert(bytes.into(), number);
                number
            }
        };
        self.recent
    }
}

impl FlowTable {
    /// Begins a unit: flows are numbered from 0 again within it.
    pub(crate) fn begin_unit(&mut self) {
        self.unit += 1;
        self.of_unit.clear();
    }

    /// What a key is found by.
    pub(crate) fn hash(&self, key: &FlowKey) -> u64 {
        self.hasher.hash_one(key.as_bytes())
    }

    /// Brings near the core what looking these keys up needs: nothing of most flows is in a cache,
    /// and the memory fetches them at the same time instead of one after the other.
    pub(crate) fn fetch(&self, hashes: &[u64]) {
        let near = |hash| self.slots.find(hash, |_| true).map_or(0, |slot| slot.flow);
        std::hint::black_box(hashes.iter().fold(0, |all, hash| all ^ near(*hash)));
    }

    /// The flow of a packet of the current unit.
    pub(crate) fn look_up(&mut self, key: &FlowKey, path: &Path, from_first_end: bool) -> Found {
        self.look_up_hashed(self.hash(key), key, path, from_first_end)
    }

    /// The same, where the key's [`hash`](Self::hash) is known.
    pub(crate) fn look_up_hashed(
        &mut self,
        hash: u64,
        key: &FlowKey,
        path: &Path,
        from_first_end: bool,
    ) -> Found {
        let path = self.paths.number(path);
        let key = key.as_bytes();
        let mut inline = [0; INLINE_KEY_LEN];
        let is_short = key.len() <= INLINE_KEY_LEN;
        if is_short {
            inline[..key.len()].copy_from_slice(key);
        }
        let key_len = if is_short { key.len() as u8 } else { u8::MAX };
        let (flows, keys) = (&self.flows, &self.keys);
        let same = |slot: &Slot| {
            slot.key_len == key_len
                && if is_short {
                    slot.key == inline
                } else {
                    flows[slot.flow as usize].key(keys) == key
                }
        };
        if let Some(slot) = self.slots.find_mut(hash, same) {
            let mut local = slot.local;
            if slot.unit != self.unit {
                slot.unit = self.unit;
                local = self.of_unit.len() as u32;
                slot.local = local;
                self.of_unit.push(slot.flow);
            }
            let found = Found { flow: slot.flow, local, is_new: false, silent: slot.silent };
            if slot.path != path {
                slot.path = path;
                self.add_path(found.flow, path);
            }
            return match self.expected {
                Some(flow) if flow != found.flow => self.put_under(flow, key, path, from_first_end),
                _ => found,
            };
        }
        match self.expected {
            Some(flow) if flow as usize != self.flows.len() => {
                let found = self.put_under(flow, key, path, from_first_end);
                if found.is_new {
                    self.add_slot(hash, inline, key_len, path, found);
                }
                found
            }
            _ => self.insert(hash, key, inline, key_len, path, from_first_end),
        }
    }

    /// Says which flow the next packet belongs to: numbers that were given out before come from
    /// what is stored, whatever the packets decode to now. Numbers below it that no packet had
    /// stay vacant, without packets, at its time; a flow whose packets disagree about its key
    /// becomes opaque.
    pub(crate) fn expect(&mut self, flow: u32, time: Timestamp) {
        self.expected = Some(flow);
        while self.flows.len() < flow as usize {
            self.vacant.insert(self.flows.len() as u32);
            let key_at = self.keys.len() as u32;
            self.prints.add(self.flows.len() as u32, FlowKey::opaque(), Path::from_bytes(&[]));
            let key = FlowKey::opaque().as_bytes();
            self.keys.extend_from_slice(key);
            let vacant = Flow::new((key_at, key.len()), 0, true);
            self.flows.push(Flow { first: time, last: time, ..vacant });
        }
    }

    /// Puts a packet under a number that is there, or is the next.
    fn put_under(&mut self, flow: u32, key: &[u8], path: u32, first_end_started: bool) -> Found {
        let was_vacant = self.vacant.remove(&flow);
        let is_new = was_vacant || flow as usize == self.flows.len();
        if is_new {
            let row = Flow::new((self.keys.len() as u32, key.len()), path, first_end_started);
            let taken = Path::from_bytes(&self.paths.list[path as usize]);
            self.prints.add(flow, FlowKey::from_bytes(key), taken);
            self.keys.extend_from_slice(key);
            if was_vacant {
                self.flows[flow as usize] = row;
            } else {
                self.flows.push(row);
            }
        } else {
            let opaque = FlowKey::opaque().as_bytes();
            let row = &mut self.flows[flow as usize];
            let own = row.key(&self.keys);
            // Once: every further packet of another key finds it opaque already.
            if own != key && own != opaque {
                self.prints.add(flow, FlowKey::opaque(), Path::from_bytes(&[]));
                (row.key_at, row.key_len) = (self.keys.len() as u32, opaque.len() as u16);
                self.keys.extend_from_slice(opaque);
            }
            self.add_path(flow, path);
        }
        Found { flow, local: 0, is_new, silent: false }
    }

    fn insert(
        &mut self,
        hash: u64,
        key: &[u8],
        inline: [u8; INLINE_KEY_LEN],
        key_len: u8,
        path: u32,
        first_end_started: bool,
    ) -> Found {
        let (flow, local) = (self.flows.len() as u32, self.of_unit.len() as u32);
        let taken = Path::from_bytes(&self.paths.list[path as usize]);
        self.prints.add(flow, FlowKey::from_bytes(key), taken);
        self.flows.push(Flow::new((self.keys.len() as u32, key.len()), path, first_end_started));
        self.keys.extend_from_slice(key);
        self.of_unit.push(flow);
        let found = Found { flow, local, is_new: true, silent: false };
        self.add_slot(hash, inline, key_len, path, found);
        found
    }

    fn add_slot(
        &mut self,
        hash: u64,
        key: [u8; INLINE_KEY_LEN],
        key_len: u8,
        path: u32,
        found: Found,
    ) {
        let Found { flow, local, silent, .. } = found;
        let slot = Slot { key, key_len, silent, flow, path, unit: self.unit, local };
        let (hasher, flows, keys) = (&self.hasher, &self.flows, &self.keys);
        // Growing touches nothing but the table where keys are short.
        let rehash = |slot: &Slot| match slot.short_key() {
            Some(key) => hasher.hash_one(key),
            None => hasher.hash_one(flows[slot.flow as usize].key(keys)),
        };
        self.slots.insert_unique(hash, slot, rehash);
    }

    /// The flow of a key, when there is one.
    pub(crate) fn find(&self, key: &FlowKey) -> Option<u32> {
        let same = |slot: &Slot| self.key(slot.flow) == key;
        self.slots.find(self.hash(key), same).map(|slot| slot.flow)
    }

    fn add_path(&mut self, flow: u32, path: u32) {
        if self.flows[flow as usize].path == path {
            return;
        }
        let more = self.more_paths.entry(flow).or_default();
        if !more.contains(&path) {
            more.push(path);
            let taken = Path::from_bytes(&self.paths.list[path as usize]);
            let key = self.flows[flow as usize].key(&self.keys);
            self.prints.add(flow, FlowKey::from_bytes(key), taken);
        }
    }

    /// Remembers that a flow has nothing more to say about names.
    pub(crate) fn silence(&mut self, flow: u32) {
        let key = self.flows[flow as usize].key(&self.keys);
        let hash = self.hasher.hash_one(key);
        if let Some(slot) = self.slots.find_mut(hash, |slot| slot.flow == flow) {
            slot.silent = true;
        }
    }

    pub(crate) fn add_name(&mut self, flow: u32, name: Name) {
        let names = self.names.entry(flow).or_default();
        if let Err(at) = names.binary_search(&name) {
            names.insert(at, name);
        }
    }

    pub(crate) fn add_ports(&mut self, flow: u32, ports: [u16; 2]) {
        let known = self.extra_ports.entry(flow).or_default();
        for port in ports {
            if !known.contains(&port) {
                known.push(port);
            }
        }
    }

    /// Counts a run of packets of one flow.
    pub(crate) fn count(
        &mut self,
        flow: u32,
        times: (Timestamp, Timestamp),
        packets: u64,
        bytes: u64,
    ) {
        let flow = &mut self.flows[flow as usize];
        flow.first = flow.first.min(times.0);
        flow.last = flow.last.max(times.1);
        flow.packets += packets;
        flow.bytes += bytes;
    }

    pub(crate) fn add_block(&mut self, flow: u32, block: u32) {
        self.blocks.push((flow, block));
    }

    pub(crate) fn len(&self) -> usize {
        self.flows.len()
    }

    /// The flows of the current unit, by their numbers within it.
    pub(crate) fn of_unit(&self) -> &[u32] {
        &self.of_unit
    }

    pub(crate) fn key(&self, flow: u32) -> &FlowKey {
        FlowKey::from_bytes(self.flows[flow as usize].key(&self.keys))
    }

    pub(crate) fn flow(&self, flow: u32) -> &Flow {
        &self.flows[flow as usize]
    }

    pub(crate) fn names(&self, flow: u32) -> &[Name] {
        self.names.get(&flow).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn flows_with_names(&self) -> impl Iterator<Item = (u32, &[Name])> {
        self.names.iter().map(|(flow, names)| (*flow, names.as_slice()))
    }

    pub(crate) fn extra_ports(&self, flow: u32) -> &[u16] {
        self.extra_ports.get(&flow).map_or(&[], Vec::as_slice)
    }

    /// Every path, by number.
    pub(crate) fn path_list(&self) -> impl Iterator<Item = &Path> {
        self.paths.list.iter().map(|path| Path::from_bytes(path))
    }

    /// The numbers of the paths that a flow's packets took.
    pub(crate) fn paths(&self, flow: u32, into: &mut Vec<u32>) {
        into.clear();
        into.push(self.flows[flow as usize].path);
        into.extend_from_slice(self.more_paths.get(&flow).map_or(&[], Vec::as_slice));
    }

    /// The blocks of every flow, ascending: where each flow's begin in the list, and the list.
    pub(crate) fn blocks_by_flow(&self) -> (Vec<u32>, Vec<u32>) {
        let mut starts = vec![0u32; self.flows.len() + 1];
        for (flow, _) in &self.blocks {
            starts[*flow as usize + 1] += 1;
        }
        for index in 1..starts.len() {
            starts[index] += starts[index - 1];
        }
        let mut next = starts.clone();
        let mut list = vec![0; self.blocks.len()];
        for (flow, block) in &self.blocks {
            let at = &mut next[*flow as usize];
            list[*at as usize] = *block;
            *at += 1;
        }
        (starts, list)
    }

    /// The blocks that packets of some flows are in, ascending.
    pub(crate) fn blocks_of(&self, flows: &FlowSet) -> Vec<u32> {
        let mut blocks = Vec::new();
        for (flow, block) in &self.blocks {
            if flows.contains(*flow) && blocks.last() != Some(block) {
                blocks.push(*block);
            }
        }
        debug_assert!(blocks.is_sorted(), "blocks are told in the order in which they are written");
        blocks
    }

    #[cfg(test)]
    pub(super) fn prints(&self) -> &Prints {
        &self.prints
    }

    /// The flows that satisfy a predicate.
    pub(crate) fn matching(&self, predicate: &Predicate) -> FlowSet {
        let paths: Vec<&Path> = self.path_list().collect();
        let (mut numbers, mut set) = (Vec::new(), FlowSet::empty(self.len() as u32));
        let mut taken = Vec::new();
        let mut look = |flow| {
            self.paths(flow, &mut numbers);
            taken.clear();
            taken.extend(numbers.iter().map(|number| paths[*number as usize]));
            if predicate.matches(&self.view(flow, &taken)) {
                set.insert(flow);
            }
        };
        match self.prints.candidates(predicate) {
            Some(flows) => flows.into_iter().for_each(&mut look),
            None => (0..self.len() as u32).for_each(&mut look),
        }
        self.prints.others().iter().copied().for_each(look);
        set
    }

    /// Looks at one flow as a predicate does.
    pub(crate) fn view<'a>(&'a self, flow: u32, paths: &'a [&'a Path]) -> FlowView<'a> {
        let it = &self.flows[flow as usize];
        // One whose first packets are being taken in has no times yet.
        let duration = it.last.attos().saturating_sub(it.first.attos()).max(0) / ATTOS_PER_NANO;
        FlowView {
            key: self.key(flow),
            paths,
            extra_ports: self.extra_ports(flow),
            names: self.names(flow),
            packets: it.packets,
            bytes: it.bytes,
            duration_nanos: u64::try_from(duration).unwrap_or(u64::MAX),
        }
    }
}

impl Flow {
    fn new((key_at, key_len): (u32, usize), path: u32, first_end_started: bool) -> Flow {
        Flow {
            key_at,
            key_len: key_len as u16,
            first_end_started,
            path,
            first: Timestamp::MAX,
            last: Timestamp::MIN,
            packets: 0,
            bytes: 0,
        }
    }

    fn key<'k>(&self, keys: &'k [u8]) -> &'k [u8] {
        &keys[self.key_at as usize..][..usize::from(self.key_len)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_found_again_however_long_their_keys_are() {
        let mut table = FlowTable::default();
        let (path, other) = (Path::from_bytes(&[1, 0, 1]), Path::from_bytes(&[1, 0, 2]));
        table.begin_unit();
        let keys: Vec<Vec<u8>> =
            (0u16..300).map(|flow| flow.to_be_bytes().repeat(1 + flow as usize % 40)).collect();
        for (number, key) in keys.iter().enumerate() {
            let found = table.look_up(FlowKey::from_bytes(key), path, true);
            assert_eq!((found.flow, found.is_new), (number as u32, true));
        }
        table.begin_unit();
        for (number, key) in keys.iter().enumerate().rev() {
            let found = table.look_up(FlowKey::from_bytes(key), other, false);
            assert_eq!((found.flow, found.is_new), (number as u32, false));
            assert_eq!(found.local, (keys.len() - 1 - number) as u32);
            assert_eq!(table.key(found.flow).as_bytes(), key);
            let mut paths = Vec::new();
            table.paths(found.flow, &mut paths);
            assert_eq!(paths, [0, 1]);
        }
        table.silence(7);
        assert!(table.look_up(FlowKey::from_bytes(&keys[7]), path, true).silent);
    }

    #[test]
    fn numbers_that_were_given_out_before_are_kept() {
        let mut table = FlowTable::default();
        let path = Path::from_bytes(&[1, 0, 1]);
        let keys: Vec<[u8; 3]> = (0..4).map(|flow| [2, 0, flow]).collect();
        let key = |flow: usize| FlowKey::from_bytes(&keys[flow]);
        table.begin_unit();
        let mut packet = |number: u32, key: &FlowKey| {
            table.expect(number, Timestamp::EPOCH);
            let found = table.look_up(key, path, true);
            assert_eq!(found.flow, number);
            found.is_new
        };
        // What came before it is in a damaged block.
        assert!(packet(2, key(2)));
        assert!(packet(3, key(3)));
        assert!(!packet(2, key(2)));
        // Flow 0 has a packet later on, flow 1 none.
        assert!(packet(0, key(0)));
        assert!(!packet(0, key(0)));
        // Another version took these two for one.
        assert!(!packet(3, key(2)));
        assert_eq!(table.key(0), key(0));
        assert!(table.key(1).is_opaque());
        assert_eq!(table.key(2), key(2));
        assert!(table.key(3).is_opaque());
        assert_eq!(table.len(), 4);
    }

    #[test]
    fn the_blocks_of_some_flows_are_told_once_and_in_order() {
        let mut table = FlowTable::default();
        let runs = [(0, 0), (1, 0), (2, 0), (2, 1), (3, 1), (0, 2), (3, 2), (1, 3)];
        runs.into_iter().for_each(|(flow, block)| table.add_block(flow, block));
        let blocks_of = |flows: &[u32]| {
            let mut set = FlowSet::empty(4);
            flows.iter().for_each(|flow| set.insert(*flow));
            table.blocks_of(&set)
        };
        assert_eq!(blocks_of(&[]), [0; 0]);
        assert_eq!(blocks_of(&[2]), [0, 1]);
        assert_eq!(blocks_of(&[0, 1]), [0, 2, 3]);
        assert_eq!(blocks_of(&[0, 1, 2, 3]), [0, 1, 2, 3]);
    }
}
