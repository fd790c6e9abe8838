//! The ClientHello in a QUIC connection's first packets (RFC 9000, 9001, 9369): their keys come
//! from a value in the clear, so that anyone on the way can read them.

use ring::aead::quic::{AES_128, HeaderProtectionKey};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf;

use super::{Findings, tls};

/// Bytes of handshake held.
const CRYPTO_LEN_MAX: usize = 16 << 10;
/// Initial packets looked at.
const PACKETS_MAX: u8 = 16;

/// What a datagram was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    NotQuic,
    More,
    Complete,
}

/// A handshake that is not complete.
#[derive(Debug, Default)]
pub(super) struct Connection {
    /// The connection id that the keys come from: the client's first choice for the server.
    id: Vec<u8>,
    crypto: Vec<u8>,
    filled: Vec<(usize, usize)>,
    packets: u8,
}

impl Connection {
    pub(super) fn buffered(&self) -> usize {
        self.crypto.len()
    }
}

/// Reads the Initial packets of a datagram.
pub(super) fn initial(
    mut datagram: &[u8],
    connection: &mut Option<Box<Connection>>,
    found: &mut Findings,
) -> Outcome {
    let mut outcome = Outcome::NotQuic;
    while let Some(packet) = Packet::parse(datagram) {
        outcome = Outcome::More;
        if packet.is_initial {
            let state = connection.get_or_insert_default();
            state.packets += 1;
            if state.id.is_empty() {
                state.id = packet.destination.to_vec();
            }
            if state.packets > PACKETS_MAX {
                return Outcome::Complete;
            }
            // A client that was told to retry derives its keys from the new id.
            let id = state.id.clone();
            let opened = packet.open(&id).or_else(|| packet.open(packet.destination));
            if let Some(frames) = opened {
                state.take_crypto(&frames);
            }
            if let Some(handshake) = state.contiguous()
                && tls::client_hello(handshake, found).is_some()
            {
                *connection = None;
                return Outcome::Complete;
            }
        }
        datagram = packet.behind;
    }
    outcome
}

/// A packet with a long header.
struct Packet<'d> {
    /// The versions it may be: one, or any when the number is made up.
    versions: &'static [Version],
    is_initial: bool,
    destination: &'d [u8],
    /// From the first byte to the end of the packet.
    whole: &'d [u8],
    number_at: usize,
    behind: &'d [u8],
}

struct Version {
    numbers: &'static [u32],
    salt: [u8; 20],
    labels: [&'static [u8]; 3],
    initial_type: u8,
}

const LABELS_V1: [&[u8]; 3] = [b"quic key", b"quic iv", b"quic hp"];

static VERSIONS: [Version; 4] = [
    Version {
        numbers: &[1, 0xff00_0021, 0xff00_0022],
        salt: *b"\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a",
        labels: LABELS_V1,
        initial_type: 0,
    },
    Version {
        numbers: &[0x6b33_43cf],
        salt: *b"\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9",
        labels: [b"quicv2 key", b"quicv2 iv", b"quicv2 hp"],
        initial_type: 1,
    },
    Version {
        numbers: &[0xff00_001d, 0xff00_001e, 0xff00_001f, 0xff00_0020],
        salt: *b"\xaf\xbf\xec\x28\x99\x93\xd2\x4c\x9e\x97\x86\xf1\x9c\x61\x11\xe0\x43\x90\xa8\x99",
        labels: LABELS_V1,
        initial_type: 0,
    },
    Version {
        numbers: &[
            0xff00_0017,
            0xff00_0018,
            0xff00_0019,
            0xff00_001a,
            0xff00_001b,
            0xff00_001c,
            0xface_b002,
        ],
        salt: *b"\xc3\xee\xf7\x12\xc7\x2e\xbb\x5a\x11\xa7\xd2\x43\x2b\xb4\x63\x65\xbe\xf9\xf5\x02",
        labels: LABELS_V1,
        initial_type: 0,
    },
];

impl<'d> Packet<'d> {
    fn parse(datagram: &'d [u8]) -> Option<Packet<'d>> {
        let (&[first, v0, v1, v2, v3], mut rest) = datagram.split_first_chunk::<5>()?;
        let number = u32::from_be_bytes([v0, v1, v2, v3]);
        let made_up = number & 0x0f0f_0f0f == 0x0a0a_0a0a;
        let versions = if made_up {
            // Sent to force a negotiation; the keys are those of the sender's favourite version.
            &VERSIONS[..]
        } else {
            let index = VERSIONS.iter().position(|version| version.numbers.contains(&number))?;
            &VERSIONS[index..=index]
        };
        if first & 0xc0 != 0xc0 {
            return None;
        }
        let destination = take_short(&mut rest)?;
        take_short(&mut rest)?;
        let is_initial = first >> 4 & 3 == versions[0].initial_type;
        if is_initial {
            let length = take_varint(&mut rest)?;
            rest = rest.get(usize::try_from(length).ok()?..)?;
        }
        let length = usize::try_from(take_varint(&mut rest)?).ok()?;
        let behind = rest.get(length..)?;
        let number_at = datagram.len() - rest.len();
        let whole = &datagram[..datagram.len() - behind.len()];
        Some(Packet { versions, is_initial, destination, whole, number_at, behind })
    }

    /// Takes off header and packet protection with the client's keys for a connection id.
    fn open(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.versions.iter().find_map(|version| self.open_as(version, id))
    }

    fn open_as(&self, version: &Version, id: &[u8]) -> Option<Vec<u8>> {
        let keys = Keys::of_client(version, id)?;
        let sample = self.whole.get(self.number_at + 4..self.number_at + 20)?;
        let mask = keys.header.new_mask(sample).ok()?;
        let mut header = self.whole.get(..self.number_at + 4)?.to_vec();
        header[0] ^= mask[0] & 0x0f;
        let number_len = usize::from(header[0] & 3) + 1;
        header.truncate(self.number_at + number_len);
        let mut nonce = keys.iv;
        for index in 0..number_len {
            let byte = header[self.number_at + index] ^ mask[1 + index];
            header[self.number_at + index] = byte;
            nonce[12 - number_len + index] ^= byte;
        }
        let mut body = self.whole.get(header.len()..)?.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = keys.packet.open_in_place(nonce, Aad::from(&header[..]), &mut body).ok()?;
        Some(opened.to_vec())
    }
}

struct Keys {
    packet: LessSafeKey,
    iv: [u8; 12],
    header: HeaderProtectionKey,
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl Keys {
    fn of_client(version: &Version, id: &[u8]) -> Option<Keys> {
        let initial = hkdf::Salt::new(hkdf::HKDF_SHA256, &version.salt).extract(id);
        let mut secret = [0; 32];
        expand_label(&initial, b"client in", &mut secret)?;
        let client = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &secret);
        let (mut key, mut iv, mut header) = ([0; 16], [0; 12], [0; 16]);
        expand_label(&client, version.labels[0], &mut key)?;
        expand_label(&client, version.labels[1], &mut iv)?;
        expand_label(&client, version.labels[2], &mut header)?;
        Some(Keys {
            packet: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).ok()?),
            iv,
            header: HeaderProtectionKey::new(&AES_128, &header).ok()?,
        })
    }
}

