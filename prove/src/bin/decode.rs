//! `tapstone-decode`: the longest time and the most memory that decoding one packet takes, names
//! and fragments included, over real captures and over what random changes make of their packets.
//!
//! Every packet is decoded several times, and the shortest counts: a core that was taken away for a
//! while is not the decoder's doing.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use tapstone_benches::random::Random;
use tapstone_packet::capture_file::{CaptureReader, Step};
use tapstone_packet::decode::Decoder;
use tapstone_packet::interface::Interface;
use tapstone_packet::names::{Findings, FragmentJoiner, NameState};
use tapstone_prove::Fault;

const PASSES: usize = 4;

/// Measures the worst packet.
#[derive(Debug, Parser)]
struct Args {
    /// Changed packets made of each real one
    #[arg(long, default_value_t = 20)]
    changed: usize,
    /// Decides what is changed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Captures
    captures: Vec<PathBuf>,
}

/// Packets that follow each other.
struct Run {
    name: String,
    packets: Vec<(Interface, Vec<u8>)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Worst {
    nanos: u64,
    bytes: u64,
}

fn main() -> Result<(), Fault> {
    let args = Args::parse();
    let mut random = Random::new(args.seed);
    let (mut packets, mut worst, mut slowest) = (0, Worst::default(), String::new());
    for path in &args.captures {
        let mut run = Run { name: path.display().to_string(), packets: read(&fs::read(path)?) };
        for round in 0..=args.changed {
            if round > 0 {
                run.packets.iter_mut().for_each(|(_, data)| change(data, &mut random));
            }
            packets += run.packets.len();
            let of_run = measure(&run);
            if of_run.nanos > worst.nanos {
                slowest = format!("{}, changed {round} times", run.name);
            }
            worst.nanos = worst.nanos.max(of_run.nanos);
            worst.bytes = worst.bytes.max(of_run.bytes);
        }
    }
    let Worst { nanos, bytes } = worst;
    writeln!(
        io::stdout(),
        "decode: {packets} packets, seed {}: at worst {nanos} ns and {bytes} bytes a packet ({slowest})",
        args.seed
    )?;
    Ok(())
}

fn read(bytes: &[u8]) -> Vec<(Interface, Vec<u8>)> {
    let (mut reader, mut at, mut packets) = (CaptureReader::new(), 0, Vec::new());
    while let Ok(step) = reader.step(&bytes[at..], true) {
        match step {
            Step::Packet(packet) => {
                let interface = reader.interfaces()[packet.interface as usize].clone();
                packets.push((interface, bytes[at..][packet.data].to_vec()));
                at += packet.consumed;
            }
            Step::Skipped { consumed } => at += consumed,
            Step::End | Step::More { .. } => break,
        }
    }
    packets
}

/// Flips, cuts, repeats.
fn change(data: &mut Vec<u8>, random: &mut Random) {
    let length = data.len() as u64;
    if length == 0 {
        return;
    }
    match random.below(8) {
        0 => data.truncate(random.below(length) as usize),
        1 => {
            let from = random.below(length) as usize;
            let again = data[from..].to_vec();
            while data.len() < 65_000 {
                data.extend_from_slice(&again);
            }
        }
        _ => {
            for _ in 0..=random.below(4) {
                data[random.below(length) as usize] = random.number() as u8;
            }
        }
    }
}

/// The worst packet of a run: its shortest time of several, and its bytes.
fn measure(run: &Run) -> Worst {
    let mut nanos = vec![u64::MAX; run.packets.len()];
    let mut bytes = 0;
    for pass in 0..PASSES {
        // The table of flows is the measurement's own, and must not grow in it.
        let states = HashMap::with_capacity(run.packets.len());
        let mut follower = Follower { states, ..Follower::default() };
        for ((interface, data), shortest) in run.packets.iter().zip(&mut nanos) {
            if pass == 0 {
                let taken = allocation_counter::measure(|| follower.packet(interface, data));
                bytes = bytes.max(taken.bytes_max);
            } else {
                let began = Instant::now();
                follower.packet(interface, data);
                *shortest = (*shortest).min(began.elapsed().as_nanos() as u64);
            }
        }
    }
    Worst { nanos: nanos.into_iter().max().unwrap_or(0), bytes }
}

/// What is done to each packet on its way in, apart from storing it.
#[derive(Default)]
struct Follower {
    decoder: Decoder,
    joiner: FragmentJoiner,
    states: HashMap<Vec<u8>, NameState>,
    found: Findings,
}

impl Follower {
    fn packet(&mut self, interface: &Interface, data: &[u8]) {
        let (link_type, order) = (interface.link_type, interface.byte_order);
        let decoded = self.decoder.decode(link_type, order, data);
        if let Some(transport) = &decoded.transport {
            let key = self.decoder.key().as_bytes().to_vec();
            let state = self.states.entry(key).or_default();
            state.feed(transport, decoded.from_first_end, &mut self.found);
        }
        if let Some(fragment) = &decoded.fragment
            && let Some(whole) = self.joiner.add(fragment)
        {
            self.decoder.reassembled(link_type, &fragment.datagram, &whole);
        }
    }
}
