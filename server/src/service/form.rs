//! The forms in which packets go out: pieces of a pcapng file, or packets by themselves.

use bytes::Bytes;
use tapstone::{Cursor, Packet};
use tapstone_client::proto;
use tapstone_client::proto::query_response::Content;
use tapstone_packet::capture_file::PcapngWriter;
use tapstone_packet::interface::Interface;

use super::convert;
use crate::export::APPLICATION;

/// Bytes that are gathered before they go out, when there is more at hand.
const PIECE: usize = 512 << 10;
/// Room for the first bytes of a piece: most answers are small.
const FIRST: usize = 16 << 10;

/// Gathers packets into messages.
pub(super) enum Form {
    Pcapng { writer: Box<PcapngWriter>, piece: Vec<u8> },
    Packets { known: Vec<Interface>, piece: proto::Packets, bytes: usize },
}

impl Form {
    pub(super) fn new(form: proto::Form) -> Form {
        match form {
            proto::Form::Unspecified | proto::Form::Pcapng => Form::Pcapng {
                writer: Box::new(PcapngWriter::new(APPLICATION)),
                piece: Vec::with_capacity(FIRST),
            },
            proto::Form::Packets => {
                Form::Packets { known: Vec::new(), piece: proto::Packets::default(), bytes: 0 }
            }
        }
    }

    /// Adds a packet.
    pub(super) fn add(&mut self, packet: &Packet) {
        match self {
            Form::Pcapng { writer, piece } => {
                let (interface, time) = (packet.interface(), packet.time());
                let (data, options) = (packet.data(), packet.options());
                writer.packet(interface, time, data, packet.original_len(), options, piece);
            }
            Form::Packets { known, piece, bytes } => {
                let interface = number(known, packet.interface(), piece);
                piece.packets.push(proto::Packet {
                    time: Some(convert::time(packet.time())),
                    data: packet.data().to_vec(),
                    original_length: packet.original_len(),
                    interface,
                    flow: packet.flow().to_string(),
                    options: packet.options().to_vec(),
                });
                *bytes += packet.data().len() + 128;
            }
        }
    }

    /// Whether enough has been gathered.
    pub(super) fn is_full(&self) -> bool {
        match self {
            Form::Pcapng { piece, .. } => piece.len() >= PIECE,
            Form::Packets { bytes, .. } => *bytes >= PIECE,
        }
    }

    /// What was gathered, if anything; `cursor` is the place behind its last packet.
    pub(super) fn take(&mut self, cursor: Option<Cursor>) -> Option<Content> {
        match self {
            Form::Pcapng { piece, .. } => {
                if piece.is_empty() {
                    return None;
                }
                // Whoever took one piece will take more of its size.
                let room = if piece.len() < PIECE { FIRST } else { PIECE + (PIECE >> 3) };
                let content = std::mem::replace(piece, Vec::with_capacity(room));
                let cursor = convert::cursor(cursor);
                Some(Content::Capture(proto::Capture { content: Bytes::from(content), cursor }))
            }
            Form::Packets { piece, bytes, .. } => {
                if piece.packets.is_empty() {
                    return None;
                }
                *bytes = 0;
                piece.cursor = convert::cursor(cursor);
                Some(Content::Packets(std::mem::take(piece)))
            }
        }
    }

    /// Ends the last piece.
    pub(super) fn finish(&mut self) {
        if let Form::Pcapng { writer, piece, .. } = self {
            writer.finish(piece);
        }
    }
}

/// The number of an interface, which is described when it is new.
fn number(known: &mut Vec<Interface>, interface: &Interface, piece: &mut proto::Packets) -> u32 {
    let number = known.iter().rposition(|it| it == interface).unwrap_or_else(|| {
        known.push(interface.clone());
        piece.interfaces.push(convert::interface(interface));
        known.len() - 1
    });
    number as u32
}
