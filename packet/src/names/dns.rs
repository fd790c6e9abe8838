//! DNS messages (RFC 1035), read as far as they make sense: a resolver may refuse what a network
//! recorder must still find, so no resolver's parser serves here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Answer, Findings, NameKind};

const HEADER_LEN: usize = 12;
const NAME_LEN_MAX: usize = 255;
/// Most questions and records looked at in one message.
const RECORDS_MAX: usize = 256;

/// Reads a message. `expected` says that the port is DNS's; elsewhere only a message without any
/// fault is taken for one. Gives whether it was one.
pub(super) fn message(payload: &[u8], expected: bool, found: &mut Findings) -> bool {
    let Some(header) = payload.first_chunk::<HEADER_LEN>() else { return false };
    let count = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
    let (questions, answers) = (count(4), count(6));
    let opcode = header[2] >> 3 & 0xf;
    if !expected && (opcode != 0 || !plausible(payload, questions, answers)) {
        return false;
    }
    let start = found.names.len();
    let mut reader = Reader { message: payload, at: HEADER_LEN };
    let mut asked = None;
    for _ in 0..questions.min(RECORDS_MAX) {
        let Some(name) = reader.name() else { return found.names.len() > start };
        found.add(NameKind::Dns, &name);
        asked.get_or_insert(name);
        if reader.skip(4).is_none() {
            return true;
        }
    }
    let is_answer = header[2] & 0x80 != 0;
    if is_answer {
        reader.answers(answers.min(RECORDS_MAX), asked.as_deref(), found);
    }
    found.names.len() > start
}

/// Whether all counts and names of a message off DNS's ports fit it.
fn plausible(payload: &[u8], questions: usize, answers: usize) -> bool {
    if !(1..=4).contains(&questions) || answers > 64 || payload[3] & 0x40 != 0 {
        return false;
    }
    let mut reader = Reader { message: payload, at: HEADER_LEN };
    let question = |reader: &mut Reader<'_>| {
        let name = reader.name()?;
        let class = reader.skip(4)?;
        let printable = name.iter().all(|byte| (0x21..0x7f).contains(byte));
        (printable && name.contains(&b'.') && class[2..] == [0, 1]).then_some(())
    };
    (0..questions).all(|_| question(&mut reader).is_some())
        && (answers > 0 || payload[2] & 0x80 != 0 || reader.at <= payload.len())
        && (0..answers).all(|_| reader.record().is_some())
}

struct Reader<'m> {
    message: &'m [u8],
    at: usize,
}

struct Record<'m> {
    name: Vec<u8>,
    kind: u16,
    data: &'m [u8],
    data_at: usize,
}

impl<'m> Reader<'m> {
    fn skip(&mut self, length: usize) -> Option<&'m [u8]> {
        let bytes = self.message.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(bytes)
    }

    /// A name at the current place. Pointers must go backwards, so that they end.
    fn name(&mut self) -> Option<Vec<u8>> {
        let (name, next) = name_at(self.message, self.at)?;
        self.at = next;
        Some(name)
    }

    fn record(&mut self) -> Option<Record<'m>> {
        let name = self.name()?;
        let fixed = self.skip(10)?;
        let kind = u16::from_be_bytes([fixed[0], fixed[1]]);
        let length = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        let data_at = self.at;
        let data = self.skip(length)?;
        Some(Record { name, kind, data, data_at })
    }

    /// Addresses belong to their owner, to the name that was asked for, and to every alias.
    fn answers(&mut self, count: usize, asked: Option<&[u8]>, found: &mut Findings) {
        const A: u16 = 1;
        const CNAME: u16 = 5;
        const AAAA: u16 = 28;
        let mut names: Vec<Vec<u8>> = asked.map(<[u8]>::to_vec).into_iter().collect();
        for _ in 0..count {
            let Some(record) = self.record() else { return };
            if asked != Some(&record.name[..]) {
                found.add(NameKind::Dns, &record.name);
            }
            let address = match (record.kind, record.data.len()) {
                (A, 4) => record.data.first_chunk::<4>().map(|ip| IpAddr::V4(Ipv4Addr::from(*ip))),
                (AAAA, 16) => {
                    record.data.first_chunk::<16>().map(|ip| IpAddr::V6(Ipv6Addr::from(*ip)))
                }
                (CNAME, _) => {
                    if let Some((alias, _)) = name_at(self.message, record.data_at)
                        && names.contains(&record.name)
                        && names.len() < 16
                    {
                        names.push(alias);
                    }
                    None
                }
                _ => None,
            };
            let Some(address) = address else { continue };
            let aliases: &[Vec<u8>] = if names.contains(&record.name) {
                &names
            } else {
                std::slice::from_ref(&record.name)
            };
            found.answers.extend(
                aliases.iter().map(|name| Answer { name: name.to_ascii_lowercase(), address }),
            );
        }
    }
}

/// The name at `at`, labels joined by dots, and where it ends.
fn name_at(message: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let mut name = Vec::new();
    let mut end = None;
    let mut lowest = at;
    loop {
        let length = usize::from(*message.get(at)?);
        match length >> 6 {
            0 if length == 0 => return Some((name, end.unwrap_or(at + 1))),
            0 => {
                let label = message.get(at + 1..at + 1 + length)?;
                if name.len() + 1 + length > NAME_LEN_MAX {
                    return None;
                }
                if !name.is_empty() {
                    name.push(b'.');
                }
                name.extend_from_slice(label);
                at += 1 + length;
            }
            3 => {
                let target = (length & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
                end.get_or_insert(at + 2);
                if target >= lowest {
                    return None;
                }
                lowest = target;
                at = target;
            }
            _ => return None,
        }
    }
}
