//! `tapstone-bench`: every figure that the store promises, measured in one run.
//!
//! Each is a ratio against a peer or against the disk's own limit, taken in the same run, or a time
//! that the promise itself names. Prints a table and writes the same as JSON.

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use clap::Parser;
use serde_json::{Value, json};
use tapstone::{OpenOptions, Selection, Store};
use tapstone_benches::large_store;
use tapstone_benches::workload::Workload;

/// Measures what the store promises.
#[derive(Debug, Parser)]
struct Args {
    /// Where captures and stores are made; they are removed afterwards
    #[arg(long, default_value = "benches/out")]
    folder: PathBuf,
    /// The tapstone command
    #[arg(long, default_value = "target/release/tapstone")]
    tapstone: PathBuf,
    /// Bytes of each capture that is imported
    #[arg(long, default_value_t = 1_000_000_000)]
    bytes: u64,
    /// Bytes of the store that is searched
    #[arg(long, default_value_t = 10_000_000_000)]
    store_bytes: u64,
    /// Where the JSON goes
    #[arg(long, default_value = "benches/out/bench.json")]
    json: PathBuf,
}

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A figure and the bound it must keep.
struct Figure {
    name: String,
    value: f64,
    bound: f64,
    at_most: bool,
    unit: &'static str,
}

#[derive(Default)]
struct Report {
    figures: Vec<Figure>,
}

impl Report {
    fn at_most(&mut self, name: impl Into<String>, value: f64, bound: f64, unit: &'static str) {
        self.figures.push(Figure { name: name.into(), value, bound, at_most: true, unit });
    }

    fn at_least(&mut self, name: impl Into<String>, value: f64, bound: f64, unit: &'static str) {
        self.figures.push(Figure { name: name.into(), value, bound, at_most: false, unit });
    }
}

impl Figure {
    fn is_kept(&self) -> bool {
        if self.at_most { self.value <= self.bound } else { self.value >= self.bound }
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    fs::create_dir_all(&args.folder)?;
    let mut report = Report::default();
    for (name, workload, cpu, index) in [
        ("7 packets a flow", Workload::short_flows(args.bytes, 1), 1.2, 1.5),
        ("30 packets a flow", Workload::long_flows(args.bytes, 1), 0.8, 0.6),
    ] {
        import(&args, name, workload, (cpu, index), &mut report)?;
    }
    let read = disk_read(&args.folder)?;
    search(&args, read, &mut report)?;
    print(&report);
    let figures: Vec<Value> = report
        .figures
        .iter()
        .map(|it| {
            json!({ "name": it.name, "value": it.value, "unit": it.unit, "bound": it.bound,
                    "kind": if it.at_most { "at most" } else { "at least" }, "kept": it.is_kept() })
        })
        .collect();
    let report = json!({ "disk_read_bytes_per_s": read, "figures": figures });
    fs::write(&args.json, serde_json::to_vec_pretty(&report)?)?;
    Ok(())
}

/// What a command took.
struct Taken {
    wall: f64,
    cpu: f64,
    resident_kib: f64,
}

/// Runs a command under GNU time.
fn timed(program: &Path, words: &[&str]) -> Result<Taken> {
    let output = Command::new("/usr/bin/time")
        .args(["-f", "%e %U %S %M"])
        .arg(program)
        .args(words)
        .stdout(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(format!("{} {words:?}: {text}", program.display()).into());
    }
    let last = text.lines().last().unwrap_or_default();
    let numbers: Vec<f64> = last.split(' ').map_while(|word| word.parse().ok()).collect();
    let [wall, user, system, resident_kib] = numbers[..] else {
        return Err(format!("/usr/bin/time said '{last}'").into());
    };
    Ok(Taken { wall, cpu: user + system, resident_kib })
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| "paths must be UTF-8".into())
}

/// Three times each, the best counts: what else the machine does only ever makes it slower.
fn best(mut run: impl FnMut() -> Result<Taken>) -> Result<Taken> {
    let mut taken: Vec<Taken> = (0..3).map(|_| run()).collect::<Result<_>>()?;
    taken.sort_by(|a, b| a.cpu.total_cmp(&b.cpu));
    Ok(taken.swap_remove(0))
}

