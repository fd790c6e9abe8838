//! The canonical workload: many conversations at once, most of them short, a few very long, as on a
//! busy 10 Gbit/s link.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Write};
use std::net::Ipv4Addr;

use crate::packets::{self, Ends, TCP_HEADERS, flags};
use crate::random::Random;

/// Conversations that go on at the same time.
const CONCURRENT: usize = 4000;
const CLIENTS: u64 = 8000;
const SERVERS: u64 = 2000;
/// The share of conversations that are a DNS question and its answer.
const DNS_SHARE: f64 = 0.1;
const FRAME_MAX: usize = 1514;
/// How long a conversation takes, in nanoseconds: with so many at once and 7 packets of 520 bytes
/// each, about 10 Gbit/s. Long ones are fast ones, so that the mix stays the same all the time.
const DURATION_NANOS: std::ops::Range<u64> = 5_000_000..20_000_000;
/// 2026-01-01T00:00:00Z.
const START_SECS: u64 = 1_767_225_600;

/// What traffic to make.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Determines everything.
    pub seed: u64,
    /// Packet bytes to make, about.
    pub bytes: u64,
    /// Mean bytes of a packet.
    pub packet_size: f64,
    /// Mean packets of a conversation.
    pub flow_packets: f64,
    /// When the simulated clock begins, in seconds since the epoch.
    pub start_secs: u64,
}

/// A conversation to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needle {
    /// Its ends.
    pub ends: Ends,
    /// Its packets.
    pub packets: u64,
}

impl Needle {
    /// The filter that finds it.
    #[must_use]
    pub fn filter(&self) -> String {
        let ends = self.ends;
        format!(
            "host {} and host {} and tcp port {} and tcp port {}",
            ends.client, ends.server, ends.client_port, ends.server_port
        )
    }
}

/// What was made.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub packet_bytes: u64,
    /// Conversations that were begun.
    pub flows: u64,
    /// Conversations of 40 to 50 packets, all of which were made.
    pub needles: Vec<Needle>,
}

impl Workload {
    /// 520-byte packets, 7 a conversation.
    #[must_use]
    pub fn short_flows(bytes: u64, seed: u64) -> Workload {
        Workload { seed, bytes, packet_size: 520.0, flow_packets: 7.0, start_secs: START_SECS }
    }

    /// 800-byte packets, 30 a conversation.
    #[must_use]
    pub fn long_flows(bytes: u64, seed: u64) -> Workload {
        Workload { seed, bytes, packet_size: 800.0, flow_packets: 30.0, start_secs: START_SECS }
    }

    /// Writes the traffic as a pcap file with nanosecond times.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, out: &mut impl Write) -> io::Result<Made> {
        let mut maker = Maker::new(self);
        let mut buffer = Vec::with_capacity(2 << 20);
        buffer.extend_from_slice(&0xa1b2_3c4d_u32.to_le_bytes());
        buffer.extend_from_slice(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0]);
        while maker.made.packet_bytes < self.bytes {
            maker.packet(&mut buffer);
            if buffer.len() >= 1 << 20 {
                out.write_all(&buffer)?;
                buffer.clear();
            }
        }
        out.write_all(&buffer)?;
        Ok(maker.made)
    }
}

/// One conversation under way.
#[derive(Clone, Copy, Debug)]
struct Flow {
    ends: Ends,
    kind: Kind,
    name: u32,
    packets: u32,
    sent: u32,
    /// Nanoseconds between two packets.
    gap: u64,
    sequences: [u32; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Dns,
    Tls,
    Http,
    Other,
}

struct Maker {
    random: Random,
    flows: Vec<Flow>,
    /// When each conversation sends next, and its index.
    next: BinaryHeap<Reverse<(u64, usize)>>,
    /// Random bytes that payloads are cut from: they do not compress.
    noise: Vec<u8>,
    /// How often a packet carries data.
    data_share: f64,
    scale: f64,
    start_secs: u64,
    made: Made,
}

impl Maker {
    fn new(workload: &Workload) -> Maker {
        let mut random = Random::new(workload.seed);
        let noise = (0..1 << 18).flat_map(|_| random.number().to_le_bytes()).collect();
        let tcp_packets = (workload.flow_packets - DNS_SHARE * 2.0) / (1.0 - DNS_SHARE);
        let mut maker = Maker {
            random,
            flows: Vec::with_capacity(CONCURRENT),
            next: BinaryHeap::with_capacity(CONCURRENT),
            noise,
            data_share: 0.5,
            scale: scale_for(tcp_packets),
            start_secs: workload.start_secs,
            made: Made::default(),
        };
        maker.calibrate(workload.packet_size);
        maker.restart(workload.seed);
        maker
    }

