//! Writes what the fuzz targets begin with: `fuzz_seeds CORPUS CAPTURE...`
//!
//! Small captures become seeds of the target `capture`; packets of every capture become seeds of
//! `filter`, and runs of packets seeds of `decode`.

use std::fs;
use std::path::Path;

use tapstone_packet::capture_file::{CaptureReader, Step};

/// A capture larger than this is slow to mutate.
const CAPTURE_SIZE_MAX: usize = 8192;
const PACKETS_PER_CAPTURE: usize = 12;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let Some(corpus) = arguments.next() else { return Ok(()) };
    let corpus = Path::new(&corpus);
    for target in ["capture", "decode", "filter"] {
        fs::create_dir_all(corpus.join(target))?;
    }
    for (number, path) in arguments.enumerate() {
        let bytes = fs::read(path)?;
        if bytes.len() <= CAPTURE_SIZE_MAX {
            fs::write(corpus.join("capture").join(number.to_string()), &bytes)?;
        }
        let packets = packets(&bytes);
        let mut run = vec![0];
        for (at, packet) in packets.iter().take(PACKETS_PER_CAPTURE).enumerate() {
            let seed = [&[0], &packet[..]].concat();
            fs::write(corpus.join("filter").join(format!("{number}-{at}")), seed)?;
            let length = u16::try_from(packet.len()).unwrap_or(u16::MAX);
            run.extend_from_slice(&length.to_le_bytes());
            run.extend_from_slice(&packet[..usize::from(length)]);
        }
        fs::write(corpus.join("decode").join(number.to_string()), run)?;
    }
    Ok(())
}

fn packets(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut reader, mut at, mut packets) = (CaptureReader::new(), 0, Vec::new());
    while let Ok(step) = reader.step(&bytes[at..], true) {
        match step {
            Step::Packet(packet) => {
                packets.push(bytes[at..][packet.data].to_vec());
                at += packet.consumed;
            }
            Step::Skipped { consumed } => at += consumed,
            Step::End | Step::More { .. } => break,
        }
    }
    packets
}