fn import(
    args: &Args,
    name: &str,
    workload: Workload,
    (cpu_bound, index_bound): (f64, f64),
    report: &mut Report,
) -> Result<()> {
    let capture = args.folder.join("capture.pcap");
    let store = args.folder.join("store");
    let made = workload.write(&mut File::create(&capture)?)?;
    // Once through, so that it is in the page cache.
    std::io::copy(&mut File::open(&capture)?, &mut std::io::sink())?;
    let words = ["import", "--store", text(&store)?, text(&capture)?];
    let ours = best(|| {
        fs::remove_dir_all(&store).or_else(missing_is_fine)?;
        timed(&args.tapstone, &words)
    })?;
    let copy = args.folder.join("copy.pcap");
    let peer_words = ["-F", "pcap", text(&capture)?, text(&copy)?];
    let peer = best(|| timed(Path::new("/usr/bin/editcap"), &peer_words))?;
    let info = Store::open(&store, OpenOptions::default())?.info()?;
    let share = |bytes: u64| bytes as f64 / info.packet_bytes as f64;
    let per_packet = ours.cpu * 1e6 / made.packets as f64;
    report.at_most(format!("import, {name}: CPU a packet"), per_packet, cpu_bound, "us");
    report.at_most(format!("import, {name}: wall / editcap"), ours.wall / peer.wall, 2.5, "x");
    report.at_most(format!("import, {name}: memory"), ours.resident_kib / 1024.0, 512.0, "MiB");
    let index = share(info.index_bytes) * 100.0;
    report.at_most(format!("import, {name}: index"), index, index_bound, "%");
    let whole = share(info.stored_bytes + info.index_bytes);
    report.at_most(format!("import, {name}: store / packet bytes"), whole, 1.02, "x");
    for path in [capture, copy] {
        fs::remove_file(path)?;
    }
    Ok(fs::remove_dir_all(store)?)
}

fn missing_is_fine(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// What fio reads in sequence with direct I/O, in bytes a second.
fn disk_read(folder: &Path) -> Result<f64> {
    let file = folder.join("fio.data");
    let output = Command::new("fio")
        .args(["--name=read", "--rw=read", "--bs=1M", "--iodepth=4", "--ioengine=io_uring"])
        .args(["--direct=1", "--size=4G", "--output-format=json"])
        .arg(format!("--filename={}", file.display()))
        .output()?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    fs::remove_file(file)?;
    report["jobs"][0]["read"]["bw_bytes"].as_f64().ok_or_else(|| "fio gave no figure".into())
}

fn search(args: &Args, disk_read: f64, report: &mut Report) -> Result<()> {
    let folder = args.folder.join("large");
    let (bytes, needles) = large_store::make(&folder, args.store_bytes, 30, 1)?;
    let options = OpenOptions::default();
    let store = Store::open(&folder, options)?;
    let segments = store.info()?.segments;
    let mut times = Vec::new();
    for needle in &needles {
        let selection = Selection { filter: needle.filter(), ..Selection::default() };
        let started = Instant::now();
        let found = store.query(&selection)?.count() as u64;
        times.push(started.elapsed().as_secs_f64() * 1000.0);
        if found < needle.packets {
            return Err(format!("{needle:?}: {found} packets found").into());
        }
    }
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    report.at_least("the store that is searched: segments", segments as f64, 30.0, "");
    report.at_most("needle, open process: median", median, 15.0, "ms");

    let scan = Selection { filter: "tcp[13] & 4 != 0".to_owned(), ..Selection::default() };
    let started = Instant::now();
    store.count(&scan)?;
    let rate = bytes as f64 / started.elapsed().as_secs_f64();
    report.at_least("scan of everything / fio read", rate / disk_read, 0.5, "x");
    drop(store);

    let mut cold = Vec::new();
    for needle in needles.iter().take(5) {
        // Only root may; elsewhere the figure is that of a warm cache.
        fs::write("/proc/sys/vm/drop_caches", "3").ok();
        let filter = needle.filter();
        let words = ["query", "--store", text(&folder)?, "--count", &filter];
        let started = Instant::now();
        timed(&args.tapstone, &words)?;
        cold.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    cold.sort_by(f64::total_cmp);
    report.at_most("needle, whole command, cold: median", cold[cold.len() / 2], 120.0, "ms");

    let out = args.folder.join("export.pcapng");
    let words = ["query", "--store", text(&folder)?, "-w", text(&out)?];
    let taken = timed(&args.tapstone, &words)?;
    report.at_least("export / fio read", bytes as f64 / taken.wall / disk_read, 0.4, "x");
    report.at_most("export: memory", taken.resident_kib / 1024.0, 512.0, "MiB");
    fs::remove_file(out)?;
    Ok(fs::remove_dir_all(folder)?)
}

#[expect(clippy::print_stdout, reason = "the table is what the program is for")]
fn print(report: &Report) {
    println!("{:<48} {:>10}    {:>10}", "figure", "measured", "promised");
    for figure in &report.figures {
        let relation = if figure.at_most { "<=" } else { ">=" };
        let kept = if figure.is_kept() { "" } else { "   NOT KEPT" };
        println!(
            "{:<48} {:>10.3} {relation} {:>10.3} {}{kept}",
            figure.name, figure.value, figure.bound, figure.unit
        );
    }
}
