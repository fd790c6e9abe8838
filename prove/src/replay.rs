//! Cutting the power at every entry of a log.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Fault;
use crate::fate::{draw, in_doubt, seed_of};
use crate::image::Image;
use crate::log::{Entry, acknowledgements, parse};
use crate::mounted::{FileSystem, Mounted};
use crate::perform::perform;
use crate::stack::Recorder;
use crate::trial::{Bench, Failure};
use crate::workload::{Numbered, Promise, Step, promise};

/// Failing images that are kept of a file system: they are large, and much alike.
const KEPT_MAX: usize = 5;

/// A device's history: what it held, and everything it was asked to write.
#[derive(Debug)]
pub struct Recording {
    /// The file system on it.
    pub kind: FileSystem,
    /// What it held at the beginning.
    pub base: Image,
    /// The log's bytes.
    pub log: Vec<u8>,
    /// The log's entries.
    pub entries: Vec<Entry>,
}

/// What is tried, and how much of it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides what survives each cut.
    pub seed: u64,
    /// Images drawn for each crash point.
    pub variants: u32,
    /// Only one crash point in so many.
    pub every: usize,
    /// Cut only when so many steps are acknowledged.
    pub from: u64,
    /// Give up after so many failures.
    pub failures_max: usize,
    /// Where failing images are kept.
    pub keep: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Crash points tried.
    pub points: u64,
    /// Images tried.
    pub images: u64,
    /// Acknowledged packets that were looked for, summed over the images.
    pub checked: u64,
    /// Of these, how many were not found.
    pub lost: u64,
    /// The images that broke a promise.
    pub failures: Vec<Failure>,
    /// What the images took.
    pub took: Duration,
}

impl Recording {
    /// Takes what a recorder logged, over what its image held before.
    ///
    /// # Errors
    ///
    /// When the log makes no sense.
    pub fn new(kind: FileSystem, base: Image, log: Vec<u8>) -> Result<Recording, Fault> {
        let entries = parse(&log)?;
        Ok(Recording { kind, base, log, entries })
    }

    /// The image that a cut before entry `point` leaves.
    #[must_use]
    pub fn cut(&self, durable: &Durable, point: usize, seed: u64) -> Image {
        let doubt = in_doubt(&self.entries, point);
        debug_assert_eq!(durable.applied, doubt.start);
        let mut image = durable.image.clone();
        let doubtful = &self.entries[doubt];
        for (entry, fate) in doubtful.iter().zip(draw(doubtful, self.kind.pieces(), seed)) {
            image.apply(&self.log, entry, &fate);
        }
        image
    }
}

/// The part of a recording that has become durable; it only ever goes forward.
#[derive(Clone, Debug)]
pub struct Durable {
    image: Image,
    applied: usize,
}

impl Durable {
    /// Nothing of it yet.
    #[must_use]
    pub fn new(recording: &Recording) -> Durable {
        Durable { image: recording.base.clone(), applied: 0 }
    }

    /// Everything that is durable at a cut before entry `point`.
    pub fn advance(&mut self, recording: &Recording, point: usize) {
        let start = in_doubt(&recording.entries, point).start;
        for entry in &recording.entries[self.applied..start] {
            self.image.apply(&recording.log, entry, &crate::fate::Fate::Kept);
        }
        self.applied = start;
    }
}

