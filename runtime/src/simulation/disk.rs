//! A simulated disk: a value, which can be copied, and cut off from power.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path};
use std::rc::Rc;

use fastrand::Rng;

use super::content::Content;

/// What a torn write tears into.
const SECTOR: usize = 512;

/// Number of a file or directory.
pub(crate) type Inode = usize;

/// Files and directories, what of them would survive a power cut for certain, and what might.
///
/// It keeps less than any file system does: names and bytes that nobody synced survive or not,
/// each for itself, and writes by the sector.
#[derive(Clone, Debug)]
pub struct Disk {
    nodes: Vec<Rc<Node>>,
}

#[derive(Clone, Debug)]
enum Node {
    File(File),
    Directory(Directory),
}

#[derive(Clone, Debug, Default)]
struct File {
    mode: u32,
    /// What a read gives.
    now: Content,
    /// What survives.
    durable: Content,
    /// What may survive, in order.
    changes: Vec<Change>,
    next_change: u64,
}

#[derive(Clone, Debug)]
struct Change {
    number: u64,
    what: What,
    state: State,
}

#[derive(Clone, Debug)]
enum What {
    Write(u64, Rc<[u8]>),
    Length(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Under way.
    Submitted,
    /// A sync makes it durable.
    Done,
    /// It failed, or a sync of it did: what the disk holds of it is unknown for good.
    Doubtful,
    /// It survives, and what is before it in the list may or may not.
    Certain,
}

type Names = BTreeMap<OsString, Inode>;

#[derive(Clone, Debug, Default)]
struct Directory {
    now: Names,
    durable: Names,
    /// Each happens as a whole or not at all.
    changes: Vec<Vec<(OsString, Option<Inode>)>>,
}

impl Default for Disk {
    /// An empty root directory.
    fn default() -> Self {
        Disk { nodes: vec![Rc::new(Node::Directory(Directory::default()))] }
    }
}

impl Disk {
    /// What is there after a power cut now. What was synced is; of the rest some, none or all, as
    /// `random` decides.
    #[must_use]
    pub fn power_cut(&self, random: &mut Rng) -> Disk {
        // Often all or nothing: most mistakes show at the extremes.
        let chance = [0.0, 1.0, 0.5, 0.9, 0.1][random.usize(..5)];
        let nodes = self.nodes.iter().map(|node| Rc::new(node.after_power_cut(chance, random)));
        Disk { nodes: nodes.collect() }
    }

    /// The bytes of a file.
    #[must_use]
    pub fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let file = self.file(self.find(path)?).ok()?;
        let mut bytes = vec![0; file.now.len() as usize];
        file.now.read(0, &mut bytes);
        Some(bytes)
    }

    /// Changes a file's bytes behind everyone's back.
    pub fn overwrite(&mut self, path: &Path, offset: u64, bytes: &[u8]) {
        let Some(inode) = self.find(path) else { return };
        if let Ok(file) = self.file_mut(inode) {
            file.now.write(offset, bytes);
            file.durable.write(offset, bytes);
        }
    }

    /// Every file, by its path.
    #[must_use]
    pub fn files(&self) -> Vec<std::path::PathBuf> {
        let mut files = Vec::new();
        let mut waiting = vec![(std::path::PathBuf::from("/"), 0)];
        while let Some((path, inode)) = waiting.pop() {
            match &*self.nodes[inode] {
                Node::File(_) => files.push(path),
                Node::Directory(directory) => {
                    let inside = directory.now.iter();
                    waiting.extend(inside.map(|(name, inode)| (path.join(name), *inode)));
                }
            }
        }
        files
    }

