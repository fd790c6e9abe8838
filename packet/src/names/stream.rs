//! One direction of a TCP connection, put in order as far as names need it.

use super::{Findings, dns, http, tls};
use crate::decode::TcpHeader;

/// Bytes held of a message that is not complete, and of segments that came too early.
const HELD_MAX: usize = 64 << 10;
const EARLY_MAX: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Sequence number of the next byte in order.
    next: Option<u32>,
    /// A message that has begun and is not complete.
    message: Vec<u8>,
    kind: Kind,
    /// Segments that came before what belongs before them.
    early: Vec<(u32, Vec<u8>)>,
    misses: u8,
    /// There was an HTTP request, and there may be more.
    requests: bool,
    done: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Unknown,
    Tls,
    Http,
    Dns,
}

impl Stream {
    /// Whether a TLS client has said its name.
    pub(super) fn has_told(&self) -> bool {
        self.done
    }

    /// Segments that were nothing known; none are counted once there was a request.
    pub(super) fn misses(&self) -> u8 {
        if self.requests { 0 } else { self.misses }
    }

    pub(super) fn buffered(&self) -> usize {
        self.message.len() + self.early.iter().map(|(_, data)| data.len()).sum::<usize>()
    }

    pub(super) fn segment(
        &mut self,
        header: TcpHeader,
        payload: &[u8],
        dns: bool,
        found: &mut Findings,
    ) {
        let mut sequence = header.sequence;
        if header.syn {
            sequence = sequence.wrapping_add(1);
            *self = Stream { next: Some(sequence), ..Stream::default() };
        }
        if payload.is_empty() || self.done {
            return;
        }
        let next = *self.next.get_or_insert(sequence);
        let ahead = sequence.wrapping_sub(next) as i32;
        match ahead {
            0 => self.in_order(payload, dns, found),
            1.. => self.keep_early(sequence, payload, dns, found),
            // Sent again, perhaps with more behind it.
            _ => {
                if let Some(new) = payload.get(ahead.unsigned_abs() as usize..)
                    && !new.is_empty()
                {
                    self.in_order(new, dns, found);
                }
            }
        }
        self.take_early(dns, found);
    }

    fn keep_early(&mut self, sequence: u32, payload: &[u8], dns: bool, found: &mut Findings) {
        self.early.push((sequence, payload.to_vec()));
        if self.early.len() <= EARLY_MAX && self.buffered() <= HELD_MAX {
            return;
        }
        // What is missing will not come any more: go on behind it.
        let next = self.next.unwrap_or(sequence);
        let first = self.early.iter().map(|(sequence, _)| *sequence);
        let first = first.min_by_key(|sequence| sequence.wrapping_sub(next));
        self.message.clear();
        self.next = first;
        self.take_early(dns, found);
    }

    fn take_early(&mut self, dns: bool, found: &mut Findings) {
        while let Some(next) = self.next
            && let Some(index) =
                self.early.iter().position(|(start, _)| start.wrapping_sub(next) as i32 <= 0)
        {
            let (start, data) = self.early.swap_remove(index);
            if let Some(new) = data.get(next.wrapping_sub(start) as usize..)
                && !new.is_empty()
            {
                self.in_order(new, dns, found);
            }
        }
    }

    fn in_order(&mut self, data: &[u8], dns: bool, found: &mut Findings) {
        self.next = self.next.map(|next| next.wrapping_add(data.len() as u32));
        if self.message.is_empty() {
            self.kind = if dns {
                Kind::Dns
            } else if tls::starts(data) {
                Kind::Tls
            } else if http::starts(data) {
                Kind::Http
            } else {
                return self.miss();
            };
            if let Some(rest) = self.complete(data, found) {
                self.message.extend_from_slice(rest);
            }
            return;
        }
        self.message.extend_from_slice(data);
        let message = std::mem::take(&mut self.message);
        match self.complete(&message, found) {
            Some(rest) if rest.len() == message.len() => self.message = message,
            Some(rest) => self.message.extend_from_slice(rest),
            None => {}
        }
        if self.message.len() > HELD_MAX {
            self.message = Vec::new();
            self.miss();
        }
    }

    /// Reads the messages at the front of `data`; gives what is not complete yet.
    fn complete<'d>(&mut self, data: &'d [u8], found: &mut Findings) -> Option<&'d [u8]> {
        match self.kind {
            Kind::Tls => match tls::records(data, found) {
                // A client says its name once.
                Some(()) => self.done = true,
                None => return Some(data),
            },
            Kind::Http => match http::request(data, found) {
                // The next request of the connection may be for another host.
                Some(()) => self.requests = true,
                None => return Some(data),
            },
            Kind::Dns => {
                let mut rest = data;
                while let Some((length, behind)) = rest.split_first_chunk::<2>() {
                    let length = usize::from(u16::from_be_bytes(*length));
                    let Some(message) = behind.get(..length) else { return Some(rest) };
                    dns::message(message, true, found);
                    rest = &behind[length..];
                }
                return (!rest.is_empty()).then_some(rest);
            }
            Kind::Unknown => {}
        }
        None
    }

    fn miss(&mut self) {
        self.misses = self.misses.saturating_add(1);
    }
}
