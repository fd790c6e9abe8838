//! Writing packets out as captures.

use std::collections::HashMap;
use std::io::Write;

use tapstone::Packet;
use tapstone_packet::capture_file::{PcapWriter, PcapngWriter};
use tapstone_packet::interface::Interface;

use crate::cli::Format;
use crate::exit::Failure;

/// Bytes gathered before they are written.
const BUFFER_SIZE: usize = 1 << 20;

/// Writes packets to a file or stream.
pub(crate) struct Export<W> {
    out: W,
    what: String,
    buffer: Vec<u8>,
    format: Open,
}

enum Open {
    Pcapng {
        writer: PcapngWriter,
        numbers: HashMap<Interface, u32>,
        /// Where the interface of the packet before is, and its number: packets of one unit share
        /// theirs.
        recent: Option<(usize, u32)>,
    },
    /// The header of a pcap file tells the link type, so it waits for the first packet.
    Pcap(Option<PcapWriter>),
}

impl<W: Write> Export<W> {
    pub(crate) fn new(out: W, what: String, format: Format) -> Export<W> {
        let mut buffer = Vec::with_capacity(BUFFER_SIZE + (1 << 18));
        let format = match format {
            Format::Pcapng => {
                let application = concat!("tapstone ", env!("CARGO_PKG_VERSION"));
                let writer = PcapngWriter::start(application, &mut buffer);
                Open::Pcapng { writer, numbers: HashMap::new(), recent: None }
            }
            Format::Pcap => Open::Pcap(None),
        };
        Export { out, what, buffer, format }
    }

    pub(crate) fn packet(&mut self, packet: &Packet) -> Result<(), Failure> {
        let interface = packet.interface();
        let (time, data, original_len) = (packet.time(), packet.data(), packet.original_len());
        match &mut self.format {
            Open::Pcapng { writer, numbers, recent } => {
                let place = std::ptr::from_ref(interface).addr();
                let number = match *recent {
                    Some((recent, number)) if recent == place => number,
                    _ => match numbers.get(interface) {
                        Some(number) => *number,
                        None => {
                            let number = writer.interface(interface, &mut self.buffer);
                            numbers.insert(interface.clone(), number);
                            number
                        }
                    },
                };
                *recent = Some((place, number));
                let options = packet.options();
                writer.packet(number, time, data, original_len, options, &mut self.buffer);
            }
            Open::Pcap(writer) => {
                let link_type = interface.link_type;
                let writer = writer.get_or_insert_with(|| {
                    PcapWriter::start(link_type, interface.snap_len, &mut self.buffer)
                });
                writer.packet(link_type, time, data, original_len, &mut self.buffer)?;
            }
        }
        if self.buffer.len() >= BUFFER_SIZE { self.flush() } else { Ok(()) }
    }

    /// Writes what was gathered; gives what it was written to.
    pub(crate) fn finish(mut self) -> Result<W, Failure> {
        if let Open::Pcap(writer @ None) = &mut self.format {
            // A capture without packets still has to be one.
            let link_type = tapstone_packet::interface::LinkType::ETHERNET;
            *writer = Some(PcapWriter::start(link_type, 0, &mut self.buffer));
        }
        self.flush()?;
        self.out.flush().map_err(|source| Failure::Write { what: self.what, source })?;
        Ok(self.out)
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let written = self.out.write_all(&self.buffer);
        self.buffer.clear();
        written.map_err(|source| Failure::Write { what: self.what.clone(), source })
    }
}
