//! A small file system to record on: a file, mounted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::network::run;

/// A file system of its own. Gone when it is dropped.
#[derive(Debug)]
pub struct Disk {
    image: String,
    place: String,
}

impl Disk {
    /// Makes one of so many MiB within a folder.
    ///
    /// # Errors
    ///
    /// When it cannot be made: root is needed, and e2fsprogs.
    pub fn new(folder: &Path, mib: u64) -> io::Result<Disk> {
        let text = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let disk = Disk { image: text("disk.img"), place: text("disk") };
        fs::create_dir_all(&disk.place)?;
        fs::File::create(&disk.image)?.set_len(mib << 20)?;
        run("mkfs.ext4", &["-q", "-F", &disk.image])?;
        run("mount", &["-o", "loop", &disk.image, &disk.place])?;
        Ok(disk)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn place(&self) -> PathBuf {
        PathBuf::from(&self.place)
    }

    /// Bytes that are free.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    pub fn free(&self) -> io::Result<u64> {
        let it = rustix::fs::statvfs(&self.place)?;
        Ok(it.f_bavail * it.f_frsize)
    }

    /// What it is on, as the kernel numbers devices.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    pub fn device(&self) -> io::Result<String> {
        let number = rustix::fs::stat(&self.place)?.st_dev;
        Ok(format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number)))
    }

    /// Writes and syncs wait from now on.
    ///
    /// # Errors
    ///
    /// When it cannot be made to stand still.
    pub fn freeze(&self) -> io::Result<()> {
        run("fsfreeze", &["--freeze", &self.place])
    }

    /// And go on.
    ///
    /// # Errors
    ///
    /// When it does not stand still.
    pub fn thaw(&self) -> io::Result<()> {
        run("fsfreeze", &["--unfreeze", &self.place])
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It may stand still, or not have been mounted.
        self.thaw().ok();
        run("umount", &[&self.place]).ok();
        fs::remove_file(&self.image).ok();
        fs::remove_dir(&self.place).ok();
    }
}
