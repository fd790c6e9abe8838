//! `tapstone-live`: recording live packets, beside tcpdump, dumpcap, netsniff-ng and stenotype.
//!
//! All record the same traffic on the same machine, one after the other: numbered datagrams through
//! a pair of interfaces in a network namespace. Needs root.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::Value;
use tapstone::{OpenOptions, Selection, Store};
use tapstone_benches::network::{HEADERS, Network};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Where the datagrams go.
const PORT: u16 = 9000;

/// Records live packets, beside others.
#[derive(Debug, Parser)]
struct Args {
    /// Where is recorded to; removed afterwards
    #[arg(long, default_value = "benches/out")]
    folder: PathBuf,
    /// The tapstone command
    #[arg(long, default_value = "target/release/tapstone")]
    tapstone: PathBuf,
    /// Seconds that each rate is tried for
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Packets a second at which the time of the processor is taken
    #[arg(long, default_value_t = 100_000)]
    rate: u64,
    /// Packets a second that are tried one after the other until some are lost
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "100000,150000,200000,250000,300000,350000,400000,500000,600000"
    )]
    rates: Vec<u64>,
    /// Bytes of the frames
    #[arg(long, value_delimiter = ',', default_value = "64,520,1500")]
    sizes: Vec<usize>,
}

/// Somebody who records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recorder {
    Tapstone,
    Tcpdump,
    Dumpcap,
    NetsniffNg,
    Stenotype,
}

impl Recorder {
    const ALL: [Recorder; 5] = [
        Recorder::Tapstone,
        Recorder::Tcpdump,
        Recorder::Dumpcap,
        Recorder::NetsniffNg,
        Recorder::Stenotype,
    ];

    fn name(self) -> &'static str {
        match self {
            Recorder::Tapstone => "tapstone",
            Recorder::Tcpdump => "tcpdump",
            Recorder::Dumpcap => "dumpcap",
            Recorder::NetsniffNg => "netsniff-ng",
            Recorder::Stenotype => "stenotype",
        }
    }

    /// The command that records; all have 64 MiB for packets that wait.
    fn command(self, network: &Network, args: &Args, out: &Path) -> Command {
        let to = |name: &str| out.join(name).display().to_string();
        match self {
            Recorder::Tapstone => {
                let mut command = network.command(&args.tapstone);
                command.args(["capture", "--json", "--shards", "1", "-i", "hears", "--store"]);
                command.arg(out.join("store"));
                command
            }
            Recorder::Tcpdump => {
                let mut command = network.command("tcpdump");
                command.args(["-n", "-i", "hears", "-B", "65536", "-Z", "root", "-w", &to("pcap")]);
                command
            }
            Recorder::Dumpcap => {
                let mut command = network.command("dumpcap");
                command.args(["-q", "-i", "hears", "-B", "64", "-w", &to("pcapng")]);
                command
            }
            Recorder::NetsniffNg => {
                let mut command = network.command("netsniff-ng");
                command.args(["--silent", "--in", "hears", "--ring-size", "64MiB", "--out"]);
                command.arg(to("pcap"));
                command
            }
            Recorder::Stenotype => {
                fs::create_dir_all(out.join("PKT0")).ok();
                fs::create_dir_all(out.join("IDX0")).ok();
                let mut command = network.command("stenotype");
                command.args(["--iface=hears", "--threads=1", "--no_watchdogs", "--seccomp=none"]);
                command.args(["--blocks=128", "--uid=root", "--gid=root", "--stats_sec=1", "-v"]);
                command.arg(format!("--dir={}", out.display()));
                command
            }
        }
    }

    /// Packets to the port that were recorded, by what it said or left.
    fn recorded(self, out: &Path, said: &str) -> Result<u64> {
        match self {
            Recorder::Tapstone => {
                let report: Value = serde_json::from_str(said)?;
                let count = |name: &str| report[0][name].as_u64().unwrap_or(0);
                let lost = report[0]["lost"].as_object().into_iter().flatten();
                let lost: u64 = lost.filter_map(|(_, count)| count.as_u64()).sum();
                if count("received") != count("stored") + count("filtered") + lost {
                    return Err(format!("it does not add up: {said}").into());
                }
                let store = Store::open(&out.join("store"), OpenOptions::default())?;
                let filter = format!("udp dst port {PORT}");
                let found = store.count(&Selection { filter, ..Selection::default() })?.packets;
                if found > count("stored") {
                    return Err("more was found than stored".into());
                }
                Ok(found)
            }
            Recorder::Tcpdump | Recorder::NetsniffNg => pcap_packets(&out.join("pcap")),
            Recorder::Dumpcap => number_after(said, "'hears': "),
            Recorder::Stenotype => number_after(said, "packets="),
        }
    }
}

