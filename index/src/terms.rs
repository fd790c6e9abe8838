//! The terms of the inverted index, and the schema that holds them.

use std::net::IpAddr;

use tantivy::schema::{BytesOptions, Field, Schema};
use tapstone_packet::names::{NameKind, reversed_labels};

/// The fields of the inverted index. Every term is a byte string; no field keeps frequencies,
/// positions, norms, or the value itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields {
    /// Addresses of both ends of every layer: 4 or 16 bytes.
    pub(crate) ip: Field,
    /// Ports of every layer: 2 bytes, big-endian.
    pub(crate) port: Field,
    /// Names: the kind, then the labels in reverse order ([`name_term`]).
    pub(crate) name: Field,
}

pub(crate) fn schema() -> (Schema, Fields) {
    let mut builder = Schema::builder();
    let mut field = |name| builder.add_bytes_field(name, BytesOptions::default().set_indexed());
    let fields = Fields { ip: field("ip"), port: field("port"), name: field("name") };
    (builder.build(), fields)
}

pub(crate) fn ip_term(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
        IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
    }
}

/// A name's term: the terms of a domain and of all names below it begin with the domain's term.
pub(crate) fn name_term(kind: NameKind, name: &[u8]) -> Vec<u8> {
    let mut term = vec![kind as u8];
    term.extend_from_slice(&reversed_labels(&name.to_ascii_lowercase()));
    term
}
