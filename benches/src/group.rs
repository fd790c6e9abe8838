//! A control group to capture within: the kernel limits what its processes use together.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::disk::Disk;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// Memory.
    Memory,
    /// How fast disks are written to.
    Disks,
}

/// A control group of its own, of either version. Gone when it is dropped, if its processes are.
#[derive(Debug)]
pub struct Group {
    folder: PathBuf,
    is_first: bool,
}

impl Group {
    /// Makes one that limits nothing yet.
    ///
    /// # Errors
    ///
    /// When it cannot be made: root is needed, and a kernel that has the controller.
    pub fn new(controller: Controller, name: &str) -> io::Result<Group> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let (root, is_first) = hierarchy(&mounts, controller).ok_or_else(|| {
            io::Error::other(format!("no control groups limit {controller:?} here"))
        })?;
        if !is_first {
            let wanted = format!("+{}", controller.name(is_first));
            fs::write(root.join("cgroup.subtree_control"), wanted)?;
        }
        let folder = root.join(format!("tapstone-{name}-{}", std::process::id()));
        fs::create_dir(&folder)?;
        Ok(Group { folder, is_first })
    }

    /// A command that runs in it.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]);
        command.arg(self.folder.join("cgroup.procs")).arg(program);
        command
    }

    /// Limits its memory.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn limit_memory(&self, bytes: Option<u64>) -> io::Result<()> {
        let (file, none) =
            if self.is_first { ("memory.limit_in_bytes", "-1") } else { ("memory.max", "max") };
        self.write(file, &bytes.map_or(none.to_owned(), |bytes| bytes.to_string()))
    }

    /// Memory that its processes have of their own.
    ///
    /// # Errors
    ///
    /// When the kernel does not say.
    pub fn memory(&self) -> io::Result<u64> {
        let stat = fs::read_to_string(self.folder.join("memory.stat"))?;
        let name = if self.is_first { "total_rss " } else { "anon " };
        let number = stat.lines().find_map(|line| line.strip_prefix(name)?.parse().ok());
        number.ok_or_else(|| io::Error::other(format!("no {name}in {stat}")))
    }

    /// Limits how many bytes a second it writes to a disk.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn limit_writes(&self, disk: &Disk, bytes: Option<u64>) -> io::Result<()> {
        let device = disk.device()?;
        if self.is_first {
            let limit = bytes.unwrap_or(0);
            self.write("blkio.throttle.write_bps_device", &format!("{device} {limit}"))
        } else {
            let limit = bytes.map_or("max".to_owned(), |bytes| bytes.to_string());
            self.write("io.max", &format!("{device} wbps={limit}"))
        }
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        let path = self.folder.join(file);
        let told = |error| io::Error::other(format!("{text} to {}: {error}", path.display()));
        fs::write(&path, text).map_err(told)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        fs::remove_dir(&self.folder).ok();
    }
}

impl Controller {
    fn name(self, is_first: bool) -> &'static str {
        match self {
            Controller::Memory => "memory",
            Controller::Disks if is_first => "blkio",
            Controller::Disks => "io",
        }
    }
}

/// Where the groups of a controller are, and whether they are of the first version.
fn hierarchy(mounts: &str, controller: Controller) -> Option<(PathBuf, bool)> {
    let is_there = |root: &Path| {
        let all = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        all.split_whitespace().any(|it| it == controller.name(false))
    };
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (root, kind, options) = (Path::new(words.next()?), words.next()?, words.next()?);
        let is_first = kind == "cgroup" && options.split(',').any(|it| it == controller.name(true));
        let is_one = is_first || (kind == "cgroup2" && is_there(root));
        is_one.then(|| (root.to_owned(), is_first))
    })
}
