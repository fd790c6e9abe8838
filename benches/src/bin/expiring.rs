//! `tapstone-expiring`: segments are let go on a small file system while packets come, and what the
//! process holds meanwhile is shown. Nothing of it may grow. Needs root.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use tapstone::{Capture, CaptureOptions, Free, LiveSource, OpenOptions, Retention, Sizes, Store};
use tapstone_benches::disk::Disk;
use tapstone_benches::network::Network;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Where the datagrams go.
const PORT: u16 = 9000;
/// How often segments are let go.
const EXPIRE: Duration = Duration::from_millis(100);
/// Segments so small that some are sealed every second.
const SIZES: Sizes = Sizes {
    block: 64 << 10,
    unit: 256 << 10,
    segment: 64 << 10,
    flows: 1 << 19,
    age: Duration::from_secs(10),
};

/// Lets segments go while packets come.
#[derive(Debug, Parser)]
struct Args {
    /// Where the file system is made; removed afterwards
    #[arg(long, default_value = "benches/out")]
    folder: PathBuf,
    /// MiB of the file system, half of which is kept free
    #[arg(long, default_value_t = 64)]
    size: u64,
    /// Segments that go
    #[arg(long, default_value_t = 1000)]
    segments: u64,
    /// Packets a second
    #[arg(long, default_value_t = 50_000)]
    rate: u64,
}

#[expect(clippy::print_stdout, reason = "the table is what the program is for")]
fn main() -> Result<()> {
    let args = Args::parse();
    fs::create_dir_all(&args.folder)?;
    let network = Network::new("expiring")?;
    let disk = Disk::new(&args.folder, args.size)?;
    let (store, capture) = record(&network, &disk.place().join("store"))?;
    println!(
        "{:>8} {:>8} {:>12} {:>8} {:>9} {:>10} {:>8}",
        "expired", "segments", "descriptors", "rss MiB", "free MiB", "received", "lost"
    );
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| send(&network, args.rate, &enough));
        let expired = expire(&store, &capture, args.segments);
        enough.store(true, Ordering::Relaxed);
        let sent = sending.join().expect("the sender does not panic");
        expired.and(sent)
    })?;
    for counts in capture.stop()? {
        let lost = counts.lost();
        println!("{} received, {} stored, {lost} lost", counts.received, counts.stored);
    }
    store.close()?;
    Ok(())
}

fn record(network: &Network, folder: &Path) -> Result<(Store, Capture)> {
    let options =
        CaptureOptions { filter: format!("udp port {PORT}"), ..CaptureOptions::new("hears") };
    let source = network.within(move || LiveSource::open(&options, 1).map_err(io::Error::other))?;
    let options = OpenOptions { create: true, shards: 1, sizes: SIZES, rebuild: false };
    let store = Store::open(folder, options)?;
    let capture = store.capture(vec![source]);
    Ok((store, capture))
}

fn send(network: &Network, rate: u64, enough: &AtomicBool) -> Result<()> {
    let mut next = 0;
    while !enough.load(Ordering::Relaxed) {
        network.send(PORT, next..next + rate, 1000, Some(rate))?;
        next += rate;
    }
    Ok(())
}

/// Lets segments go until so many are gone, and shows ten times what there is.
#[expect(clippy::print_stdout, reason = "the table is what the program is for")]
fn expire(store: &Store, capture: &Capture, segments: u64) -> Result<()> {
    let retention = Retention { keep_free: Some(Free::Percent(50)), ..Retention::default() };
    let (mut gone, mut shown) = (0, 0);
    while gone < segments {
        std::thread::sleep(EXPIRE);
        gone += store.expire(&retention)?.gone.len() as u64;
        if gone * 10 / segments > shown {
            shown = gone * 10 / segments;
            let (info, counts) = (store.info()?, &capture.counts()[0]);
            let free = info.space.map_or(0, |space| space.free) >> 20;
            let (descriptors, resident) = (fs::read_dir("/proc/self/fd")?.count(), resident_mib()?);
            println!(
                "{gone:>8} {:>8} {descriptors:>12} {resident:>8} {free:>9} {:>10} {:>8}",
                info.segments,
                counts.received,
                counts.lost()
            );
        }
    }
    Ok(())
}

fn resident_mib() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()).unwrap_or("0");
    Ok(kib.parse::<u64>()? / 1024)
}
