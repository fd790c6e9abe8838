//! A network to send through: a namespace of its own, with a pair of interfaces in it.

use std::fs::File;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

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

    /// Sends datagrams to a port: each is its number (8 bytes, little-endian) and then bytes 0xa5,
    /// `length` in all. So many a second, or as many as go. Gives the seconds it took.
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
        assert!(length >= 8, "no room for a number");
        let to = SocketAddrV4::new(Ipv4Addr::new(10, 9, 0, 77), port);
        self.within(move || {
            let socket = UdpSocket::bind("10.9.0.1:12345")?;
            send_all(&socket, to, numbers, length, rate)
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

fn send_all(
    socket: &UdpSocket,
    to: SocketAddrV4,
    numbers: Range<u64>,
    length: usize,
    rate: Option<u64>,
) -> io::Result<f64> {
    let mut payloads = vec![vec![0xa5; length]; TOGETHER];
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(TOGETHER, None);
    let to = [Some(SockaddrIn::from(to)); TOGETHER];
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
        for (payload, number) in payloads.iter_mut().zip(next..) {
            payload[..8].copy_from_slice(&number.to_le_bytes());
        }
        let slices: Vec<[IoSlice<'_>; 1]> =
            payloads[..count].iter().map(|payload| [IoSlice::new(payload)]).collect();
        let sent = sendmmsg(
            socket.as_raw_fd(),
            &mut headers,
            &slices,
            &to[..count],
            none,
            MsgFlags::empty(),
        )?;
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
