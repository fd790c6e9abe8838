//! A packet in a line, much as `tcpdump -n` shows it, and the same as separate fields.

use std::fmt::{self, Write};
use std::net::IpAddr;

use crate::decode::{Decoder, TcpHeader};
use crate::flow::{Endpoint, KeyPart, PathPart};
use crate::interface::Interface;

/// What a line about a packet says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Who sent it: address and port of the innermost layer.
    pub source: Option<Endpoint>,
    /// To whom.
    pub destination: Option<Endpoint>,
    /// The protocol: `tcp`, `udp`, `icmp`, `arp`, ..., or a number.
    pub protocol: String,
    /// VLAN ids, outermost first.
    pub vlans: Vec<u16>,
    /// TCP flags and sequence number.
    pub tcp: Option<TcpHeader>,
    /// Bytes of the transport's payload that were captured.
    pub payload_len: Option<usize>,
    /// ICMP type and code, as the first end of the flow would send them.
    icmp: Option<(u8, u8)>,
}

/// Looks at a packet.
#[must_use]
pub fn summarise(decoder: &mut Decoder, interface: &Interface, data: &[u8]) -> Summary {
    let decoded = decoder.decode(interface.link_type, interface.byte_order, data);
    let mut summary = Summary::default();
    let mut ether_type = None;
    for part in decoder.path().parts() {
        match part {
            PathPart::Vlan(id) => summary.vlans.push(id),
            PathPart::EtherType(found) => ether_type = Some(found),
            _ => {}
        }
    }
    summary.icmp = decoder.key().parts().find_map(|part| match part {
        KeyPart::Icmp(kind, code, _) => Some((kind, code)),
        _ => None,
    });
    match decoder.key().innermost() {
        Some(layer) => {
            let [first, second] = layer.ends;
            let ends = if decoded.from_first_end { (first, second) } else { (second, first) };
            (summary.source, summary.destination) = (Some(ends.0), Some(ends.1));
            summary.protocol = layer.protocol.map_or_else(
                || if ether_type == Some(0x8035) { "rarp" } else { "arp" }.to_owned(),
                protocol_name,
            );
        }
        None => {
            summary.protocol = match ether_type {
                Some(ether_type) => format!("ethertype 0x{ether_type:04x}"),
                None => format!("link type {}", interface.link_type.0),
            };
        }
    }
    if let Some(transport) = decoded.transport {
        summary.tcp = transport.tcp;
        summary.payload_len = Some(transport.payload.len());
    }
    summary
}

/// The usual word for an IP protocol, or its number.
#[must_use]
pub fn protocol_name(protocol: u8) -> String {
    let name = match protocol {
        1 => "icmp",
        2 => "igmp",
        6 => "tcp",
        17 => "udp",
        47 => "gre",
        50 => "esp",
        51 => "ah",
        58 => "icmp6",
        89 => "ospf",
        103 => "pim",
        112 => "vrrp",
        132 => "sctp",
        other => return other.to_string(),
    };
    name.to_owned()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for vlan in &self.vlans {
            write!(f, "vlan {vlan}, ")?;
        }
        let (Some(source), Some(destination)) = (self.source, self.destination) else {
            return f.write_str(&self.protocol);
        };
        if self.protocol.ends_with("arp") {
            let protocol = self.protocol.to_uppercase();
            return write!(f, "{protocol}, {} > {}", source.address, destination.address);
        }
        let version = if source.address.is_ipv4() { "IP" } else { "IP6" };
        write!(f, "{version} {} > {}: ", End(source), End(destination))?;
        let length = self.payload_len.unwrap_or(0);
        match (self.tcp, self.protocol.as_str(), self.icmp) {
            (Some(tcp), ..) => {
                write!(f, "Flags [{}], seq {}, length {length}", flags(tcp.flags), tcp.sequence)
            }
            (None, "udp", _) => write!(f, "UDP, length {length}"),
            (None, protocol, Some((kind, code))) if protocol.starts_with("icmp") => {
                write!(f, "{}, type {kind}, code {code}", protocol.to_uppercase())
            }
            (None, protocol, _) => f.write_str(protocol),
        }
    }
}

/// tcpdump's way to write an end: the port behind a dot.
struct End(Endpoint);

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.address {
            IpAddr::V4(address) => write!(f, "{address}")?,
            IpAddr::V6(address) => write!(f, "{address}")?,
        }
        self.0.port.map_or(Ok(()), |port| write!(f, ".{port}"))
    }
}

/// tcpdump's letters for TCP flags.
fn flags(flags: u8) -> String {
    const LETTERS: [(u8, char); 8] = [
        (0x01, 'F'),
        (0x02, 'S'),
        (0x04, 'R'),
        (0x08, 'P'),
        (0x10, '.'),
        (0x20, 'U'),
        (0x40, 'E'),
        (0x80, 'W'),
    ];
    let mut text = String::new();
    for (bit, letter) in LETTERS {
        if flags & bit != 0 {
            // A String takes every write.
            text.write_char(letter).ok();
        }
    }
    if text.is_empty() { "none".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interface::LinkType;

    #[test]
    fn lines_read_as_tcpdump_s_do() {
        let interface = Interface::new(LinkType::RAW);
        let mut syn = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 9, 10, 0, 0, 1];
        syn.extend([0xc0, 0, 1, 187, 0, 0, 0, 7, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]);
        let line = summarise(&mut Decoder::new(), &interface, &syn).to_string();
        assert_eq!(line, "IP 10.0.0.9.49152 > 10.0.0.1.443: Flags [S], seq 7, length 0");
        let line = summarise(&mut Decoder::new(), &interface, &[0x45]).to_string();
        assert_eq!(line, "ethertype 0x0800");
    }
}
