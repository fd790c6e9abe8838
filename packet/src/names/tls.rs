//! What a TLS client says when it begins (RFC 8446, section 4.1.2): the server's name, and the
//! protocols it would speak.

use tls_parser::{
    TlsExtension, TlsMessageHandshake, parse_tls_client_hello_extensions,
    parse_tls_handshake_msg_client_hello,
};

use super::{Findings, NameKind};

const RECORD_HEADER_LEN: usize = 5;
const NAME_LEN_MAX: usize = 1024;

/// Whether a message begins as a handshake record.
pub(super) fn starts(payload: &[u8]) -> bool {
    matches!(payload, [22, 3, 0..=4, _, _, 1, ..] | [22, 3, 0..=4, _, _] | [22, 3, 0..=4, _])
}

/// Reads the ClientHello in a stream of records; `None` when it is not all there yet.
pub(super) fn records(mut stream: &[u8], found: &mut Findings) -> Option<()> {
    let mut handshake = Vec::new();
    loop {
        let header = stream.first_chunk::<RECORD_HEADER_LEN>()?;
        if header[0] != 22 {
            return Some(());
        }
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        let end = (RECORD_HEADER_LEN + length).min(stream.len());
        handshake.extend_from_slice(&stream[RECORD_HEADER_LEN..end]);
        if client_hello(&handshake, found).is_some() {
            return Some(());
        }
        stream = &stream[end..];
    }
}

/// Reads a handshake message; `None` when it is not all there yet.
pub(super) fn client_hello(handshake: &[u8], found: &mut Findings) -> Option<()> {
    let (head, body) = handshake.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
    if head[0] != 1 {
        return Some(());
    }
    let body = body.get(..length)?;
    if let Ok((_, TlsMessageHandshake::ClientHello(hello))) =
        parse_tls_handshake_msg_client_hello(body)
        && let Some(extensions) = hello.ext
    {
        // What comes behind an extension that makes no sense is lost, what came before is not.
        let mut rest = extensions;
        while let Some(&[_, _, high, low]) = rest.first_chunk::<4>() {
            let end = 4 + usize::from(u16::from_be_bytes([high, low]));
            let Some(one) = rest.get(..end) else { break };
            extension(one, found);
            rest = &rest[end..];
        }
    }
    Some(())
}

fn extension(bytes: &[u8], found: &mut Findings) {
    let Ok((_, extensions)) = parse_tls_client_hello_extensions(bytes) else { return };
    for extension in extensions {
        match extension {
            TlsExtension::SNI(names) => {
                for (_, name) in names.iter().filter(|(_, name)| name.len() <= NAME_LEN_MAX) {
                    found.add(NameKind::Sni, name);
                }
            }
            TlsExtension::ALPN(protocols) => {
                for protocol in protocols.iter().take(16) {
                    found.add(NameKind::Alpn, protocol);
                }
            }
            _ => {}
        }
    }
}
