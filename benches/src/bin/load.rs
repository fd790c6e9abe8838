//! `tapstone-load`: a server under load, by many clients at once while an import runs through it.
//!
//! The store is made beside it, and so is the measure: what one client alone and the embedded store
//! do in the same run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use tapstone::{OpenOptions, Selection, Store};
use tapstone_benches::large_store;
use tapstone_benches::served::{Result, Server, ask, quantiles, selection};
use tapstone_benches::workload::{Needle, Workload};
use tapstone_client::{Address, Client, Credentials, proto};

/// Measures a server under load.
#[derive(Debug, Parser)]
struct Args {
    /// Where captures and stores are made; they are removed afterwards
    #[arg(long, default_value = "benches/out")]
    folder: PathBuf,
    /// The tapstone command
    #[arg(long, default_value = "target/release/tapstone")]
    tapstone: PathBuf,
    /// Bytes of the store
    #[arg(long, default_value_t = 10_000_000_000)]
    store_bytes: u64,
    /// Bytes of the capture that is taken in meanwhile
    #[arg(long, default_value_t = 4_000_000_000)]
    import_bytes: u64,
    /// How long, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Clients: one in 16 exports, one in 8 counts, the others look for needles
    #[arg(long, default_value_t = 64)]
    clients: usize,
}

/// Between an answer and the next question for a needle.
const THINKING: Duration = Duration::from_millis(500);

/// What the clients saw.
#[derive(Default)]
struct Seen {
    over: AtomicBool,
    errors: AtomicU64,
    exported: AtomicU64,
    counts: AtomicU64,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the table is what the program is for")]
async fn main() -> Result<()> {
    let args = Args::parse();
    fs::create_dir_all(&args.folder)?;
    let (store, capture) = (args.folder.join("load"), args.folder.join("load.pcap"));
    let (bytes, needles) = large_store::make(&store, args.store_bytes, 10, 3)?;
    Workload { start_secs: 2_000_000_000, ..Workload::short_flows(args.import_bytes, 7) }
        .write(&mut File::create(&capture)?)?;

    let alone = import(&args.tapstone, &args.folder.join("alone"), &capture)?;
    fs::remove_dir_all(args.folder.join("alone"))?;
    let embedded = export_embedded(&store, bytes)?;

    let server = Server::start(&args.tapstone, &store, &[])?;
    let address = Address::Unix(store.join("socket"));
    let nobody = Credentials::default();
    let connect = || Client::connect(&address, &nobody);
    let client = connect().await?;
    let began = Instant::now();
    let (exported, _) = ask(&client, "").await?;
    let one_client = exported as f64 / began.elapsed().as_secs_f64();
    println!("export, one client / embedded   {:.2} x (promised 0.8)", one_client / embedded);
    let mut first: Vec<f64> = Vec::new();
    for needle in &needles {
        first.push(ask(&client, &needle.filter()).await?.1);
    }
    println!("needle, first packet, idle      {} (p50 promised 10 ms)", quantiles(&mut first));

    let seen = Arc::new(Seen::default());
    let mut tasks = Vec::new();
    for number in 0..args.clients {
        let (client, seen, needles) = (connect().await?, Arc::clone(&seen), needles.clone());
        tasks.push(tokio::spawn(drive(number, client, seen, needles)));
    }
    let importing = {
        let (tapstone, store, capture) = (args.tapstone.clone(), store.clone(), capture.clone());
        tokio::task::spawn_blocking(move || import(&tapstone, &store, &capture))
    };
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    let resident = server.resident_mib()?;
    let imported = if importing.is_finished() { Some(importing.await??) } else { None };
    seen.over.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await?);
    }
    println!(
        "needle, {} clients              {} (p50 20 ms, p99 200 ms)",
        args.clients,
        quantiles(&mut times)
    );
    println!(
        "needles {}, counts {}, exported {:.1} GB, errors {}",
        times.len(),
        seen.counts.load(Ordering::Relaxed),
        seen.exported.load(Ordering::Relaxed) as f64 / 1e9,
        seen.errors.load(Ordering::Relaxed),
    );
    match imported {
        Some(imported) => {
            println!("import / alone                  {:.2} x (promised 0.5)", alone / imported)
        }
        None => println!(
            "import / alone                  below {:.2} x: it is not done",
            alone / args.seconds as f64
        ),
    }
    println!("server memory                   {resident:.0} MiB");
    drop(server);
    fs::remove_file(capture)?;
    Ok(fs::remove_dir_all(store)?)
}

/// One client's life.
async fn drive(number: usize, client: Client, seen: Arc<Seen>, needles: Vec<Needle>) -> Vec<f64> {
    let mut times = Vec::new();
    let mut turn = number;
    while !seen.over.load(Ordering::Relaxed) {
        turn += 1;
        let done = if number.is_multiple_of(16) {
            let answer = ask(&client, "udp").await;
            answer.map(|(bytes, _)| {
                seen.exported.fetch_add(bytes, Ordering::Relaxed);
            })
        } else if number % 8 == 1 {
            let selection = selection("tcp[13] & 4 != 0 and net 10.0.0.0/24");
            let answer = client.tapstone().count(proto::CountRequest { selection }).await;
            answer.map_err(Into::into).map(|_| {
                seen.counts.fetch_add(1, Ordering::Relaxed);
            })
        } else {
            // Whoever got an answer looks at it first.
            tokio::time::sleep(THINKING).await;
            let filter = needles[turn % needles.len()].filter();
            let answer = ask(&client, &filter).await;
            answer.map(|(_, millis)| times.push(millis))
        };
        if done.is_err() {
            seen.errors.fetch_add(1, Ordering::Relaxed);
        }
    }
    times
}

/// Seconds that an import takes.
fn import(tapstone: &Path, store: &Path, capture: &Path) -> Result<f64> {
    let began = Instant::now();
    let status =
        Command::new(tapstone).arg("import").arg("--store").arg(store).arg(capture).status()?;
    if status.success() {
        Ok(began.elapsed().as_secs_f64())
    } else {
        Err("the import failed".into())
    }
}

/// Bytes a second of a capture that the embedded store makes.
fn export_embedded(store: &Path, bytes: u64) -> Result<f64> {
    use tapstone_packet::capture_file::PcapngWriter;
    let store = Store::open(store, OpenOptions::default())?;
    let began = Instant::now();
    let (mut writer, mut out, mut written) = (PcapngWriter::new("load"), Vec::new(), 0);
    for packet in store.query(&Selection::default())? {
        let (data, length) = (packet.data(), packet.original_len());
        writer.packet(packet.interface(), packet.time(), data, length, packet.options(), &mut out);
        if out.len() > 512 << 10 {
            written += out.len() as u64;
            out.clear();
        }
    }
    written += out.len() as u64;
    if written < bytes {
        return Err("the export is too short".into());
    }
    Ok(written as f64 / began.elapsed().as_secs_f64())
}
