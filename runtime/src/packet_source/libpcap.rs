//! What libpcap captures: all interfaces at once (`any`), packets that netfilter logs, USB, and
//! interfaces of kinds for which there is no ring of ours.

use std::fmt;
use std::io;
use std::time::Duration;

use pcap::{Active, Capture, Device, Linktype, Packet, Precision};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use rustix::thread::{CapabilitySet, capabilities};

use crate::clock::Stopwatch;
use crate::packet_ring::{
    HELD_AT_MOST, NOTHING, OpenError, RETIRED_AFTER, RingCounts, RingPacket, attach, interfaces,
};

/// Packets that are taken before anything else is looked after. They are 262,144 bytes long at
/// most, so that a batch does not grow much beyond its size.
const AT_ONCE: usize = 32;
/// Netfilter keeps what it logs for a second, unless it is much.
const LOGGED_AFTER: Duration = Duration::from_millis(1_100);
/// Linux cooked captures, version 1 and 2 (`DLT_LINUX_SLL`, `DLT_LINUX_SLL2`).
const COOKED: Linktype = Linktype(113);
const COOKED_2: Linktype = Linktype(276);

/// How libpcap is to capture.
#[derive(Clone, Debug)]
pub struct LibpcapOptions {
    /// Bytes that it keeps of a packet.
    pub snap_len: u32,
    /// Bytes of the memory where packets wait, where that can be said.
    pub size: usize,
    /// Whether packets that are not for this machine are wanted, where that makes a difference.
    pub promiscuous: bool,
}

/// A device that libpcap has opened.
pub struct Libpcap {
    capture: Capture<Active>,
    /// Times are nanoseconds, and not microseconds.
    is_precise: bool,
    /// Packets that it gave.
    given: u64,
    losses: Losses,
    /// It may have more that no waiting would show.
    has_more: bool,
    /// It failed when it was last asked for packets.
    is_failing: bool,
    /// How long the kernel may keep a packet before it is there to be taken.
    held_at_most: Duration,
    /// Since no more packets are wanted, where the kernel does not keep them from coming.
    over: Option<Stopwatch>,
}

impl fmt::Debug for Libpcap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Libpcap").field("given", &self.given).finish_non_exhaustive()
    }
}

impl Libpcap {
    /// Opens a device. From now on its packets wait, all of them.
    ///
    /// # Errors
    ///
    /// When libpcap knows no such device, or it may not be captured from.
    pub fn open(device: &str, options: &LibpcapOptions) -> Result<Libpcap, OpenError> {
        if device.starts_with("nfqueue") {
            return Err(OpenError::Libpcap {
                interface: device.to_owned(),
                message: "whoever takes packets from a queue must let each of them pass".to_owned(),
                hint: "; have them logged instead, and capture from nflog:GROUP",
            });
        }
        let is_interface = interfaces().iter().any(|it| it == device);
        // These alone have times of nanoseconds, whoever asks for them.
        let is_precise = is_interface || device == "any";
        let opened = Capture::from_device(device).and_then(|it| {
            let size = i32::try_from(options.size).unwrap_or(i32::MAX);
            let it = it.snaplen(options.snap_len as i32).buffer_size(size);
            // All interfaces at once cannot be promiscuous, and libpcap takes it amiss.
            let it = it.promisc(options.promiscuous && is_interface).timeout(RETIRED_AFTER as i32);
            let it = if is_precise { it.precision(Precision::Nano) } else { it };
            it.open()?.setnonblock()
        });
        let mut capture = opened.map_err(|error| refused(device, &error))?;
        if capture.get_datalink() == COOKED {
            // The second version says which interface it was. One that refuses has the first.
            capture.set_datalink(COOKED_2).ok();
        }
        if !is_precise {
            let size = sockopt::set_socket_recv_buffer_size_force(&capture, options.size);
            // What is no socket has a size of its own.
            size.or_else(|_| sockopt::set_socket_recv_buffer_size(&capture, options.size)).ok();
        }
        let is_log = device.starts_with("nflog");
        Ok(Libpcap {
            capture,
            is_precise,
            given: 0,
            losses: Losses::new(device.starts_with("usbmon")),
            has_more: false,
            is_failing: false,
            held_at_most: if is_log { LOGGED_AFTER } else { HELD_AT_MOST },
            over: None,
        })
    }

