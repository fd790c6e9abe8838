//! A network to send through: a namespace of its own, with a pair of interfaces in it.

use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, MultiHeaders, SockFlag, SockType, bind, sendmmsg,
    socket,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::group::Group;
use crate::random::Random;

/// Datagrams that one call sends.
const TOGETHER: usize = 64;

/// Bytes of the headers before a datagram's payload: Ethernet, IPv4, UDP.
pub const HEADERS: usize = 14 + 20 + 8;

/// What is sent to `10.9.0.77` goes into the interface `sends` and comes out of `hears`. Gone when it
/// is dropped.
#[derive(Debug)]
pub struct Network {
    name: String,
}

impl Network {
    /// # Errors
    ///
    /// When it cannot be made: root is needed, and iproute2.
    pub fn new(name: &str) -> io::Result<Network> {
        let network = Network { name: format!("tapstone-{name}-{}", std::process::id()) };
        run("ip", &["netns", "add", &network.name])?;
        for words in [
            "link add sends type veth peer name hears",
            "link set sends mtu 9000 addrgenmode none",
            "link set hears mtu 9000 addrgenmode none",
            "link set sends up",
            "link set hears up",
            "address add 10.9.0.1/24 dev sends",
            "neighbour add 10.9.0.77 lladdr 02:00:00:00:00:77 dev sends",
        ] {
            network.ip(words)?;
        }
        Ok(network)
    }

    /// Runs `ip` in it.
    ///
    /// # Errors
    ///
    /// When that fails.
    pub fn ip(&self, words: &str) -> io::Result<()> {
        let words: Vec<&str> = ["-n", &self.name].into_iter().chain(words.split(' ')).collect();
        run("ip", &words)
    }

    /// A command that runs in it.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]);
        // Who reaches a limit on files' sizes is killed otherwise.
        command.args(["env", "--ignore-signal=XFSZ"]).arg(program);
        command
    }

    /// A command that runs in it and in a control group. What the system says of groups is there too,
    /// which [`Network::command`] hides.
    #[must_use]
    pub fn command_in(&self, group: &Group, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = group.command("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name));
        command.args(["env", "--ignore-signal=XFSZ"]).arg(program);
        command
    }

    /// Sends datagrams of one flow to a port: each is its number (8 bytes, little-endian) and then
    /// bytes 0xa5, `length` in all. So many a second, or as many as go. Gives the seconds it took.
    ///
    /// # Errors
    ///
    /// When they cannot be sent.
    ///
    /// # Panics
    ///
    /// When the length has no room for the number.
    pub fn send(
        &self,
        port: u16,
        numbers: Range<u64>,
        length: usize,
        rate: Option<u64>,
    ) -> io::Result<f64> {
        let traffic = Traffic { flows: Flows::One, payload: Payload::Same, port, length };
        self.send_traffic(traffic, numbers, rate)
    }

    /// The same, of any traffic.
    ///
    /// # Errors
    ///
    /// When they cannot be sent.
    ///
    /// # Panics
    ///
    /// When the length has no room for the number.
    pub fn send_traffic(
        &self,
        traffic: Traffic,
        numbers: Range<u64>,
        rate: Option<u64>,
    ) -> io::Result<f64> {
        assert!(traffic.length >= NUMBER, "no room for a number");
        self.within(move || {
            let socket = raw_socket("sends")?;
            send_all(&socket, &Datagrams::new(traffic), numbers, rate)
        })
    }

    /// Does something in it, on a thread of its own; what is opened there stays there.
    ///
    /// # Errors
    ///
    /// When that fails, or there is no way into it.
    ///
    /// # Panics
    ///
    /// When what is done there panics.
    pub fn within<T: Send + 'static>(
        &self,
        run: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let namespace = File::open(format!("/run/netns/{}", self.name))?;
        let run = move || {
            // Only this thread goes there.
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            run()
        };
        std::thread::spawn(run).join().expect("what is done there does not panic")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        run("ip", &["netns", "delete", &self.name]).ok();
    }
}

/// What flows the datagrams are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flows {
    /// All of one.
    One,
    /// Each of a flow of its own, as a scan sends them.
    Each,
    /// Of each flow seven, as much as most conversations have, with those of [`Flows::AT_ONCE`]
    /// between them.
    Short,
}

impl Flows {
    /// Short flows that go on at the same time.
    pub const AT_ONCE: u64 = 4096;
    /// Packets of a short flow.
    pub const PACKETS: u64 = 7;

