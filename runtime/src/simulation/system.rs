//! The calls of the system that blocking code makes, on the simulated disk.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use super::{Inode, World};

impl World {
    pub(crate) fn open(&self, path: &Path) -> io::Result<Inode> {
        self.look(|disk| disk.find_or_fail(path))
    }

    pub(crate) fn create_new(&self, path: &Path, mode: u32) -> io::Result<Inode> {
        self.change(|disk| disk.create(path, mode))
    }

    pub(crate) fn len(&self, inode: Inode) -> io::Result<u64> {
        self.look(|disk| disk.len(inode))
    }

    pub(crate) fn mode(&self, path: &Path) -> io::Result<u32> {
        self.look(|disk| disk.mode(disk.find_or_fail(path)?))
    }

    pub(crate) fn read_exact_at(
        &self,
        inode: Inode,
        out: &mut [u8],
        offset: u64,
    ) -> io::Result<()> {
        let read = self.look(|disk| disk.read_at(inode, offset, out))?;
        (read == out.len()).then_some(()).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    pub(crate) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.look(|disk| {
            let inode = disk.find_or_fail(path)?;
            let mut bytes = vec![0; disk.len(inode)? as usize];
            disk.read_at(inode, 0, &mut bytes)?;
            Ok(bytes)
        })
    }

    pub(crate) fn set_len(&self, inode: Inode, len: u64) -> io::Result<()> {
        self.change(|disk| disk.set_len(inode, len))
    }

    pub(crate) fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        self.look(|disk| disk.list(path))
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|disk| disk.rename(from, to))
    }

    pub(crate) fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|disk| disk.link(from, to))
    }

    pub(crate) fn names(&self, path: &Path) -> io::Result<u64> {
        self.look(|disk| Ok(disk.names(disk.find_or_fail(path)?)))
    }

    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(|disk| disk.remove(path))
    }

    pub(crate) fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.change(|disk| disk.create_dir(path))
    }
}