/// Makes a file system, does the workload on it, and gives what its device saw, with the
/// acknowledgements in it: entry and number.
///
/// # Errors
///
/// When the harness fails, or the workload does even without a power cut.
pub fn record(
    folder: &Path,
    kind: FileSystem,
    steps: &[Step],
    all: &[Numbered],
    run: u64,
) -> Result<(Recording, Vec<(usize, u64)>), Fault> {
    let image = Recorder::image(folder);
    File::create(&image)?.set_len(kind.image_length())?;
    kind.make(&image)?;
    let base = load(&image)?;
    let recorder = Recorder::start(folder)?;
    let target = folder.join("recorded");
    fs::create_dir_all(&target)?;
    let mounted = Mounted::mount(kind, recorder.device(), &target)?;
    perform(mounted.path(), steps, all, run)?;
    mounted.unmount()?;
    let recording = Recording::new(kind, base, recorder.stop()?)?;
    let acknowledged = acknowledgements(&recording.log, &recording.entries, run);
    if acknowledged.len() != steps.len() + 1 {
        let (found, steps) = (acknowledged.len(), steps.len());
        return Err(format!("{found} acknowledgements in the log of {steps} steps").into());
    }
    Ok((recording, acknowledged))
}

/// Reads an image file.
fn load(path: &Path) -> Result<Image, Fault> {
    let mut file = File::open(path)?;
    let mut image = Image::default();
    let mut bytes = vec![0; 1 << 16];
    let mut at = 0;
    loop {
        let read = file.read(&mut bytes)?;
        if read == 0 {
            return Ok(image);
        }
        if bytes[..read].iter().any(|byte| *byte != 0) {
            image.write(at, &bytes[..read]);
        }
        at += read as u64;
    }
}

/// What must hold at a cut before entry `point`.
#[must_use]
pub fn promise_at(steps: &[Step], acknowledged: &[(usize, u64)], point: usize) -> Promise {
    let before = acknowledged.iter().rfind(|(entry, _)| *entry < point);
    promise(steps, before.map_or(0, |(_, step)| *step as usize))
}

/// Where the cutting begins.
#[must_use]
pub fn first_point(plan: &Plan, acknowledged: &[(usize, u64)]) -> usize {
    acknowledged.iter().find(|(_, step)| *step >= plan.from).map_or(0, |(entry, _)| entry + 1)
}

/// Tries one image and books what came of it; says whether to go on.
///
/// # Errors
///
/// When the harness itself fails.
pub fn book(
    bench: &Bench,
    plan: &Plan,
    image: &Image,
    promise: &Promise,
    all: &[Numbered],
    name: String,
    report: &mut Report,
) -> Result<bool, Fault> {
    let started = Instant::now();
    let verdict = bench.examine(image, promise, all)?;
    report.took += started.elapsed();
    report.images += 1;
    report.checked += promise.must;
    report.lost += verdict.lost;
    if !verdict.wrong.is_empty() {
        let text =
            format!("{name} (seed {}), {promise:?}:\n  {}", plan.seed, verdict.wrong.join("\n  "));
        let failure = Failure { name, text };
        if let Some(folder) = &plan.keep
            && report.failures.len() < KEPT_MAX
        {
            bench.keep(image, folder, &failure)?;
        }
        report.failures.push(failure);
    }
    Ok(report.failures.len() < plan.failures_max)
}

/// Tries every crash point from the first acknowledgement on.
///
/// # Errors
///
/// When the harness itself fails.
pub fn replay(
    bench: &Bench,
    plan: &Plan,
    recording: &Recording,
    acknowledged: &[(usize, u64)],
    (steps, all): (&[Step], &[Numbered]),
    report: &mut Report,
) -> Result<(), Fault> {
    let mut durable = Durable::new(recording);
    for point in (first_point(plan, acknowledged)..=recording.entries.len()).step_by(plan.every) {
        durable.advance(recording, point);
        report.points += 1;
        let promise = promise_at(steps, acknowledged, point);
        // Where nothing is in doubt, all draws are the same.
        let doubt = in_doubt(&recording.entries, point);
        let certain = recording.entries[doubt].iter().all(|entry| entry.data.is_empty());
        for variant in 0..if certain { 1 } else { plan.variants } {
            let image = recording.cut(&durable, point, seed_of(plan.seed, point, variant));
            let name = format!("{}-{point}-{variant}", bench.kind().name());
            if !book(bench, plan, &image, &promise, all, name, report)? {
                return Ok(());
            }
        }
    }
    Ok(())
}
