//! `tapstone-live`: recording live packets, beside tcpdump, dumpcap, netsniff-ng and stenotype.
//!
//! All record the same traffic on the same machine, one after the other: numbered datagrams of many
//! short flows through a pair of interfaces in a network namespace. Needs root.

mod recorder;
mod steady;

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use tapstone_benches::network::{Flows, HEADERS, Network, Payload, Traffic};
use tapstone_benches::served::Result;

use recorder::Recorder;

/// Where the datagrams go.
const PORT: u16 = 9000;
/// Bytes of the frames that are recorded for long.
const STEADY_SIZE: usize = 520;

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
    /// Seconds that the time of the processor is taken over, from the first packet to the end
    #[arg(long, default_value_t = 20)]
    long: u64,
    /// Packets a second at which it is taken
    #[arg(long, default_value_t = 100_000)]
    rate: u64,
    /// Packets a second that are tried one after the other until some are lost
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "100000,200000,300000,400000,500000,600000,700000,800000,1000000"
    )]
    rates: Vec<u64>,
    /// Bytes of the frames
    #[arg(long, value_delimiter = ',', default_value = "64,520,1500")]
    sizes: Vec<usize>,
    /// Seconds that tapstone alone records for at the end, at four fifths of its highest rate
    #[arg(long, default_value_t = 600)]
    steady: u64,
}

/// What came of one run.
struct Outcome {
    sent: u64,
    recorded: u64,
    /// Packets a second that were sent; fewer than were asked for where the sender can no more.
    rate: u64,
    /// Nanoseconds of the processor's time that a packet took, from the first one to the end of the
    /// process.
    nanos: f64,
    resident_mib: u64,
}

/// Frames of a size, as most are that cross a network: of short flows, and encrypted.
fn traffic(size: usize) -> Traffic {
    let length = size - HEADERS;
    Traffic { flows: Flows::Short, payload: Payload::Noise, port: PORT, length }
}

fn try_it(
    recorder: Recorder,
    network: &Network,
    args: &Args,
    (size, rate, seconds): (usize, u64, u64),
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
    // Whoever records for weeks starts once.
    let started = spent_nanos(&child)?;
    let sent = rate * seconds;
    let took = network.send_traffic(traffic(size), 0..sent, Some(rate))?;
    std::thread::sleep(recorder.settles());
    let resident_mib = resident_mib(&child)?;
    // What it does with them at its end belongs to it: an index, a footer.
    let before = ended_nanos()?;
    end(&mut child)?;
    let nanos = (ended_nanos()? - before - started) as f64 / sent as f64;
    let said = [fs::read_to_string(out.join("stdout"))?, fs::read_to_string(out.join("stderr"))?];
    let said = if recorder == Recorder::Tapstone { &said[0] } else { &said.concat() };
    let recorded = recorder.recorded(&out, said)?.min(sent);
    fs::remove_dir_all(&out)?;
    let rate = (sent as f64 / took) as u64;
    Ok(Outcome { sent, recorded, rate, nanos, resident_mib })
}

/// Time of the processor that the processes had that ended so far, in nanoseconds.
fn ended_nanos() -> Result<i64> {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok(usage.user_time().num_microseconds() * 1000 + usage.system_time().num_microseconds() * 1000)
}

/// Time of the processor that a process had so far, in nanoseconds: proc(5), `/proc/pid/stat`.
fn spent_nanos(child: &Child) -> Result<i64> {
    // A hundredth of a second: the kernel's USER_HZ on whatever this runs on.
    const TICK_NANOS: i64 = 10_000_000;
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
    let (_, behind_name) = stat.rsplit_once(')').ok_or("a process without a name")?;
    let user_and_system = behind_name.split_whitespace().skip(11).take(2);
    let ticks: i64 = user_and_system.map(str::parse::<i64>).sum::<std::result::Result<_, _>>()?;
    Ok(ticks * TICK_NANOS)
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
        "{:<12} {:>5} {:>12} {:>8}  packets lost at each rate",
        "recorder", "bytes", "ns a packet", "rss MiB"
    );
    let mut highest = None;
    for size in &args.sizes {
        for recorder in Recorder::ALL {
            match measure(recorder, &network, &args, *size) {
                Ok(Measured { line, without_loss }) => {
                    println!("{:<12} {size:>5} {line}", recorder.name());
                    if recorder == Recorder::Tapstone && *size == STEADY_SIZE {
                        highest = without_loss;
                    }
                }
                Err(error) => println!("{:<12} {size:>5} not measured: {error}", recorder.name()),
            }
        }
    }
    if let Some(rate) = highest.map(|highest| highest * 4 / 5).filter(|_| args.steady > 0) {
        println!("{}", steady::run(&network, &args, rate)?);
    }
    Ok(())
}

struct Measured {
    line: String,
    /// The highest rate of those tried at which nothing was lost, nor at any below.
    without_loss: Option<u64>,
}

fn measure(recorder: Recorder, network: &Network, args: &Args, size: usize) -> Result<Measured> {
    let long = (size, args.rate, args.long);
    let Outcome { nanos, resident_mib, .. } = try_it(recorder, network, args, long)?;
    let (mut line, mut without_loss) = (format!("{nanos:>12.0} {resident_mib:>8} "), None);
    for asked in &args.rates {
        let outcome = try_it(recorder, network, args, (size, *asked, args.seconds))?;
        let Outcome { sent, recorded, rate, .. } = outcome;
        let part = 100.0 * (sent - recorded) as f64 / sent as f64;
        write!(line, " {}k: {part:.2}%", rate / 1000)?;
        if recorded < sent {
            break;
        }
        without_loss = Some(rate);
        if rate < asked / 20 * 19 {
            line.push_str(" (the sender can no more)");
            break;
        }
    }
    Ok(Measured { line, without_loss })
}