    /// The flow of a packet.
    fn of(self, number: u64) -> u64 {
        match self {
            Flows::One => 0,
            Flows::Each => number,
            Flows::Short => {
                let group = number / (Self::AT_ONCE * Self::PACKETS);
                group * Self::AT_ONCE + number % Self::AT_ONCE
            }
        }
    }

    /// What finds the flow of a packet that was sent to a port.
    #[must_use]
    pub fn filter(self, port: u16, number: u64) -> String {
        let ([net, host], from) = self.source(number);
        format!("src host 10.9.{net}.{host} and udp src port {from} and udp dst port {port}")
    }

    /// The end of the address that a packet comes from, and its port.
    fn source(self, number: u64) -> ([u8; 2], u16) {
        let flow = self.of(number);
        // As many hosts as there can be: an index of addresses has something to do.
        let host = (flow.wrapping_mul(40_503) as u16).wrapping_add(1).to_be_bytes();
        (host, 1024 + (flow % 60_000) as u16)
    }
}

/// What stands behind the number in a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Bytes 0xa5, which take next to no room once they are compressed.
    Same,
    /// What cannot be compressed, as most of what is encrypted.
    Noise,
}

impl Payload {
    /// Bytes that noise is taken from: many times what a compressor looks back.
    const STOCK: usize = 4 << 20;

    /// Bytes that each payload of a length is a piece of.
    fn stock(self, length: usize) -> Vec<u8> {
        match self {
            Payload::Same => vec![0xa5; length],
            Payload::Noise => {
                let mut random = Random::new(1);
                (0..Self::STOCK / 8).flat_map(|_| random.number().to_le_bytes()).collect()
            }
        }
    }
}

/// Datagrams that are alike but for their numbers.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// Whose they are.
    pub flows: Flows,
    /// What is in them.
    pub payload: Payload,
    /// Where they go.
    pub port: u16,
    /// Bytes of a datagram, with its number.
    pub length: usize,
}

/// Bytes of a datagram's number.
const NUMBER: usize = 8;

/// UDP from 10.9.0.x to 10.9.0.77, in Ethernet frames.
struct Datagrams {
    traffic: Traffic,
    stock: Vec<u8>,
    /// The sum of the stock's words before each, modulo 2³².
    sums: Vec<u32>,
}

impl Datagrams {
    fn new(traffic: Traffic) -> Datagrams {
        let mut stock = traffic.payload.stock(traffic.length);
        // Whole words.
        stock.resize(stock.len().next_multiple_of(2), 0);
        let mut sums = vec![0u32];
        for word in stock.chunks(2) {
            sums.push(sums[sums.len() - 1].wrapping_add(sum(word)));
        }
        Datagrams { traffic, stock, sums }
    }

    /// Where the payload of a datagram begins in the stock: at a word.
    fn place(&self, number: u64) -> usize {
        let places = (self.stock.len() - self.traffic.length) / 2 + 1;
        // The golden ratio: pieces of numbers next to each other are far apart.
        (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % places * 2
    }

    /// A frame that lacks what makes it one of a flow, and its payload.
    fn blank(&self) -> Vec<u8> {
        let length = self.traffic.length;
        let (ip, udp) = ((length + 28) as u16, (length + 8) as u16);
        let mut frame = vec![2, 0, 0, 0, 0, 0x77, 2, 0, 0, 0, 0, 1, 8, 0];
        frame.extend([0x45, 0]);
        frame.extend(ip.to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 10, 9, 0, 1, 10, 9, 0, 77]);
        frame.extend(12345u16.to_be_bytes());
        frame.extend(self.traffic.port.to_be_bytes());
        frame.extend(udp.to_be_bytes());
        frame.extend([0, 0]);
        frame.resize(HEADERS + length, 0);
        frame
    }

    fn fill(&self, frame: &mut [u8], number: u64) {
        let (host, from) = self.traffic.flows.source(number);
        frame[28..30].copy_from_slice(&host);
        frame[34..36].copy_from_slice(&from.to_be_bytes());
        frame[18..20].copy_from_slice(&(number as u16).to_be_bytes());
        frame[24..26].copy_from_slice(&[0, 0]);
        let own = checksum(sum(&frame[14..34]));
        frame[24..26].copy_from_slice(&own.to_be_bytes());
        let payload = HEADERS + NUMBER;
        frame[HEADERS..payload].copy_from_slice(&number.to_le_bytes());
        let (at, length) = (self.place(number), frame.len() - payload);
        frame[payload..].copy_from_slice(&self.stock[at..at + length]);
        // Addresses, protocol and length, and then what is behind the IP header.
        let pseudo = sum(&frame[26..34]) + 17 + (self.traffic.length + 8) as u32;
        frame[40..42].copy_from_slice(&[0, 0]);
        let words = self.sums[(at + length) / 2].wrapping_sub(self.sums[at / 2]);
        let last = sum(&frame[frame.len() - length % 2..]);
        let udp = checksum(pseudo + sum(&frame[34..payload]) + words + last);
        frame[40..42].copy_from_slice(&udp.to_be_bytes());
    }
}

