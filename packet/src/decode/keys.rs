//! Building a flow key from what was found on the way in.

use crate::flow::{KeyTag, icmp_counterpart};
use crate::interface::LinkType;

const KEY_LEN_MAX: usize = 256;

/// Addresses and ports of one layer, in the packet's direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RawLayer {
    pub(super) kind: LayerKind,
    pub(super) protocol: u8,
    pub(super) source: [u8; 16],
    pub(super) destination: [u8; 16],
    pub(super) ports: Option<(u16, u16)>,
    pub(super) extra: Extra,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LayerKind {
    #[default]
    Ipv4,
    Ipv6,
    Arp,
}

/// What tells flows apart where there are no ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Extra {
    #[default]
    None,
    Icmp {
        kind: u8,
        code: u8,
        id: u16,
    },
    Fragment(u32),
}

/// The key under construction: first what stands before the layers, then, at the end, the layers
/// in the order that the innermost decides.
#[derive(Debug)]
pub(super) struct KeyBuffer {
    bytes: [u8; KEY_LEN_MAX],
    len: usize,
    /// Bytes before the layers.
    before: usize,
}

impl Default for KeyBuffer {
    fn default() -> Self {
        KeyBuffer { bytes: [0; KEY_LEN_MAX], len: 0, before: 0 }
    }
}

impl KeyBuffer {
    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Appends a part; what does not fit is left out (a key then stands for more packets).
    pub(super) fn push(&mut self, tag: u8, value: &[u8]) {
        let end = self.len + 1 + value.len();
        // Half is kept for the layers.
        if end <= KEY_LEN_MAX / 4 {
            self.push_unchecked(tag, value);
        }
    }

    /// Takes the layers off again.
    pub(super) fn unfinish(&mut self) {
        self.len = self.before;
    }

    /// Appends the layers; gives whether the innermost sender is the first end.
    pub(super) fn finish(&mut self, layers: &[RawLayer], link: LinkType, opaque: bool) -> bool {
        let first = layers.last().is_none_or(RawLayer::source_is_first);
        self.before = self.len;
        for layer in layers {
            self.push_layer(layer, first);
        }
        if opaque || self.len == 0 {
            self.push_unchecked(KeyTag::LINK_TYPE, &link.0.to_be_bytes());
        }
        if opaque {
            self.push_unchecked(KeyTag::OPAQUE, &[]);
        }
        first
    }

    fn push_layer(&mut self, layer: &RawLayer, source_first: bool) {
        let tag = match (layer.kind, layer.ports) {
            (LayerKind::Ipv4, None) => KeyTag::IPV4,
            (LayerKind::Ipv4, Some(_)) => KeyTag::IPV4_PORTS,
            (LayerKind::Ipv6, None) => KeyTag::IPV6,
            (LayerKind::Ipv6, Some(_)) => KeyTag::IPV6_PORTS,
            (LayerKind::Arp, _) => KeyTag::ARP,
        };
        let length = if layer.kind == LayerKind::Ipv6 { 16 } else { 4 };
        let (first, second) = ordered(source_first, &layer.source, &layer.destination);
        if layer.kind == LayerKind::Arp {
            self.push_unchecked(tag, &first[..length]);
        } else {
            self.push_unchecked(tag, &[layer.protocol]);
            self.extend(&first[..length]);
        }
        self.extend(&second[..length]);
        if let Some((source, destination)) = layer.ports {
            let (first, second) = ordered(source_first, source, destination);
            self.extend(&first.to_be_bytes());
            self.extend(&second.to_be_bytes());
        }
        match layer.extra {
            Extra::None => {}
            Extra::Fragment(id) => self.push_unchecked(KeyTag::FRAGMENT, &id.to_be_bytes()),
            Extra::Icmp { kind, code, id } => {
                let (kind, extra) = match icmp_counterpart(layer.protocol, kind) {
                    Some(counterpart) => (if source_first { kind } else { counterpart }, id),
                    None => (kind, u16::from(!source_first)),
                };
                let [high, low] = extra.to_be_bytes();
                self.push_unchecked(KeyTag::ICMP, &[kind, code, high, low]);
            }
        }
    }

    fn push_unchecked(&mut self, tag: u8, value: &[u8]) {
        self.bytes[self.len] = tag;
        self.len += 1;
        self.extend(value);
    }

    fn extend(&mut self, value: &[u8]) {
        self.bytes[self.len..self.len + value.len()].copy_from_slice(value);
        self.len += value.len();
    }
}

fn ordered<T>(source_first: bool, source: T, destination: T) -> (T, T) {
    if source_first { (source, destination) } else { (destination, source) }
}

/// A quarter of the buffer for tags, and four layers of at most 43 bytes with 9 bytes of marks.
const _: () = assert!(KEY_LEN_MAX / 4 + 4 * 43 + 9 <= KEY_LEN_MAX);

impl RawLayer {
    fn source_is_first(&self) -> bool {
        let ports = self.ports.unwrap_or_default();
        (self.source, ports.0) <= (self.destination, ports.1)
    }
}
