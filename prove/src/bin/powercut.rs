//! `tapstone-powercut`: cuts the power at every write of a workload, and looks for what was
//! acknowledged. Needs root and the programs that `scripts/powercut` installs.
//!
//! Prints a line a file system, and every image that broke a promise; ends with 1 then, and with 2
//! when it could not do its work.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tapstone_prove::again::replay_again;
use tapstone_prove::mounted::FileSystem;
use tapstone_prove::replay::{Plan, Report, record, replay};
use tapstone_prove::trial::Bench;
use tapstone_prove::workload::{STEPS, all_packets};
use tapstone_prove::{Broken, Fault};

/// Cuts the power at every write of a workload.
#[derive(Debug, Parser)]
struct Args {
    /// Where images and mounts are made: an existing folder, best in memory
    #[arg(long)]
    folder: PathBuf,
    /// The file systems to try
    #[arg(long = "fs", value_delimiter = ',', default_value = "ext4,xfs")]
    file_systems: Vec<Kind>,
    /// Decides what survives each cut
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Images drawn for each crash point
    #[arg(long, default_value_t = 1)]
    variants: u32,
    /// Try one crash point in so many
    #[arg(long, default_value_t = 1)]
    every: usize,
    /// Crash points whose recovery is cut again
    #[arg(long, default_value_t = 20)]
    again: usize,
    /// Cut only when so many steps of the workload are acknowledged
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Give up a file system after so many failures
    #[arg(long, default_value_t = 100)]
    failures: usize,
    /// Where images that fail are kept
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// Failures that are told of one file system.
const TOLD_MAX: usize = 5;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Ext4,
    Xfs,
}

impl From<Kind> for FileSystem {
    fn from(kind: Kind) -> FileSystem {
        match kind {
            Kind::Ext4 => FileSystem::Ext4,
            Kind::Xfs => FileSystem::Xfs,
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) if error.is::<Broken>() => {
            writeln!(std::io::stdout(), "FAILED without a power cut: {error}").ok();
            ExitCode::from(1)
        }
        Err(error) => {
            writeln!(std::io::stderr(), "powercut: {error}").ok();
            ExitCode::from(2)
        }
    }
}

/// Says whether every promise was kept. File systems are tried beside each other: each waits for its
/// mounts most of the time.
fn run(args: &Args) -> Result<bool, Fault> {
    allow_many_files();
    let tried: Vec<_> = std::thread::scope(|scope| {
        let tries = args.file_systems.iter().map(|kind| {
            let file_system = FileSystem::from(*kind);
            (file_system, scope.spawn(move || try_on(file_system, args)))
        });
        let tries: Vec<_> = tries.collect();
        tries.into_iter().map(|(kind, it)| (kind, it.join())).collect()
    });
    let mut kept = true;
    for (kind, tried) in tried {
        let (report, recording) = tried.unwrap_or_else(|it| std::panic::resume_unwind(it))?;
        kept &= report.failures.is_empty();
        let mut out = std::io::stdout().lock();
        for failure in report.failures.iter().take(TOLD_MAX) {
            writeln!(out, "FAILED {}", failure.text)?;
        }
        writeln!(out, "{}", line(kind, args.seed, &report, recording))?;
    }
    Ok(kept)
}

fn try_on(kind: FileSystem, args: &Args) -> Result<(Report, Duration), Fault> {
    let folder = args.folder.join(kind.name());
    fs::create_dir_all(&folder)?;
    let (all, run) = (all_packets(STEPS), u64::from(std::process::id()));
    let started = Instant::now();
    let (recording, acknowledged) = record(&folder, kind, STEPS, &all, run)?;
    let took = started.elapsed();
    let bench = Bench::new(&folder, kind)?;
    let plan = Plan {
        seed: args.seed,
        variants: args.variants,
        every: args.every.max(1),
        from: args.from,
        failures_max: args.failures.max(1),
        keep: args.keep.clone(),
    };
    let mut report = Report::default();
    let workload = (STEPS, &all[..]);
    replay(&bench, &plan, &recording, &acknowledged, workload, &mut report)?;
    if report.failures.len() < plan.failures_max {
        let places = (&bench, &plan, &*folder);
        replay_again(places, args.again, &recording, &acknowledged, workload, &mut report)?;
    }
    Ok((report, took))
}

fn line(kind: FileSystem, seed: u64, report: &Report, recording: Duration) -> String {
    let each = report.took.as_secs_f64() * 1000.0 / report.images.max(1) as f64;
    format!(
        "{}: {} crash points, {} images, {} acknowledged packets looked for, {} lost, {} failed, \
         {each:.1} ms an image, {:.1} s to record, seed {seed}",
        kind.name(),
        report.points,
        report.images,
        report.checked,
        report.lost,
        report.failures.len(),
        recording.as_secs_f64(),
    )
}

/// Every store that was opened leaves a descriptor of glommio's behind in the process.
fn allow_many_files() {
    let many = Some(1 << 20);
    if setrlimit(Resource::Nofile, Rlimit { current: many, maximum: many }).is_err() {
        let limit = getrlimit(Resource::Nofile);
        let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
        setrlimit(Resource::Nofile, most).ok();
    }
}
