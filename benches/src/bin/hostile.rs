//! `tapstone-hostile`: what good clients see while others do harm to their server.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Parser;
use tapstone_benches::hostile::{self, Harm};
use tapstone_benches::large_store;
use tapstone_benches::served::{Result, Server, ask, known_by_token, quantile, quantiles};
use tapstone_benches::workload::Needle;
use tapstone_client::{Address, Client, Credentials};

/// Measures a server that is attacked.
#[derive(Debug, Parser)]
struct Args {
    /// Where the store is made; it is removed afterwards
    #[arg(long, default_value = "benches/out")]
    folder: PathBuf,
    /// The tapstone command
    #[arg(long, default_value = "target/release/tapstone")]
    tapstone: PathBuf,
    /// Bytes of the store
    #[arg(long, default_value_t = 1_000_000_000)]
    store_bytes: u64,
    /// How long each part takes, in seconds
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Streams that ask for everything and read nothing
    #[arg(long, default_value_t = 10_000)]
    streams: usize,
}

/// Streams of one connection; the server takes 128.
const OF_CONNECTION: usize = 100;
/// Clients that mean no harm.
const GOOD: usize = 8;
/// Between an answer and the next question of theirs.
const THINKING: Duration = Duration::from_millis(20);
/// Where the server is reached by those who are not on this machine's side.
const ADDRESS: &str = "127.0.0.1:17373";

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the table is what the program is for")]
async fn main() -> Result<()> {
    let args = Args::parse();
    fs::create_dir_all(&args.folder)?;
    let store = args.folder.join("hostile");
    let (_, needles) = large_store::make(&store, args.store_bytes, 2, 5)?;
    let (config, token) = known_by_token(&args.tapstone, &args.folder)?;
    let words = ["--listen", ADDRESS, "--config", &config];
    let server = Server::start(&args.tapstone, &store, &words)?;
    let socket = Address::Unix(store.join("socket"));
    let time = Duration::from_secs(args.seconds);

    let mut quiet = good_clients(&socket, &needles, time).await?;
    println!("needles, nobody else       {}", quantiles(&mut quiet));
    let harm = Arc::new(Harm::default());
    let streams = args.streams;
    let attack = tokio::task::spawn_blocking({
        let harm = Arc::clone(&harm);
        move || attack(&token, streams, &harm)
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut attacked = good_clients(&socket, &needles, time).await?;
    let resident = server.resident_mib()?;
    harm.over.store(true, Ordering::Relaxed);
    attack.await??;
    println!("needles, under attack      {}", quantiles(&mut attacked));
    println!(
        "p99, attacked / quiet      {:.2} x (promised 3)",
        quantile(&mut attacked, 0.99) / quantile(&mut quiet, 0.99)
    );
    println!(
        "attack                     {} streams, {} connections, {} MB",
        harm.streams.load(Ordering::Relaxed),
        harm.connections.load(Ordering::Relaxed),
        harm.bytes.load(Ordering::Relaxed) / 1_000_000,
    );
    println!("server memory              {resident:.0} MiB");
    let mut after = good_clients(&socket, &needles, time / 4).await?;
    println!("needles, afterwards        {}", quantiles(&mut after));
    drop(server);
    Ok(fs::remove_dir_all(store)?)
}

/// Milliseconds to the first packet of every needle that good clients found.
async fn good_clients(socket: &Address, needles: &[Needle], time: Duration) -> Result<Vec<f64>> {
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..GOOD {
        let client = Client::connect(socket, &Credentials::default()).await?;
        let needles = needles.to_vec();
        tasks.spawn(async move {
            let mut times = Vec::new();
            while began.elapsed() < time {
                tokio::time::sleep(THINKING).await;
                let needle = &needles[(number + times.len()) % needles.len()];
                times.push(ask(&client, &needle.filter()).await?.1);
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(of_one) = tasks.join_next().await {
        times.extend(of_one??);
    }
    Ok(times)
}

/// Everything at once, on a thread of its own so that it does not slow the measure by more than
/// it must.
#[tokio::main(flavor = "current_thread")]
async fn attack(token: &str, streams: usize, harm: &Arc<Harm>) -> Result<()> {
    let address: SocketAddr = ADDRESS.parse()?;
    let mut tasks = tokio::task::JoinSet::new();
    let known = Credentials { token: Some(token.to_owned()), ..Credentials::default() };
    let place: Address = format!("http://{ADDRESS}").parse()?;
    for _ in 0..streams.div_ceil(OF_CONNECTION) {
        let client = Client::connect(&place, &known).await?;
        tasks.spawn(hostile::hold_streams(client, OF_CONNECTION, Arc::clone(harm)));
    }
    for number in 0..10 {
        let client = Client::connect(&place, &known).await?;
        tasks.spawn(hostile::read_slowly(client, Arc::clone(harm)));
        tasks.spawn(hostile::flood_with_headers(address, Arc::clone(harm)));
        tasks.spawn(hostile::reset_rapidly(address, Arc::clone(harm)));
        tasks.spawn(hostile::send_garbage(address, number, Arc::clone(harm)));
    }
    while !harm.over.load(Ordering::Relaxed) {
        tokio::time::sleep(THINKING).await;
    }
    // Some of them wait for an answer that does not come.
    tasks.shutdown().await;
    Ok(())
}
