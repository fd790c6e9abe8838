//! `tapstone-recovery`: kills an import at several sizes of a store, and measures how long it takes
//! until the next packet is accepted, a query is answered, and every split is there.
//!
//! Ends with 1 when the next packet took longer than it may.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use clap::Parser;
use tapstone::{ImportOptions, OpenOptions, Selection, Store};
use tapstone_benches::workload::Workload;
use tapstone_prove::Fault;
use tapstone_prove::workload::{STEPS, all_packets, capture};

/// How long it may take until the next packet is accepted.
const FIRST_PACKET_MAX: Duration = Duration::from_secs(1);

/// Kills an import, and measures how long the way back takes.
#[derive(Debug, Parser)]
struct Args {
    /// Where the store is made
    #[arg(long)]
    folder: PathBuf,
    /// Gigabytes of segments at which it is killed
    #[arg(long, value_delimiter = ',', default_value = "1,10,30")]
    sizes: Vec<u64>,
    /// Import until killed
    #[arg(long, hide = true)]
    grow: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = if args.grow { grow(&args.folder).map(|()| true) } else { measure(&args) };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            writeln!(io::stderr(), "recovery: {error}").ok();
            ExitCode::from(2)
        }
    }
}

/// Imports traffic without end.
fn grow(folder: &Path) -> Result<(), Fault> {
    let store = Store::open(folder, OpenOptions { create: true, ..OpenOptions::default() })?;
    let (source, mut traffic) = io::pipe()?;
    let seed = stored(folder)?;
    spawn(move || Workload::short_flows(u64::MAX, seed).write(&mut traffic));
    store.import(source, ImportOptions { name: "traffic", ..ImportOptions::default() })?;
    Ok(())
}

/// Bytes of a store's segments.
fn stored(folder: &Path) -> io::Result<u64> {
    let segments = match fs::read_dir(folder.join("segments")) {
        Ok(segments) => segments,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    segments.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

fn measure(args: &Args) -> Result<bool, Fault> {
    let folder = args.folder.join("recovery");
    if folder.try_exists()? {
        fs::remove_dir_all(&folder)?;
    }
    let mut kept = true;
    for (number, size) in args.sizes.iter().enumerate() {
        let mut import = Command::new(std::env::current_exe()?)
            .args(["--grow", "--folder"])
            .arg(&folder)
            .spawn()?;
        while stored(&folder)? < size * 1_000_000_000 {
            sleep(Duration::from_millis(20));
            if let Some(status) = import.try_wait()? {
                return Err(format!("the import ended by itself: {status}").into());
            }
        }
        import.kill()?;
        import.wait()?;
        kept &= come_back(&folder, number)?;
    }
    fs::remove_dir_all(&folder)?;
    Ok(kept)
}

/// Opens the store as after a restart of the machine, with nothing of it in memory.
fn come_back(folder: &Path, number: usize) -> Result<bool, Fault> {
    let size = stored(folder)?;
    // Where that is not allowed, what is in memory stays there.
    fs::write("/proc/sys/vm/drop_caches", "3").ok();
    let began = Instant::now();
    let store = Store::open(folder, OpenOptions::default())?;
    let opened = began.elapsed();
    let packet = &all_packets(STEPS)[number..=number];
    let options = ImportOptions { name: "first", ..ImportOptions::default() };
    store.import(&capture(packet)[..], options)?;
    let accepted = began.elapsed();
    let asked = Instant::now();
    let filter = "host 10.0.0.77".to_owned();
    let found = store.count(&Selection { filter, ..Selection::default() })?;
    let answered = asked.elapsed();
    store.wait_until_indexed();
    let indexed = began.elapsed();
    let packets = store.info()?.packets;
    store.close()?;
    writeln!(
        io::stdout(),
        "{:.1} GB, {packets} packets: open after {:.2} s, a packet accepted after {:.2} s, a query \
         answered in {:.2} s ({} packets), all splits there after {:.1} s",
        size as f64 / 1e9,
        opened.as_secs_f64(),
        accepted.as_secs_f64(),
        answered.as_secs_f64(),
        found.packets,
        indexed.as_secs_f64(),
    )?;
    Ok(accepted <= FIRST_PACKET_MAX && found.completeness.is_complete())
}
