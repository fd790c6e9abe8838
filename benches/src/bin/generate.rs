//! `tapstone-generate`: writes a capture of made-up traffic.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use tapstone_benches::workload::Workload;

/// Writes a capture of made-up traffic, the same for the same seed.
#[derive(Debug, Parser)]
struct Args {
    /// What kind of traffic
    #[arg(long, value_enum, default_value_t = Preset::ShortFlows)]
    preset: Preset,
    /// Packet bytes to make, about
    #[arg(long, default_value_t = 20_000_000)]
    bytes: u64,
    /// Determines everything
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The file
    #[arg(short)]
    output: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Preset {
    /// 520-byte packets, 7 a conversation
    ShortFlows,
    /// 800-byte packets, 30 a conversation
    LongFlows,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let workload = match args.preset {
        Preset::ShortFlows => Workload::short_flows(args.bytes, args.seed),
        Preset::LongFlows => Workload::long_flows(args.bytes, args.seed),
    };
    workload.write(&mut File::create(&args.output)?)?;
    Ok(())
}
