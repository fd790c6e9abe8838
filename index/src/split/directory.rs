//! tantivy's view of a bundle: files that can be read, and nothing that can be written.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use tantivy::directory::error::{DeleteError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    DirectoryLock, FileHandle, Lock, OwnedBytes, WatchCallback, WatchHandle, WritePtr,
};
use tantivy::{Directory, HasLen};

use crate::bundle::{Bundle, Member};

#[derive(Clone, Debug)]
pub(super) struct BundleDirectory {
    bundle: Bundle,
}

impl BundleDirectory {
    pub(super) fn new(bundle: Bundle) -> BundleDirectory {
        BundleDirectory { bundle }
    }

    fn find(&self, path: &Path) -> Result<&Member, OpenReadError> {
        let name = path.to_str();
        name.and_then(|name| self.bundle.member(name))
            .ok_or_else(|| OpenReadError::FileDoesNotExist(path.to_owned()))
    }
}

#[derive(Debug)]
struct MemberFile {
    bundle: Bundle,
    member: Member,
}

impl HasLen for MemberFile {
    fn len(&self) -> usize {
        (self.member.range.end - self.member.range.start) as usize
    }
}

impl FileHandle for MemberFile {
    fn read_bytes(&self, range: Range<usize>) -> io::Result<OwnedBytes> {
        let range = range.start as u64..range.end as u64;
        self.bundle.read(&self.member, range).map(OwnedBytes::new)
    }
}

fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "a split is never written again")
}

impl Directory for BundleDirectory {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        let member = self.find(path)?.clone();
        Ok(Arc::new(MemberFile { bundle: self.bundle.clone(), member }))
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        Ok(self.find(path).is_ok())
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        let member = self.find(path)?;
        let length = member.range.end - member.range.start;
        self.bundle
            .read(member, 0..length)
            .map_err(|error| OpenReadError::wrap_io_error(error, path.to_owned()))
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        Err(DeleteError::IoError { io_error: Arc::new(read_only()), filepath: path.to_owned() })
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        Err(OpenWriteError::wrap_io_error(read_only(), path.to_owned()))
    }

    fn atomic_write(&self, _path: &Path, _data: &[u8]) -> io::Result<()> {
        Err(read_only())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    /// Nothing changes, so nothing needs to be kept from changing.
    fn acquire_lock(
        &self,
        _lock: &Lock,
    ) -> Result<DirectoryLock, tantivy::directory::error::LockError> {
        Ok(DirectoryLock::from(Box::new(())))
    }

    fn watch(&self, _callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}
