//! Cutting the power a second time, while the store recovers from the first.

use std::fs::{self, File};
use std::path::Path;

use tapstone::Store;
use tapstone_benches::random::Random;

use crate::Fault;
use crate::fate::seed_of;
use crate::image::Image;
use crate::mounted::Mounted;
use crate::perform::{options, store_folder};
use crate::replay::{Durable, Plan, Recording, Report, book, first_point, promise_at};
use crate::stack::Recorder;
use crate::trial::Bench;
use crate::workload::{Numbered, Step};

/// Cuts that are tried of each recovery, evenly over its entries.
const CUTS: usize = 25;

/// Cuts at `firsts` points drawn from a recording, recovers under watch, and cuts each recovery at
/// some of its own writes.
///
/// # Errors
///
/// When the harness itself fails.
pub fn replay_again(
    (bench, plan, folder): (&Bench, &Plan, &Path),
    firsts: usize,
    recording: &Recording,
    acknowledged: &[(usize, u64)],
    (steps, all): (&[Step], &[Numbered]),
    report: &mut Report,
) -> Result<(), Fault> {
    let start = first_point(plan, acknowledged);
    let mut random = Random::new(plan.seed);
    let span = (recording.entries.len() + 1 - start) as u64;
    let mut points: Vec<usize> = (0..firsts).map(|_| start + random.below(span) as usize).collect();
    points.sort_unstable();
    let mut durable = Durable::new(recording);
    for point in points {
        durable.advance(recording, point);
        let image = recording.cut(&durable, point, seed_of(plan.seed, point, 0));
        let promise = promise_at(steps, acknowledged, point);
        let recovery = record_recovery(bench, folder, image)?;
        let mut durable = Durable::new(&recovery);
        let step = recovery.entries.len().div_ceil(CUTS).max(1);
        let begin = random.below(step as u64) as usize;
        for cut in (begin..=recovery.entries.len()).step_by(step) {
            durable.advance(&recovery, cut);
            report.points += 1;
            let image = recovery.cut(&durable, cut, seed_of(plan.seed, cut, point as u32));
            let name = format!("{}-{point}-0-again-{cut}", bench.kind().name());
            if !book(bench, plan, &image, &promise, all, name, report)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Opens and closes the store of an image, and gives what its device saw. Whether the store is as
/// promised is not asked here: the same image is tried without a second cut too.
fn record_recovery(bench: &Bench, folder: &Path, image: Image) -> Result<Recording, Fault> {
    let kind = bench.kind();
    image.store(&File::create(Recorder::image(folder))?, kind.image_length())?;
    let recorder = Recorder::start(folder)?;
    let target = folder.join("recorded");
    fs::create_dir_all(&target)?;
    // What will not mount or open has been told already; its log is as good as any.
    if let Ok(mounted) = Mounted::mount(kind, recorder.device(), &target) {
        if let Ok(store) = Store::open(&store_folder(mounted.path()), options()) {
            store.close()?;
        }
        mounted.unmount()?;
    }
    Recording::new(kind, image, recorder.stop()?)
}
