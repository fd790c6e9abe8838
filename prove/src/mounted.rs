//! File systems under test: making, attaching and mounting them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::Fault;

/// How often something that is still busy is tried again, and how long after.
const TRIES: u32 = 500;
const PAUSE: Duration = Duration::from_millis(2);

/// A file system that packets are kept on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// ext4, with its journal.
    Ext4,
    /// XFS.
    Xfs,
}

impl FileSystem {
    /// What the kernel calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "ext4",
            FileSystem::Xfs => "xfs",
        }
    }

    /// Bytes of its image: about the least that `mkfs` takes.
    #[must_use]
    pub fn image_length(self) -> u64 {
        match self {
            FileSystem::Ext4 => 64 << 20,
            FileSystem::Xfs => 300 << 20,
        }
    }

    /// Lengths of the pieces that a write may be torn into.
    ///
    /// XFS trusts the position in its log that the beginning of a metadata block names, and so does
    /// not put right the rest of a block that was torn between its sectors: it then refuses to
    /// mount. ext4 writes whole blocks from its journal.
    #[must_use]
    pub fn pieces(self) -> &'static [usize] {
        match self {
            FileSystem::Ext4 => &[512, 4096],
            FileSystem::Xfs => &[4096],
        }
    }

    /// Makes an empty one in a file.
    ///
    /// # Errors
    ///
    /// When its `mkfs` refuses.
    pub fn make(self, image: &Path) -> Result<(), Fault> {
        let image = text(image)?;
        match self {
            FileSystem::Ext4 => {
                let lazy = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";
                run("mkfs.ext4", &["-q", "-F", "-b", "4096", "-E", lazy, image])
            }
            FileSystem::Xfs => run("mkfs.xfs", &["-q", "-f", "-K", image]),
        }
    }
}

/// A file as a block device.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
}

impl LoopDevice {
    /// Attaches a file; `direct` passes it by the page cache.
    ///
    /// # Errors
    ///
    /// When there are no loop devices, or this user may not have one.
    pub fn attach(file: &Path, direct: bool) -> Result<LoopDevice, Fault> {
        let direct = if direct { "--direct-io=on" } else { "--direct-io=off" };
        let said = output("losetup", &["--show", "-f", direct, text(file)?])?;
        Ok(LoopDevice { path: said.trim().into() })
    }

    /// The device.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // What is still attached, scripts/powercut detaches at the end.
        text(&self.path).and_then(|path| run("losetup", &["-d", path])).ok();
    }
}

/// A mounted file system.
#[derive(Debug)]
pub struct Mounted {
    target: PathBuf,
}

impl Mounted {
    /// Mounts a device; the kernel replays its journal.
    ///
    /// # Errors
    ///
    /// When the kernel refuses: what it says.
    pub fn mount(kind: FileSystem, device: &Path, target: &Path) -> Result<Mounted, Errno> {
        mount(device, target, kind.name(), MountFlags::NOATIME, None)?;
        Ok(Mounted { target: target.to_owned() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.target
    }

    /// Unmounts it, cleanly.
    ///
    /// # Errors
    ///
    /// When something keeps using it.
    pub fn unmount(self) -> Result<(), Fault> {
        let target = self.target.clone();
        let unmounted = patiently(|| unmount(&target, UnmountFlags::empty()));
        unmounted.map_err(|error| format!("cannot unmount {}: {error}", target.display()))?;
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.target, UnmountFlags::DETACH).ok();
    }
}

/// Tries again while the system says that something is busy: descriptors that a thread has just
/// let go are closed a moment later.
pub(crate) fn patiently<E>(mut attempt: impl FnMut() -> Result<(), E>) -> Result<(), E> {
    for _ in 0..TRIES {
        if attempt().is_ok() {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    attempt()
}

/// A path for a command's words.
pub(crate) fn text(path: &Path) -> Result<&str, Fault> {
    path.to_str().ok_or_else(|| "paths must be UTF-8".into())
}

/// Runs a command that has nothing to say.
pub(crate) fn run(program: &str, words: &[&str]) -> Result<(), Fault> {
    output(program, words).map(drop)
}

fn output(program: &str, words: &[&str]) -> Result<String, Fault> {
    let output = Command::new(program).args(words).output();
    let output = output.map_err(|error| format!("cannot run {program}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} {words:?}: {}", said.trim()).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