    /// What its packets begin with, as libpcap numbers it on this system (`DLT_*`).
    #[must_use]
    pub fn data_link(&self) -> i32 {
        self.capture.get_datalink().0
    }

    /// Whether the times of its packets are nanoseconds; else they are microseconds.
    #[must_use]
    pub fn is_precise(&self) -> bool {
        self.is_precise
    }

    /// Gives packets that match from now on, and none that came before and does not.
    ///
    /// # Errors
    ///
    /// When libpcap refuses the filter.
    pub fn filter(&mut self, device: &str, expression: &str) -> Result<(), OpenError> {
        let refused = |error| OpenError::Program {
            interface: device.to_owned(),
            source: io::Error::other(message(&error)),
        };
        self.capture.filter(expression, true).map_err(refused)
    }

    pub(super) fn held_at_most(&self) -> Duration {
        self.held_at_most
    }

    pub(super) fn take(&mut self, mut show: impl FnMut(&RingPacket<'_>)) -> Option<u64> {
        let is_over = self.over.is_some_and(|since| since.elapsed() > self.held_at_most);
        if is_over || !(self.has_more || self.is_ready()) {
            return None;
        }
        let is_precise = self.is_precise;
        match self.capture.dispatch(Some(AT_ONCE), |it| show(&as_ring_packet(&it, is_precise))) {
            Ok(count) => {
                self.given += count as u64;
                self.has_more = count >= AT_ONCE;
                self.is_failing = false;
                Some(count as u64)
            }
            Err(error) => {
                self.has_more = false;
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!("libpcap gives no packets: {}", message(&error));
                }
                None
            }
        }
    }

    /// Whether packets wait: some devices cannot be asked for them otherwise without waiting.
    fn is_ready(&self) -> bool {
        let mut descriptors = [PollFd::new(&self.capture, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut descriptors, Some(&now)).is_ok_and(|ready| ready > 0)
    }

    /// What libpcap leaves out itself counts as little as what the kernel's filter leaves out; so
    /// what came is what it gave and what it says was lost.
    pub(super) fn counts(&mut self) -> io::Result<RingCounts> {
        let statistics = self.capture.stats().map_err(|error| io::Error::other(message(&error)))?;
        let dropped = self.losses.add(statistics.dropped);
        Ok(RingCounts { received: self.given + dropped, dropped })
    }

    /// A filter of libpcap's would leave out what waits already, and one of ours what netfilter has
    /// logged and still keeps.
    pub(super) fn stop(&mut self) {
        if self.held_at_most > HELD_AT_MOST || attach(&self.capture, &NOTHING).is_err() {
            self.over = Some(Stopwatch::start());
        }
    }
}

/// How many packets were lost so far, of what libpcap says each time.
#[derive(Debug)]
struct Losses {
    /// The kernel begins from zero each time, and libpcap does not add it up.
    begin_anew: bool,
    last: u32,
    sum: u64,
}

impl Losses {
    fn new(begin_anew: bool) -> Losses {
        Losses { begin_anew, last: 0, sum: 0 }
    }

    fn add(&mut self, said: u32) -> u64 {
        // It has 32 bits, and begins from zero behind them.
        let more = if self.begin_anew { said } else { said.wrapping_sub(self.last) };
        self.last = said;
        self.sum += u64::from(more);
        self.sum
    }
}

fn as_ring_packet<'p>(packet: &Packet<'p>, is_precise: bool) -> RingPacket<'p> {
    let (time, fraction) = (packet.header.ts, packet.header.ts.tv_usec as u32);
    RingPacket {
        secs: time.tv_sec as u32,
        nanos: if is_precise { fraction } else { fraction * 1000 },
        data: packet.data,
        original: packet.header.len,
        vlan: None,
    }
}

