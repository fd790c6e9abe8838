//! The device that logs what it is asked to write: `qemu-storage-daemon` with `blklogwrites`,
//! its export as a file by `nbdfuse`, and a loop device on that file. It stands in for the kernel's
//! dm-log-writes, which many kernels lack.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Fault;
use crate::mounted::{LoopDevice, patiently, run, text};

/// How long a process may take to be ready.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(3);

/// A device under watch. Its image and its log lie in one folder.
#[derive(Debug)]
pub struct Recorder {
    folder: PathBuf,
    device: Option<LoopDevice>,
    fuse: Child,
    daemon: Child,
}

impl Recorder {
    /// Where the image must be before the start.
    #[must_use]
    pub fn image(folder: &Path) -> PathBuf {
        folder.join("base.raw")
    }

    /// Begins to log what is written to a device that holds the folder's image.
    ///
    /// # Errors
    ///
    /// When a program is missing or does not get ready.
    pub fn start(folder: &Path) -> Result<Recorder, Fault> {
        let (image, log) = (Self::image(folder), folder.join("log.raw"));
        let (socket, disk) = (folder.join("q.sock"), folder.join("disk"));
        File::create(&log)?;
        File::create(&disk)?;
        fs::remove_file(&socket).or_else(missing_is_fine)?;
        let length = fs::metadata(&image)?.len();
        let daemon = spawn_daemon(folder, &image, &log, &socket)?;
        let mut daemon = Guard::of(daemon);
        wait_for("qemu-storage-daemon", || fs::metadata(&socket).is_ok())?;
        let uri = format!("nbd+unix:///x?socket={}", text(&socket)?);
        let fuse = spawn(folder, "nbdfuse", &[text(&disk)?, &uri])?;
        let mut fuse = Guard::of(fuse);
        wait_for("nbdfuse", || fs::metadata(&disk).is_ok_and(|it| it.len() == length))?;
        let device = Some(LoopDevice::attach(&disk, true)?);
        let (fuse, daemon) = (fuse.keep()?, daemon.keep()?);
        Ok(Recorder { folder: folder.to_owned(), device, fuse, daemon })
    }

    /// The device.
    ///
    /// # Panics
    ///
    /// Never: it is there until [`stop`](Self::stop).
    #[must_use]
    pub fn device(&self) -> &Path {
        self.device.as_ref().expect("it is attached until the stop").path()
    }

    /// Ends the watch and gives the log's bytes. The device must be unmounted.
    ///
    /// # Errors
    ///
    /// When a program does not end well, or the log cannot be read.
    pub fn stop(mut self) -> Result<Vec<u8>, Fault> {
        drop(self.device.take());
        let disk = self.folder.join("disk");
        patiently(|| run("fusermount3", &["-u", text(&disk)?]))?;
        self.fuse.wait()?;
        // It writes the log's number of entries when it is asked to end, and not when it is killed.
        end(&self.daemon)?;
        self.daemon.wait()?;
        Ok(fs::read(self.folder.join("log.raw"))?)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        drop(self.device.take());
        let disk = self.folder.join("disk");
        text(&disk).and_then(|disk| run("fusermount3", &["-u", "-z", disk])).ok();
        for child in [&mut self.fuse, &mut self.daemon] {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Kills a process that is not yet part of a [`Recorder`].
struct Guard(Option<Child>);

impl Guard {
    fn of(child: Child) -> Guard {
        Guard(Some(child))
    }

    fn keep(&mut self) -> Result<Child, Fault> {
        self.0.take().ok_or_else(|| "kept twice".into())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn spawn_daemon(folder: &Path, image: &Path, log: &Path, socket: &Path) -> Result<Child, Fault> {
    let file = |node: &str, path: &Path| -> Result<String, Fault> {
        Ok(format!("driver=file,node-name={node},filename={}", text(path)?))
    };
    let (image, log) = (file("f0", image)?, file("lg", log)?);
    let words = [
        "--blockdev",
        &image,
        "--blockdev",
        &log,
        "--blockdev",
        "driver=blklogwrites,node-name=bl,file=f0,log=lg,log-sector-size=512",
        "--nbd-server",
        &format!("addr.type=unix,addr.path={}", text(socket)?),
        "--export",
        "type=nbd,id=e0,node-name=bl,name=x,writable=on",
    ];
    spawn(folder, "qemu-storage-daemon", &words)
}

/// Starts a process; its number is kept in a file, so that scripts/powercut can end it should this
/// process be killed.
fn spawn(folder: &Path, program: &str, words: &[&str]) -> Result<Child, Fault> {
    let errors = File::create(folder.join(format!("{program}.errors")))?;
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
    let child = command.spawn().map_err(|error| format!("cannot run {program}: {error}"))?;
    fs::write(folder.join(format!("{program}.pid")), child.id().to_string())?;
    Ok(child)
}

fn end(child: &Child) -> Result<(), Fault> {
    let pid = Pid::from_raw(child.id().cast_signed()).ok_or("a child has a number")?;
    Ok(kill_process(pid, Signal::TERM)?)
}

fn wait_for(what: &str, ready: impl Fn() -> bool) -> Result<(), Fault> {
    let started = Instant::now();
    while !ready() {
        if started.elapsed() > PATIENCE {
            return Err(format!("{what} does not get ready").into());
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn missing_is_fine(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
