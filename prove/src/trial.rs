//! One image after a power cut: mounting it, opening its store, and judging what is there.

use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use tapstone::Store;

use crate::Fault;
use crate::check::{Verdict, check, snapshot};
use crate::image::Image;
use crate::mounted::{FileSystem, LoopDevice, Mounted};
use crate::perform::{options, store_folder};
use crate::workload::{Numbered, Promise};

/// A crash point whose store broke a promise.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which image it was, so that a person can find it again.
    pub name: String,
    /// What was promised, and what was found wrong.
    pub text: String,
}

/// A place where images are tried: one file, one loop device, one mount point for all of them,
/// since making these takes longer than a trial.
#[derive(Debug)]
pub struct Bench {
    kind: FileSystem,
    file: File,
    device: LoopDevice,
    target: PathBuf,
}

impl Bench {
    /// Prepares a bench in a folder.
    ///
    /// # Errors
    ///
    /// When there is no loop device to be had.
    pub fn new(folder: &Path, kind: FileSystem) -> Result<Bench, Fault> {
        let (path, target) = (folder.join("trial.raw"), folder.join("trial"));
        let file = File::create(&path)?;
        file.set_len(kind.image_length())?;
        fs::create_dir_all(&target)?;
        let device = LoopDevice::attach(&path, false)?;
        Ok(Bench { kind, file, device, target })
    }

    /// The file system that images must hold.
    #[must_use]
    pub fn kind(&self) -> FileSystem {
        self.kind
    }

    /// Tries an image.
    ///
    /// # Errors
    ///
    /// When the harness itself fails.
    pub fn examine(
        &self,
        image: &Image,
        promise: &Promise,
        all: &[Numbered],
    ) -> Result<Verdict, Fault> {
        image.store(&self.file, self.kind.image_length())?;
        let mounted = match Mounted::mount(self.kind, self.device.path(), &self.target) {
            Ok(mounted) => mounted,
            Err(error) => return Ok(all_wrong(promise, format!("it would not mount: {error}"))),
        };
        let folder = store_folder(mounted.path());
        let judged = catch_unwind(AssertUnwindSafe(|| open_twice(&folder, promise, all)));
        let verdict = match judged {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(error)) => all_wrong(promise, error.to_string()),
            Err(_) => all_wrong(promise, "it panicked".into()),
        };
        mounted.unmount()?;
        Ok(verdict)
    }

    /// Keeps an image that failed.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn keep(&self, image: &Image, folder: &Path, failure: &Failure) -> Result<(), Fault> {
        fs::create_dir_all(folder)?;
        let path = folder.join(format!("{}.img", failure.name));
        image.store(&File::create(&path)?, self.kind.image_length())?;
        let text = format!("{}\nits image: {}\n", failure.text, path.display());
        Ok(fs::write(folder.join(format!("{}.txt", failure.name)), text)?)
    }
}

fn all_wrong(promise: &Promise, text: String) -> Verdict {
    Verdict { lost: promise.must, wrong: vec![text] }
}

/// Opens the store, which recovers it, checks it, and opens it again: the second time must change
/// nothing and find the same.
fn open_twice(folder: &Path, promise: &Promise, all: &[Numbered]) -> Result<Verdict, Fault> {
    let judge = || -> Result<Verdict, Fault> {
        let store = Store::open(folder, options())?;
        let verdict = check(&store, promise, all)?;
        store.close()?;
        Ok(verdict)
    };
    let first = judge()?;
    if !first.wrong.is_empty() {
        return Ok(first);
    }
    let before = snapshot(folder)?;
    let mut second = judge()?;
    second.wrong.iter_mut().for_each(|text| text.insert_str(0, "the second time: "));
    let after = snapshot(folder)?;
    let names = before.keys().chain(after.keys());
    let changed: std::collections::BTreeSet<_> =
        names.filter(|name| before.get(*name) != after.get(*name)).collect();
    if !changed.is_empty() {
        second.wrong.push(format!("opening it a second time changed {changed:?}"));
    }
    Ok(second)
}
