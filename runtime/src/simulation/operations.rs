//! Operations on the simulated disk, each of which can go wrong.

use std::io;
use std::ops::Range;
use std::path::Path;

use futures_lite::future::yield_now;

use super::{Disk, Fault, Inode, World};

/// How many others may go first before a write or read is done.
const TURNS_MAX: usize = 6;
/// How long an operation takes.
const NANOS: Range<u64> = 1_000..2_000_000;

impl World {
    /// Counts an operation, and tells what goes wrong with it.
    fn begin(&self) -> Option<Fault> {
        let number = self.operations.get();
        self.operations.set(number + 1);
        self.now.set(self.now.get() + self.random.borrow_mut().u64(NANOS));
        let fault = self.faults.borrow().get(&number).copied();
        if fault.is_some() && self.struck.get().is_none() {
            self.struck.set(Some(self.changes()));
        }
        fault
    }

    /// An operation that goes wrong only by an error.
    fn begin_or_fail(&self) -> io::Result<()> {
        match self.begin() {
            Some(Fault::Error(kind)) => Err(kind.into()),
            _ => Ok(()),
        }
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&Disk) -> io::Result<T>) -> io::Result<T> {
        self.begin_or_fail()?;
        look(&self.disk.borrow())
    }

    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&mut Disk) -> io::Result<T>,
    ) -> io::Result<T> {
        self.begin_or_fail()?;
        self.change_for_certain(change)
    }

    fn change_for_certain<T>(
        &self,
        change: impl FnOnce(&mut Disk) -> io::Result<T>,
    ) -> io::Result<T> {
        let changed = change(&mut self.disk.borrow_mut());
        if let Some(history) = &mut *self.history.borrow_mut() {
            history.push(self.disk.borrow().clone());
        }
        changed
    }

    async fn wait_a_while(&self) {
        let turns = self.random.borrow_mut().usize(..TURNS_MAX);
        for _ in 0..turns {
            yield_now().await;
        }
    }

    pub(crate) async fn read_slowly(
        &self,
        inode: Inode,
        offset: u64,
        out: &mut [u8],
    ) -> io::Result<usize> {
        self.wait_a_while().await;
        self.look(|disk| disk.read_at(inode, offset, out))
    }

    /// Writes, while others go on; gives the bytes written.
    pub(crate) async fn write_slowly(
        &self,
        inode: Inode,
        offset: u64,
        bytes: &[u8],
    ) -> io::Result<usize> {
        let (fault, number, length) = self.submit(inode, offset, bytes)?;
        self.wait_a_while().await;
        self.end_write(fault, inode, number, length)
    }

    /// Writes all of `bytes`.
    pub(crate) fn write(&self, inode: Inode, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (fault, number, length) = self.submit(inode, offset, bytes)?;
        match self.end_write(fault, inode, number, length)? {
            written if written == bytes.len() => Ok(()),
            // The system takes the first half only when there is no room for the second.
            _ => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn submit(
        &self,
        inode: Inode,
        offset: u64,
        bytes: &[u8],
    ) -> io::Result<(Option<Fault>, u64, usize)> {
        let fault = self.begin();
        let (offset, bytes) = match fault {
            Some(Fault::Short) => (offset, &bytes[..bytes.len() / 2]),
            Some(Fault::Misdirect) => (offset ^ 4096, bytes),
            _ => (offset, bytes),
        };
        let number = self.change_for_certain(|disk| disk.submit(inode, offset, bytes))?;
        Ok((fault, number, bytes.len()))
    }

    fn end_write(
        &self,
        fault: Option<Fault>,
        inode: Inode,
        number: u64,
        length: usize,
    ) -> io::Result<usize> {
        if let Some(Fault::Error(kind)) = fault {
            self.change_for_certain(|disk| disk.fail(inode, number))?;
            return Err(kind.into());
        }
        self.change_for_certain(|disk| disk.complete(inode, number))?;
        Ok(length)
    }

    /// Syncs, while others go on.
    pub(crate) async fn sync_slowly(&self, inode: Inode) -> io::Result<()> {
        let (fault, done) = (self.begin(), self.disk.borrow().done(inode)?);
        self.wait_a_while().await;
        self.end_sync(fault, inode, &done)
    }

    pub(crate) fn sync(&self, inode: Inode) -> io::Result<()> {
        let (fault, done) = (self.begin(), self.disk.borrow().done(inode)?);
        self.end_sync(fault, inode, &done)
    }

    fn end_sync(&self, fault: Option<Fault>, inode: Inode, done: &[u64]) -> io::Result<()> {
        match fault {
            Some(Fault::Error(kind)) => {
                self.change_for_certain(|disk| disk.fail_sync(inode))?;
                Err(kind.into())
            }
            Some(Fault::Lie) => Ok(()),
            _ => self.change_for_certain(|disk| disk.sync(inode, done)),
        }
    }

    pub(crate) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        match self.begin() {
            Some(Fault::Error(kind)) => Err(kind.into()),
            Some(Fault::Lie) => Ok(()),
            _ => self.change_for_certain(|disk| disk.sync_dir(path)),
        }
    }
}