    fn restart(&mut self, seed: u64) {
        self.random = Random::new(!seed);
        self.made = Made::default();
        self.flows.clear();
        self.next.clear();
        for index in 0..CONCURRENT {
            let flow = self.begin();
            self.flows.push(flow);
            self.next.push(Reverse((self.random.below(DURATION_NANOS.start), index)));
        }
    }

    /// Finds how often packets must carry data for a mean size: handshakes and short conversations
    /// carry none, so it cannot simply be worked out.
    fn calibrate(&mut self, packet_size: f64) {
        let (mut low, mut high) = (0.0, 1.0);
        let mut out = Vec::new();
        for _ in 0..8 {
            self.data_share = (low + high) / 2.0;
            self.restart(1);
            // The beginning is all handshakes.
            for packet in 0..400_000 {
                out.clear();
                self.packet(&mut out);
                if packet == 200_000 {
                    self.made = Made::default();
                }
            }
            if (self.made.packet_bytes as f64) < packet_size * self.made.packets as f64 {
                low = self.data_share;
            } else {
                high = self.data_share;
            }
        }
    }

    fn begin(&mut self) -> Flow {
        self.made.flows += 1;
        let random = &mut self.random;
        let client = random.below(CLIENTS) as u32;
        // Squaring makes a few servers take most of the traffic.
        let popular = random.fraction();
        let server = (popular * popular * SERVERS as f64) as u32;
        let kind = if random.chance(DNS_SHARE) {
            Kind::Dns
        } else {
            match random.below(10) {
                0..=3 => Kind::Tls,
                4 => Kind::Http,
                _ => Kind::Other,
            }
        };
        let server_port = match kind {
            Kind::Dns => 53,
            Kind::Tls => 443,
            Kind::Http => 80,
            Kind::Other => [22, 25, 445, 993, 3306, 5432, 8080][random.below(7) as usize],
        };
        let packets = if kind == Kind::Dns { 2 } else { length(random.fraction(), self.scale) };
        let duration =
            DURATION_NANOS.start + random.below(DURATION_NANOS.end - DURATION_NANOS.start);
        Flow {
            ends: Ends {
                client: Ipv4Addr::from(0x0a00_0000 + client),
                server: Ipv4Addr::from(0xc633_0000 + server),
                client_port: 32768 + random.below(28232) as u16,
                server_port,
            },
            kind,
            name: server,
            packets,
            sent: 0,
            gap: duration / u64::from(packets),
            sequences: [random.number() as u32, random.number() as u32],
        }
    }

    /// Makes the next packet of some conversation.
    fn packet(&mut self, out: &mut Vec<u8>) {
        let Reverse((nanos, index)) = self.next.pop().expect("conversations never run out");
        let mut flow = self.flows[index];
        let header = out.len();
        out.extend_from_slice(&[0; 16]);
        let start = out.len();
        match flow.kind {
            Kind::Dns => self.dns(&flow, out),
            _ => self.tcp(&mut flow, out),
        }
        let length = (out.len() - start) as u32;
        let since_epoch = self.start_secs * 1_000_000_000 + nanos;
        let words = [
            (since_epoch / 1_000_000_000) as u32,
            (since_epoch % 1_000_000_000) as u32,
            length,
            length,
        ];
        for (at, word) in out[header..start].chunks_exact_mut(4).zip(words) {
            at.copy_from_slice(&word.to_le_bytes());
        }
        self.made.packets += 1;
        self.made.packet_bytes += u64::from(length);
        flow.sent += 1;
        if flow.sent == flow.packets {
            let is_needle = (40..=50).contains(&flow.packets) && self.made.needles.len() < 1000;
            if is_needle {
                let packets = u64::from(flow.packets);
                self.made.needles.push(Needle { ends: flow.ends, packets });
            }
            flow = self.begin();
        }
        self.next.push(Reverse((nanos + self.random.below(2 * flow.gap), index)));
        self.flows[index] = flow;
    }

