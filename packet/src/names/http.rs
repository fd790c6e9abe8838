//! The Host of HTTP/1 requests (RFC 9112).

use super::{Findings, NameKind};

const METHODS: [&[u8]; 12] = [
    b"GET ",
    b"POST ",
    b"HEAD ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"CONNECT ",
    b"PATCH ",
    b"TRACE ",
    b"NOTIFY ",
    b"M-SEARCH ",
    b"PROPFIND ",
];
const LINE_LEN_MAX: usize = 8192;
const HOST_LEN_MAX: usize = 1024;

/// Whether a message begins as a request: by its whole first line where that is there, since
/// methods are whatever their senders like, and else by a method that is known.
pub(super) fn starts(payload: &[u8]) -> bool {
    let method_like = |byte: &u8| byte.is_ascii_uppercase() || b"_-".contains(byte);
    if !payload.first().is_some_and(method_like) {
        return false;
    }
    let start = &payload[..payload.len().min(LINE_LEN_MAX)];
    match start.iter().position(|&byte| byte == b'\n') {
        Some(end) => {
            let line = start[..end].trim_ascii_end();
            line.iter().take_while(|byte| **byte != b' ').all(method_like)
                && line.windows(8).any(|window| window == b" HTTP/1.")
        }
        None => METHODS.iter().any(|method| payload.starts_with(method)),
    }
}

/// Looks for the Host of a request; `None` when its head is not all there yet.
pub(super) fn request(head: &[u8], found: &mut Findings) -> Option<()> {
    let mut rest = head;
    loop {
        let end = rest.iter().position(|&byte| byte == b'\n')?;
        let (line, behind) = rest.split_at(end);
        rest = &behind[1..];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Some(());
        }
        let Some((field, value)) = line.split_at_checked(5) else { continue };
        if field.eq_ignore_ascii_case(b"host:") {
            let host = without_port(value.trim_ascii());
            if !host.is_empty() && host.len() <= HOST_LEN_MAX {
                found.add(NameKind::Http, host);
            }
            return Some(());
        }
    }
}

/// DATA chunks of an SCTP packet (RFC 9260), its common header left out.
pub(super) fn sctp(mut chunks: &[u8], found: &mut Findings) {
    const DATA_HEADER_LEN: usize = 16;
    while let Some(&[kind, _, high, low]) = chunks.first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        if kind == 0
            && let Some(data) = chunks.get(DATA_HEADER_LEN..length.min(chunks.len()))
            && starts(data)
        {
            request(data, found);
        }
        if length < 4 {
            return;
        }
        chunks = chunks.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
}

fn without_port(host: &[u8]) -> &[u8] {
    let Some(colon) = host.iter().rposition(|&byte| byte == b':') else { return host };
    let (name, port) = host.split_at(colon);
    let in_brackets = name.starts_with(b"[") && !name.ends_with(b"]");
    if in_brackets || !port[1..].iter().all(u8::is_ascii_digit) { host } else { name }
}