/// The last number behind a text.
fn number_after(said: &str, text: &str) -> Result<u64> {
    let behind = said.rsplit_once(text).map(|(_, behind)| behind);
    let digits = behind.and_then(|it| it.split(|c: char| !c.is_ascii_digit()).next());
    let number = digits.and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| format!("it does not say how much: {said}").into())
}

/// Datagrams to the port in a pcap file.
fn pcap_packets(path: &Path) -> Result<u64> {
    let bytes = fs::read(path)?;
    let (mut at, mut count) = (24, 0);
    while let Some(length) = bytes.get(at + 8..at + 12) {
        let length = u32::from_le_bytes(length.try_into()?) as usize;
        let port = bytes.get(at + 16 + HEADERS - 6..at + 16 + HEADERS - 4);
        count += u64::from(port == Some(&PORT.to_be_bytes()));
        at += 16 + length;
    }
    Ok(count)
}

/// What came of one run.
struct Outcome {
    sent: u64,
    recorded: u64,
    /// Nanoseconds of the processor's time that a packet took, from start to end of the process.
    nanos: f64,
    resident_mib: u64,
}

fn try_it(
    recorder: Recorder,
    network: &Network,
    args: &Args,
    (size, rate): (usize, u64),
) -> Result<Outcome> {
    let out = args.folder.join("live");
    fs::remove_dir_all(&out).ok();
    fs::create_dir_all(&out)?;
    let mut child = recorder
        .command(network, args, &out)
        .stdin(Stdio::null())
        .stdout(fs::File::create(out.join("stdout"))?)
        .stderr(fs::File::create(out.join("stderr"))?)
        .spawn()?;
    std::thread::sleep(Duration::from_millis(1500));
    let sent = rate * args.seconds;
    network.send(PORT, 0..sent, size - HEADERS, Some(rate))?;
    std::thread::sleep(Duration::from_millis(1000));
    let resident_mib = resident_mib(&child)?;
    // What it does with them at its end belongs to it: an index, a footer.
    let before = ended_nanos()?;
    end(&mut child)?;
    let nanos = (ended_nanos()? - before) as f64 / sent as f64;
    let said = [fs::read_to_string(out.join("stdout"))?, fs::read_to_string(out.join("stderr"))?];
    let said = if recorder == Recorder::Tapstone { &said[0] } else { &said.concat() };
    let recorded = recorder.recorded(&out, said)?.min(sent);
    fs::remove_dir_all(&out)?;
    Ok(Outcome { sent, recorded, nanos, resident_mib })
}

/// Time of the processor that the processes had that ended so far, in nanoseconds.
fn ended_nanos() -> Result<i64> {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok(usage.user_time().num_microseconds() * 1000 + usage.system_time().num_microseconds() * 1000)
}

fn resident_mib(child: &Child) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()).unwrap_or("0");
    Ok(kib.parse::<u64>()? / 1024)
}

fn end(child: &mut Child) -> Result<()> {
    Command::new("kill").args(["-INT", &child.id().to_string()]).status()?;
    let began = Instant::now();
    while child.try_wait()?.is_none() {
        if began.elapsed() > Duration::from_secs(10) {
            child.kill()?;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the table is what the program is for")]
fn main() -> Result<()> {
    let args = Args::parse();
    fs::create_dir_all(&args.folder)?;
    let network = Network::new("live")?;
    println!(
        "{:<12} {:>5} {:>12} {:>10} {:>10} {:>8}",
        "recorder", "bytes", "ns a packet", "rss MiB", "without loss", "lost then"
    );
    for size in &args.sizes {
        for recorder in Recorder::ALL {
            match measure(recorder, &network, &args, *size) {
                Ok(line) => println!("{:<12} {size:>5} {line}", recorder.name()),
                Err(error) => println!("{:<12} {size:>5} not measured: {error}", recorder.name()),
            }
        }
    }
    Ok(())
}

fn measure(recorder: Recorder, network: &Network, args: &Args, size: usize) -> Result<String> {
    let at_rate = try_it(recorder, network, args, (size, args.rate))?;
    let (mut highest, mut lost) = (0, String::from("-"));
    for rate in &args.rates {
        let outcome = try_it(recorder, network, args, (size, *rate))?;
        if outcome.recorded < outcome.sent {
            let part = 100.0 * (outcome.sent - outcome.recorded) as f64 / outcome.sent as f64;
            lost = format!("{part:.2} % at {rate}");
            break;
        }
        highest = *rate;
    }
    let Outcome { nanos, resident_mib, .. } = at_rate;
    Ok(format!("{nanos:>12.0} {resident_mib:>10} {highest:>10}/s {lost}"))
}