    fn dns(&self, flow: &Flow, out: &mut Vec<u8>) {
        let name = host_name(flow.name);
        let id = flow.sequences[0] as u16;
        if flow.sent == 0 {
            packets::udp(out, flow.ends, true, &packets::dns_query(id, &name));
        } else {
            let address = Ipv4Addr::from(0xc633_0000 + flow.name);
            packets::udp(out, flow.ends, false, &packets::dns_answer(id, &name, address));
        }
    }

    fn tcp(&mut self, flow: &mut Flow, out: &mut Vec<u8>) {
        let last = flow.packets - 1;
        let (from_client, flag, payload) = match flow.sent {
            0 => (true, flags::SYN, Vec::new()),
            1 if last > 1 => (false, flags::SYN | flags::ACK, Vec::new()),
            2 if last > 2 => (true, flags::PSH | flags::ACK, self.first_message(flow)),
            sent if sent == last && sent > 0 => {
                let flag = if self.random.chance(0.1) { flags::RST } else { flags::FIN };
                (self.random.chance(0.5), flag | flags::ACK, Vec::new())
            }
            _ => {
                let from_client = self.random.chance(0.35);
                let payload =
                    if self.random.chance(self.data_share) { self.data() } else { Vec::new() };
                (from_client, flags::ACK, payload)
            }
        };
        let sequence = &mut flow.sequences[usize::from(!from_client)];
        packets::tcp(out, flow.ends, from_client, flag, *sequence, &payload);
        let control = flag & (flags::SYN | flags::FIN) != 0;
        *sequence = sequence.wrapping_add(payload.len() as u32 + u32::from(control));
    }

    fn first_message(&mut self, flow: &Flow) -> Vec<u8> {
        match flow.kind {
            Kind::Tls => {
                let mut random = [0; 32];
                random.copy_from_slice(&self.noise[..32]);
                packets::client_hello(&host_name(flow.name), random)
            }
            Kind::Http => packets::http_request(&host_name(flow.name)),
            _ => self.data(),
        }
    }

    fn data(&mut self) -> Vec<u8> {
        let most = FRAME_MAX - TCP_HEADERS;
        let length = 600 + self.random.below((most - 600) as u64 + 1) as usize;
        let start = self.random.below((self.noise.len() - length) as u64) as usize;
        self.noise[start..start + length].to_vec()
    }
}

/// The name of a server.
#[must_use]
pub fn host_name(server: u32) -> String {
    format!("host{}.site{}.example", server % 10, server / 10)
}

/// A conversation's packets: a bounded Pareto distribution (shape 1.2, at most 2,000).
fn length(fraction: f64, scale: f64) -> u32 {
    let length = scale / (1.0 - fraction).powf(1.0 / 1.2);
    (length as u32).clamp(2, 2000)
}

/// The distribution's scale that gives a mean.
fn scale_for(mean: f64) -> f64 {
    let mean_of = |scale: f64| {
        let steps = 100_000;
        let sum: f64 = (0..steps)
            .map(|step| f64::from(length((f64::from(step) + 0.5) / f64::from(steps), scale)))
            .sum();
        sum / f64::from(steps)
    };
    let (mut low, mut high) = (0.1, 200.0);
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        if mean_of(middle) < mean {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(workload: Workload) {
        let made = workload.write(&mut io::sink()).unwrap();
        let size = made.packet_bytes as f64 / made.packets as f64;
        // Conversations that are still going on have packets to come.
        let flows = made.flows as f64 - CONCURRENT as f64 / 2.0;
        let packets = made.packets as f64 / flows;
        assert!((size / workload.packet_size - 1.0).abs() < 0.03, "{size} bytes a packet");
        assert!((packets / workload.flow_packets - 1.0).abs() < 0.06, "{packets} packets a flow");
        assert!(!made.needles.is_empty());
    }

    #[test]
    fn the_presets_have_the_means_they_claim() {
        check(Workload::short_flows(200 << 20, 1));
        check(Workload::long_flows(400 << 20, 1));
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let write = |seed| {
            let mut bytes = Vec::new();
            Workload::short_flows(1 << 20, seed).write(&mut bytes).unwrap();
            bytes
        };
        assert_eq!(write(3), write(3));
        assert_ne!(write(3), write(4));
    }
}