/// The sum of the words of bytes, of which the last may be half of one.
fn sum(bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<2>();
    let words: u32 = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    words + rest.first().map_or(0, |last| u32::from(*last) << 8)
}

/// The Internet checksum of what has this sum.
fn checksum(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    !((once & 0xffff) + (once >> 16)) as u16
}

/// A socket that sends frames out of an interface.
fn raw_socket(interface: &str) -> io::Result<OwnedFd> {
    let (family, kind) = (AddressFamily::Packet, SockType::Raw);
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    let link = |it: InterfaceAddress| it.address?.as_link_addr().copied();
    let mut addresses = getifaddrs()?.filter(|it| it.interface_name == interface);
    let address = addresses.find_map(link);
    let address = address.ok_or_else(|| io::Error::other(format!("there is no {interface}")))?;
    bind(socket.as_raw_fd(), &address)?;
    Ok(socket)
}

fn send_all(
    socket: &OwnedFd,
    datagrams: &Datagrams,
    numbers: Range<u64>,
    rate: Option<u64>,
) -> io::Result<f64> {
    let mut frames = vec![datagrams.blank(); TOGETHER];
    let mut headers = MultiHeaders::<()>::preallocate(TOGETHER, None);
    let nobody = [None; TOGETHER];
    let none: [ControlMessage<'_>; 0] = [];
    let began = Instant::now();
    let mut next = numbers.start;
    while next < numbers.end {
        let count = TOGETHER.min((numbers.end - next) as usize);
        if let Some(rate) = rate {
            let due = Duration::from_secs_f64((next - numbers.start) as f64 / rate as f64);
            while began.elapsed() < due {
                match due - began.elapsed().min(due) {
                    long if long > Duration::from_millis(1) => std::thread::sleep(long / 2),
                    _ => std::hint::spin_loop(),
                }
            }
        }
        for (frame, number) in frames.iter_mut().zip(next..).take(count) {
            datagrams.fill(frame, number);
        }
        let slices: Vec<[IoSlice<'_>; 1]> =
            frames[..count].iter().map(|frame| [IoSlice::new(frame)]).collect();
        let to = &nobody[..count];
        let fd = socket.as_raw_fd();
        let sent = sendmmsg(fd, &mut headers, &slices, to, none, MsgFlags::empty())?;
        next += sent.count() as u64;
    }
    Ok(began.elapsed().as_secs_f64())
}

/// Runs a command that is to succeed.
pub(crate) fn run(program: &str, words: &[&str]) -> io::Result<()> {
    let output = Command::new(program).args(words).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program} {}: {}", words.join(" "), said.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_datagrams_whose_checksums_are_right() {
        for payload in [Payload::Same, Payload::Noise] {
            for length in [8, 9, 22, 471, 1458] {
                let traffic = Traffic { flows: Flows::Short, payload, port: 9000, length };
                let datagrams = Datagrams::new(traffic);
                let mut frame = datagrams.blank();
                for number in (0..100).chain([u64::MAX]) {
                    datagrams.fill(&mut frame, number);
                    assert_eq!(checksum(sum(&frame[14..34])), 0);
                    let pseudo = sum(&frame[26..34]) + 17 + (length + 8) as u32;
                    assert_eq!(checksum(pseudo + sum(&frame[34..])), 0, "{traffic:?} {number}");
                    assert_eq!(frame[HEADERS..][..8], number.to_le_bytes());
                }
            }
        }
    }

    #[test]
    fn what_is_sent_as_noise_cannot_be_compressed() {
        let (payload, length) = (Payload::Noise, 478);
        let traffic = Traffic { flows: Flows::Short, payload, port: 9000, length };
        let datagrams = Datagrams::new(traffic);
        let mut frame = datagrams.blank();
        let mut seen = std::collections::HashSet::new();
        // As many as a compressor looks back for.
        for number in 0..128 {
            datagrams.fill(&mut frame, number);
            seen.extend(frame[HEADERS + NUMBER..].as_chunks::<8>().0.iter().copied());
        }
        assert!(seen.len() > 128 * 58 * 9 / 10, "{} different pieces", seen.len());
    }
}