    pub(super) fn find(&self, path: &Path) -> Option<Inode> {
        let names = path.components().filter_map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        });
        names.into_iter().try_fold(0, |at, name| self.directory(at).ok()?.now.get(name).copied())
    }

    pub(super) fn find_or_fail(&self, path: &Path) -> io::Result<Inode> {
        self.find(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Makes an empty file where there is nothing.
    pub(super) fn create(&mut self, path: &Path, mode: u32) -> io::Result<Inode> {
        self.add(path, Node::File(File { mode, ..File::default() }))
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        self.add(path, Node::Directory(Directory::default())).map(drop)
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<Inode> {
        let (parent, name) = self.parent(path)?;
        if self.find(path).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = self.nodes.len();
        self.nodes.push(Rc::new(node));
        self.directory_mut(parent)?.change(vec![(name, Some(inode))]);
        Ok(inode)
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        Ok(self.directory(self.find_or_fail(path)?)?.now.keys().cloned().collect())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.find_or_fail(from)?;
        let ((parent, from), (same, to)) = (self.parent(from)?, self.parent(to)?);
        assert_eq!(parent, same, "nothing is renamed into another directory");
        self.directory_mut(parent)?.change(vec![(from, None), (to, Some(inode))]);
        Ok(())
    }

    /// Another name for the same file.
    pub(super) fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.find_or_fail(from)?;
        let (parent, name) = self.parent(to)?;
        if self.find(to).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.directory_mut(parent)?.change(vec![(name, Some(inode))]);
        Ok(())
    }

    /// How many names a file has.
    pub(super) fn names(&self, inode: Inode) -> u64 {
        let names = self.nodes.iter().flat_map(|node| match &**node {
            Node::Directory(directory) => directory.now.values().copied().collect(),
            Node::File(_) => Vec::new(),
        });
        names.filter(|it| *it == inode).count() as u64
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.find_or_fail(path)?;
        let (parent, name) = self.parent(path)?;
        self.directory_mut(parent)?.change(vec![(name, None)]);
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let inode = self.find_or_fail(path)?;
        let directory = self.directory_mut(inode)?;
        directory.durable = directory.now.clone();
        directory.changes.clear();
        Ok(())
    }

    pub(super) fn len(&self, inode: Inode) -> io::Result<u64> {
        match &*self.nodes[inode] {
            Node::File(file) => Ok(file.now.len()),
            Node::Directory(_) => Ok(0),
        }
    }

    pub(super) fn mode(&self, inode: Inode) -> io::Result<u32> {
        Ok(self.file(inode)?.mode)
    }

    pub(super) fn read_at(&self, inode: Inode, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        Ok(self.file(inode)?.now.read(offset, out))
    }

    /// Begins a write; gives its number, for [`complete`](Self::complete) or [`fail`](Self::fail).
    pub(super) fn submit(&mut self, inode: Inode, offset: u64, bytes: &[u8]) -> io::Result<u64> {
        Ok(self.file_mut(inode)?.change(What::Write(offset, bytes.into()), State::Submitted))
    }

    pub(super) fn complete(&mut self, inode: Inode, number: u64) -> io::Result<()> {
        self.file_mut(inode)?.end(number, State::Done);
        Ok(())
    }

    pub(super) fn fail(&mut self, inode: Inode, number: u64) -> io::Result<()> {
        self.file_mut(inode)?.end(number, State::Doubtful);
        Ok(())
    }

    pub(super) fn set_len(&mut self, inode: Inode, len: u64) -> io::Result<()> {
        let file = self.file_mut(inode)?;
        let number = file.change(What::Length(len), State::Submitted);
        file.end(number, State::Done);
        Ok(())
    }

    /// The changes that a sync which begins now vouches for: those that are done.
    pub(super) fn done(&self, inode: Inode) -> io::Result<Vec<u64>> {
        let done = self.file(inode)?.changes.iter().filter(|it| it.state == State::Done);
        Ok(done.map(|it| it.number).collect())
    }

    pub(super) fn sync(&mut self, inode: Inode, done: &[u64]) -> io::Result<()> {
        let file = self.file_mut(inode)?;
        for mut change in std::mem::take(&mut file.changes) {
            let certain = match change.state {
                State::Certain => true,
                // Another sync may have failed meanwhile.
                State::Done => done.contains(&change.number),
                State::Submitted | State::Doubtful => false,
            };
            if certain && file.changes.is_empty() {
                change.what.apply(&mut file.durable);
                continue;
            }
            if certain {
                change.state = State::Certain;
            }
            file.changes.push(change);
        }
        Ok(())
    }

    /// A sync that failed: the kernel forgets what it should have written.
    pub(super) fn fail_sync(&mut self, inode: Inode) -> io::Result<()> {
        for change in &mut self.file_mut(inode)?.changes {
            if change.state == State::Done {
                change.state = State::Doubtful;
            }
        }
        Ok(())
    }

    fn parent(&self, path: &Path) -> io::Result<(Inode, OsString)> {
        let name = path.file_name().map(OsStr::to_owned);
        let name = name.ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.find_or_fail(path.parent().unwrap_or(Path::new("/")))?, name))
    }

    fn file(&self, inode: Inode) -> io::Result<&File> {
        match &*self.nodes[inode] {
            Node::File(file) => Ok(file),
            Node::Directory(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn file_mut(&mut self, inode: Inode) -> io::Result<&mut File> {
        match Rc::make_mut(&mut self.nodes[inode]) {
            Node::File(file) => Ok(file),
            Node::Directory(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn directory(&self, inode: Inode) -> io::Result<&Directory> {
        match &*self.nodes[inode] {
            Node::Directory(directory) => Ok(directory),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn directory_mut(&mut self, inode: Inode) -> io::Result<&mut Directory> {
        match Rc::make_mut(&mut self.nodes[inode]) {
            Node::Directory(directory) => Ok(directory),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }
}

impl File {
    fn change(&mut self, what: What, state: State) -> u64 {
        self.next_change += 1;
        self.changes.push(Change { number: self.next_change, what, state });
        self.next_change
    }

    fn end(&mut self, number: u64, state: State) {
        let change = self.changes.iter_mut().find(|change| change.number == number);
        let change = change.expect("a change ends once");
        change.state = state;
        if state == State::Done {
            change.what.clone().apply(&mut self.now);
        }
    }

    fn after_power_cut(&self, chance: f32, random: &mut Rng) -> File {
        let mut content = self.durable.clone();
        for Change { what, state, .. } in &self.changes {
            match what {
                what if *state == State::Certain => what.clone().apply(&mut content),
                What::Length(len) if random.f32() < chance => content.set_len(*len),
                What::Length(_) => {}
                What::Write(offset, bytes) => {
                    let torn = random.f32() < 0.3;
                    let whole = random.f32() < chance;
                    for (piece, at) in bytes.chunks(SECTOR).zip((*offset..).step_by(SECTOR)) {
                        if if torn { random.f32() < chance } else { whole } {
                            content.write(at, piece);
                        }
                    }
                    // The length may be there without the bytes.
                    if random.f32() < 0.1 {
                        let end = offset + bytes.len() as u64;
                        content.set_len(content.len().max(end));
                    }
                }
            }
        }
        File { mode: self.mode, now: content.clone(), durable: content, ..File::default() }
    }
}

impl What {
    fn apply(self, to: &mut Content) {
        match self {
            What::Write(offset, bytes) => to.write(offset, &bytes),
            What::Length(len) => to.set_len(len),
        }
    }
}

impl Directory {
    fn change(&mut self, change: Vec<(OsString, Option<Inode>)>) {
        apply(&change, &mut self.now);
        self.changes.push(change);
    }

    fn after_power_cut(&self, chance: f32, random: &mut Rng) -> Directory {
        let mut names = self.durable.clone();
        for change in &self.changes {
            if random.f32() < chance {
                apply(change, &mut names);
            }
        }
        Directory { now: names.clone(), durable: names, changes: Vec::new() }
    }
}

fn apply(change: &[(OsString, Option<Inode>)], names: &mut Names) {
    for (name, inode) in change {
        match inode {
            Some(inode) => names.insert(name.clone(), *inode),
            None => names.remove(name),
        };
    }
}

impl Node {
    fn after_power_cut(&self, chance: f32, random: &mut Rng) -> Node {
        match self {
            Node::File(file) => Node::File(file.after_power_cut(chance, random)),
            Node::Directory(it) => Node::Directory(it.after_power_cut(chance, random)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(disk: &mut Disk, path: &str, bytes: &[u8]) -> Inode {
        let inode = disk.create(Path::new(path), 0o600).unwrap();
        let write = disk.submit(inode, 0, bytes).unwrap();
        disk.complete(inode, write).unwrap();
        inode
    }

    /// Everything that could be found at a path after a power cut.
    fn survivors(disk: &Disk, path: &str) -> std::collections::BTreeSet<Option<Vec<u8>>> {
        let mut random = Rng::with_seed(7);
        (0..400).map(|_| disk.power_cut(&mut random).read(Path::new(path))).collect()
    }

    #[test]
    fn what_was_synced_survives_and_nothing_else_does_for_certain() {
        let mut disk = Disk::default();
        let inode = written(&mut disk, "/f", &[1; 1024]);
        let torn = survivors(&disk, "/f");
        assert!(torn.contains(&None) && torn.contains(&Some([[1; 512], [0; 512]].concat())));
        disk.sync(inode, &disk.done(inode).unwrap()).unwrap();
        let nameless = survivors(&disk, "/f");
        assert_eq!(nameless, [None, Some(vec![1; 1024])].into());
        disk.sync_dir(Path::new("/")).unwrap();
        assert_eq!(survivors(&disk, "/f"), [Some(vec![1; 1024])].into());
    }

    #[test]
    fn a_rename_happens_or_does_not() {
        let mut disk = Disk::default();
        for (name, byte) in [("/old", 1), ("/new", 2)] {
            let inode = written(&mut disk, name, &[byte; 4]);
            disk.sync(inode, &disk.done(inode).unwrap()).unwrap();
        }
        disk.sync_dir(Path::new("/")).unwrap();
        disk.rename(Path::new("/new"), Path::new("/old")).unwrap();
        assert_eq!(survivors(&disk, "/old"), [Some(vec![1; 4]), Some(vec![2; 4])].into());
        assert_eq!(disk.read(Path::new("/new")), None);
    }

    #[test]
    fn a_failed_sync_is_not_healed_by_the_next() {
        let mut disk = Disk::default();
        let inode = written(&mut disk, "/f", b"x");
        disk.sync_dir(Path::new("/")).unwrap();
        disk.fail_sync(inode).unwrap();
        disk.sync(inode, &disk.done(inode).unwrap()).unwrap();
        assert!(survivors(&disk, "/f").contains(&Some(Vec::new())));
        assert_eq!(disk.read(Path::new("/f")).unwrap(), b"x");
    }

    #[test]
    fn a_write_under_way_is_not_vouched_for_by_a_sync() {
        let mut disk = Disk::default();
        let inode = disk.create(Path::new("/f"), 0o600).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let write = disk.submit(inode, 0, b"x").unwrap();
        disk.sync(inode, &disk.done(inode).unwrap()).unwrap();
        assert_eq!(survivors(&disk, "/f").len(), 3, "nothing, a zero, or all of it");
        disk.complete(inode, write).unwrap();
        disk.sync(inode, &disk.done(inode).unwrap()).unwrap();
        assert_eq!(survivors(&disk, "/f").len(), 1);
    }
}