/// HKDF-Expand-Label of TLS 1.3 (RFC 8446, section 7.1), without context.
fn expand_label(secret: &hkdf::Prk, label: &[u8], out: &mut [u8]) -> Option<()> {
    let length = u16::try_from(out.len()).ok()?.to_be_bytes();
    let label_len = [u8::try_from(6 + label.len()).ok()?];
    let info = [&length[..], &label_len, b"tls13 ", label, &[0]];
    secret.expand(&info, Length(out.len())).ok()?.fill(out).ok()
}

impl Connection {
    /// Collects the CRYPTO frames among an Initial packet's frames.
    fn take_crypto(&mut self, mut frames: &[u8]) -> Option<()> {
        while let Some((&kind, rest)) = frames.split_first() {
            frames = rest;
            match kind {
                // PADDING, PING
                0 | 1 => {}
                // ACK, with counts of congestion when odd
                2 | 3 => {
                    take_varint(&mut frames)?;
                    take_varint(&mut frames)?;
                    let ranges = take_varint(&mut frames)?;
                    take_varint(&mut frames)?;
                    for _ in 0..ranges.checked_mul(2)? {
                        take_varint(&mut frames)?;
                    }
                    for _ in 0..if kind == 3 { 3 } else { 0 } {
                        take_varint(&mut frames)?;
                    }
                }
                6 => {
                    let offset = usize::try_from(take_varint(&mut frames)?).ok()?;
                    let length = usize::try_from(take_varint(&mut frames)?).ok()?;
                    let (data, rest) = frames.split_at_checked(length)?;
                    frames = rest;
                    self.put(offset, data)?;
                }
                _ => return None,
            }
        }
        Some(())
    }

    fn put(&mut self, offset: usize, data: &[u8]) -> Option<()> {
        let end = offset.checked_add(data.len()).filter(|&end| end <= CRYPTO_LEN_MAX)?;
        if self.crypto.len() < end {
            self.crypto.resize(end, 0);
        }
        self.crypto[offset..end].copy_from_slice(data);
        self.filled.push((offset, end));
        self.filled.sort_unstable();
        Some(())
    }

    /// The handshake's bytes from the start up to the first gap.
    fn contiguous(&self) -> Option<&[u8]> {
        let mut end = 0;
        for &(from, to) in &self.filled {
            if from > end {
                break;
            }
            end = end.max(to);
        }
        self.crypto.get(..end).filter(|bytes| !bytes.is_empty())
    }
}

fn take_short<'d>(rest: &mut &'d [u8]) -> Option<&'d [u8]> {
    let (&length, behind) = rest.split_first()?;
    let (taken, behind) = behind.split_at_checked(usize::from(length))?;
    *rest = behind;
    Some(taken)
}

/// A QUIC variable-length integer (RFC 9000, section 16).
fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let (&first, _) = rest.split_first()?;
    let length = 1usize << (first >> 6);
    let (bytes, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    let value = bytes.iter().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
    Some(value & (u64::MAX >> (66 - 8 * length)))
}