fn message(error: &pcap::Error) -> String {
    match error {
        pcap::Error::PcapError(message) if !message.is_empty() => message.clone(),
        pcap::Error::PcapError(_) => "libpcap does not say why".to_owned(),
        other => other.to_string(),
    }
}

fn refused(device: &str, error: &pcap::Error) -> OpenError {
    let listed = Device::list().unwrap_or_default().into_iter().map(|it| it.name);
    let mut known = interfaces();
    known.extend(listed);
    known.retain(|it| it != "nfqueue");
    known.sort();
    known.dedup();
    let may = capabilities(None).map_or(CapabilitySet::all(), |it| it.effective);
    explain(device, message(error), known, may)
}

/// What to do about a device that cannot be opened.
fn explain(device: &str, message: String, known: Vec<String>, may: CapabilitySet) -> OpenError {
    let interface = device.to_owned();
    // `nflog:5` is listed as `nflog`.
    let family = device.split(':').next().unwrap_or(device);
    let is_known = known.iter().any(|it| it == family);
    let (needs, capability) = match family {
        "nflog" => (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
        _ => (CapabilitySet::NET_RAW, "CAP_NET_RAW"),
    };
    if family.starts_with("usbmon") {
        let hint =
            "; load the kernel's module (modprobe usbmon) and let this user read /dev/usbmon*";
        return OpenError::Libpcap { interface, message, hint };
    }
    if !is_known {
        return OpenError::NoSuchInterface { interface, known };
    }
    if !may.contains(needs) {
        return OpenError::NotAllowed { interface, capability };
    }
    OpenError::Libpcap { interface, message, hint: "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_added_up_however_they_are_said() {
        let said = |begin_anew, said: &[u32]| {
            let mut losses = Losses::new(begin_anew);
            said.iter().map(|it| losses.add(*it)).collect::<Vec<u64>>()
        };
        assert_eq!(said(false, &[0, 3, 3, 10]), [0, 3, 3, 10]);
        let turned = 1 << 32;
        assert_eq!(said(false, &[u32::MAX, 4, 5]), [turned - 1, turned + 4, turned + 5]);
        assert_eq!(said(true, &[3, 0, 3]), [3, 3, 6]);
    }

    #[test]
    fn what_is_wrong_with_a_device_is_told_with_what_to_do() {
        let known = || vec!["any".to_owned(), "lo".to_owned(), "nflog".to_owned()];
        let told =
            |device: &str, may| explain(device, "it is so".to_owned(), known(), may).to_string();
        let (all, none) = (CapabilitySet::all(), CapabilitySet::empty());
        assert_eq!(
            told("eth7", all),
            "there is no network interface 'eth7'; there are: any, lo, nflog"
        );
        assert!(
            told("any", none).starts_with("capturing from any needs the capability CAP_NET_RAW")
        );
        let nflog = told("nflog:5", CapabilitySet::NET_RAW);
        assert!(nflog.contains("capability CAP_NET_ADMIN"), "{nflog}");
        assert!(nflog.contains("setcap cap_net_admin+ep FILE"), "{nflog}");
        assert_eq!(told("nflog:70000", all), "cannot capture from nflog:70000: it is so");
        let usb = told("usbmon1", none);
        assert!(usb.contains("it is so; load the kernel's module (modprobe usbmon)"), "{usb}");
    }

    #[test]
    fn times_are_taken_as_precise_as_they_are() {
        let ts = libc::timeval { tv_sec: 5, tv_usec: 7 };
        let header = pcap::PacketHeader { ts, caplen: 3, len: 9 };
        let packet = Packet::new(&header, b"abc");
        let nanos = |is_precise| as_ring_packet(&packet, is_precise).nanos;
        assert_eq!((nanos(true), nanos(false)), (7, 7_000));
        let expected = RingPacket { secs: 5, nanos: 7, data: b"abc", original: 9, vlan: None };
        assert_eq!(as_ring_packet(&packet, true), expected);
    }
}
