//! Who may use a folder: one process at a time.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::file::FileError;
use crate::simulation;

/// A folder held by this process, until dropped (or until the process ends, however it does).
#[derive(Debug)]
pub struct FolderLock {
    /// None in a simulation, where there is one process.
    file: Option<File>,
}

/// Why a folder cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error(
        "{} is in use by {holder}; wait until it is done, or stop it", path.display()
    )]
    Held {
        /// The folder.
        path: PathBuf,
        /// Who: process id and command.
        holder: String,
    },
    /// The lock file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
}

impl FolderLock {
    /// Takes hold of an existing folder by its file `lock`, which tells others who has it.
    ///
    /// # Errors
    ///
    /// When another process holds it, or the file cannot be written.
    pub fn take(folder: &Path) -> Result<FolderLock, LockError> {
        if simulation::world().is_some() {
            return Ok(FolderLock { file: None });
        }
        let path = folder.join("lock");
        let fail = |operation| {
            let path = path.clone();
            move |error| FileError::new(operation, &path, error)
        };
        let mut options = fs::OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        let mut file = options.open(&path).map_err(fail("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(fail("read"))?;
                let holder = holder.trim();
                let holder = if holder.is_empty() { "another process" } else { holder };
                return Err(LockError::Held { path: folder.to_owned(), holder: holder.into() });
            }
            Err(TryLockError::Error(error)) => return Err(fail("lock")(error).into()),
        }
        let command = std::env::args_os().take(2).map(|word| word.display().to_string());
        let command = command.collect::<Vec<_>>().join(" ");
        let holder = format!("process {} ({command})\n", std::process::id());
        file.set_len(0).map_err(fail("write"))?;
        file.rewind().map_err(fail("write"))?;
        file.write_all(holder.as_bytes()).map_err(fail("write"))?;
        Ok(FolderLock { file: Some(file) })
    }
}

impl Drop for FolderLock {
    /// Gives the folder free outright. Closing the file would not: a process that is being started by
    /// another thread has it open too, until its program is there.
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // Where that fails, closing is all that is left.
            file.unlock().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_free_though_a_process_being_started_still_has_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let held = FolderLock::take(dir.path()).unwrap();
        let also_open = held.file.as_ref().unwrap().try_clone().unwrap();
        drop(held);
        FolderLock::take(dir.path()).unwrap();
        drop(also_open);
    }

    #[test]
    fn a_held_folder_names_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let held = FolderLock::take(dir.path()).unwrap();
        let error = FolderLock::take(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        FolderLock::take(dir.path()).unwrap();
    }
}
