//! Who records: each by its own command, with the same memory for packets that wait.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tapstone::{OpenOptions, Selection, Store};
use tapstone_benches::network::{HEADERS, Network};
use tapstone_benches::served::Result;

use super::{Args, PORT};

/// Somebody who records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recorder {
    Tapstone,
    Tcpdump,
    Dumpcap,
    NetsniffNg,
    Stenotype,
}

impl Recorder {
    pub(super) const ALL: [Recorder; 5] = [
        Recorder::Tapstone,
        Recorder::Tcpdump,
        Recorder::Dumpcap,
        Recorder::NetsniffNg,
        Recorder::Stenotype,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Recorder::Tapstone => "tapstone",
            Recorder::Tcpdump => "tcpdump",
            Recorder::Dumpcap => "dumpcap",
            Recorder::NetsniffNg => "netsniff-ng",
            Recorder::Stenotype => "stenotype",
        }
    }

    /// How long after the last packet it has taken and counted all.
    pub(super) fn settles(self) -> Duration {
        match self {
            Recorder::Tapstone | Recorder::Tcpdump | Recorder::Dumpcap | Recorder::NetsniffNg => {
                Duration::from_secs(1)
            }
            // It takes what it is handed a second later, and counts it a second after that.
            Recorder::Stenotype => Duration::from_secs(3),
        }
    }

    /// The command that records; all have 64 MiB for packets that wait.
    pub(super) fn command(self, network: &Network, args: &Args, out: &Path) -> Command {
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
                // Or it takes what it is handed up to ten seconds later.
                command.arg("--blockage_sec=1");
                command.arg(format!("--dir={}", out.display()));
                command
            }
        }
    }

    /// Packets to the port that were recorded, by what it said or left.
    pub(super) fn recorded(self, out: &Path, said: &str) -> Result<u64> {
        match self {
            Recorder::Tapstone => {
                let stored = stored(said)?;
                let store = Store::open(&out.join("store"), OpenOptions::default())?;
                let filter = format!("udp dst port {PORT}");
                let found = store.count(&Selection { filter, ..Selection::default() })?.packets;
                if found > stored {
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

/// Packets that tapstone says it stored; what it received must be these and what it lost.
pub(super) fn stored(said: &str) -> Result<u64> {
    let report: Value = serde_json::from_str(said)?;
    let count = |name: &str| report[0][name].as_u64().unwrap_or(0);
    let lost = report[0]["lost"].as_object().into_iter().flatten();
    let lost: u64 = lost.filter_map(|(_, count)| count.as_u64()).sum();
    if count("received") != count("stored") + count("filtered") + lost {
        return Err(format!("it does not add up: {said}").into());
    }
    Ok(count("stored"))
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
