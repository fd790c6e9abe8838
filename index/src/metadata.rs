//! Metadata queries: tantivy's query language over what is known of flows.
//!
//! `AND`, `OR`, `NOT` and parentheses; `field:value`, `field:"value"`, `field:[a TO b]`,
//! `field: IN [a b]`. Names match by domain, and exactly when they are quoted.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use tantivy_query_grammar::{
    Delimiter, Occur, UserInputAst, UserInputBound, UserInputLeaf, UserInputLiteral, parse_query,
};
use tapstone_packet::flow::TunnelKind;
use tapstone_packet::names::NameKind;
use tapstone_packet::predicate::{NamePattern, NameTest, Net, Number, PathTest, Predicate};

const QUERY_LEN_MAX: usize = 16 << 10;
const DEPTH_MAX: u32 = 64;

/// The fields that can be asked for, each with an example.
pub const FIELDS: &[(&str, &str)] = &[
    ("ip", "ip:10.0.0.1, ip:10.0.0.0/8, ip:2001:db8::/32 (quote IPv6: ip:\"2001:db8::1\")"),
    ("port", "port:443, port:[20 TO 25]"),
    ("proto", "proto:tcp, proto:gre, proto:47, proto:tls, proto:dns"),
    ("vlan", "vlan:5"),
    ("mac", "mac:\"00:0b:82:01:fc:42\""),
    ("ethertype", "ethertype:0x88cc, ethertype:arp"),
    ("mpls", "mpls:29"),
    ("vni", "vni:42 (any tunnel's id: VXLAN, GENEVE, GRE key, GTP TEID, PPPoE session)"),
    ("tunnel", "tunnel:vxlan"),
    ("dns", "dns:example.com (and all below it), dns:\"example.com\" (only itself)"),
    ("sni", "sni:*.example.com"),
    ("alpn", "alpn:h2"),
    ("http", "http:example.com"),
    ("name", "name:example.com (any of the above, or an address that DNS gave for it)"),
    ("community_id", "community_id:\"1:LQU9qZlK+B5F3KDmev6m5PMibrg=\""),
    ("packets", "packets:[100 TO *]"),
    ("bytes", "bytes:[1000000 TO *]"),
    ("duration", "duration:[60 TO *] (seconds)"),
];

/// Why a metadata query cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// It does not follow the grammar.
    #[error(
        "the metadata query '{0}' cannot be understood; write it like sni:example.com AND port:443"
    )]
    Syntax(String),
    /// There is no such field.
    #[error("there is no field '{field}'{}; the fields are {}", nearest(.field), names())]
    Field {
        /// What was written.
        field: String,
    },
    /// A value without a field.
    #[error("'{0}' names no field; write for instance name:{0} or ip:{0}")]
    NoField(String),
    /// A value that the field cannot have.
    #[error("'{value}' is not a value of {field}; write for instance {}", example(.field))]
    Value {
        /// The field.
        field: String,
        /// What was written.
        value: String,
    },
    /// It is too long or too deeply nested.
    #[error("the metadata query is too long or too deeply nested")]
    TooLarge,
}

/// Reads a metadata query into a condition on flows; the empty one holds for all.
///
/// # Errors
///
/// When it cannot be understood; the error says what can be asked.
pub fn parse_metadata(text: &str) -> Result<Predicate, MetadataError> {
    if text.len() > QUERY_LEN_MAX || deepest(text) > DEPTH_MAX {
        return Err(MetadataError::TooLarge);
    }
    if text.trim().is_empty() {
        return Ok(Predicate::All);
    }
    let ast = parse_query(text).map_err(|_| MetadataError::Syntax(text.to_owned()))?;
    lower(&ast, None)
}

fn deepest(text: &str) -> u32 {
    let (mut depth, mut deepest) = (0u32, 0);
    for byte in text.bytes() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn lower(ast: &UserInputAst, outer: Option<&str>) -> Result<Predicate, MetadataError> {
    match ast {
        UserInputAst::Boost(inner, _) => lower(inner, outer),
        UserInputAst::Leaf(leaf) => lower_leaf(leaf, outer),
        UserInputAst::Clause(clauses) => {
            let (mut all, mut any, mut alternatives) = (Predicate::All, Predicate::None, false);
            for (occur, clause) in clauses {
                let part = lower(clause, outer)?;
                match occur {
                    Some(Occur::Must) => all = all.and(part),
                    Some(Occur::MustNot) => all = all.and(Predicate::Not(Box::new(part))),
                    // Words side by side must all hold; only OR makes alternatives.
                    None => all = all.and(part),
                    Some(Occur::Should) => {
                        alternatives = true;
                        any = any.or(part);
                    }
                }
            }
            Ok(if alternatives { all.and(any) } else { all })
        }
    }
}

fn lower_leaf(leaf: &UserInputLeaf, outer: Option<&str>) -> Result<Predicate, MetadataError> {
    match leaf {
        UserInputLeaf::All => Ok(Predicate::All),
        UserInputLeaf::Literal(literal) => lower_literal(literal, outer),
        UserInputLeaf::Range { field, lower, upper } => {
            let field = field.as_deref().or(outer).unwrap_or_default();
            lower_range(field, lower, upper)
        }
        UserInputLeaf::Set { field, elements } => {
            let field = field.as_deref().or(outer).unwrap_or_default();
            elements.iter().try_fold(Predicate::None, |any, element| {
                Ok(any.or(lower_value(field, element, false)?))
            })
        }
        UserInputLeaf::Exists { field } => lower_exists(field),
        UserInputLeaf::Regex { .. } => Err(MetadataError::Syntax(format!("{leaf:?}"))),
    }
}

fn lower_literal(
    literal: &UserInputLiteral,
    outer: Option<&str>,
) -> Result<Predicate, MetadataError> {
    let Some(field) = literal.field_name.as_deref().or(outer) else {
        return Err(MetadataError::NoField(literal.phrase.clone()));
    };
    let quoted = literal.delimiter != Delimiter::None;
    // `field:*` asks for any value.
    if !quoted && literal.phrase == "*" {
        return lower_exists(field);
    }
    lower_value(field, &literal.phrase, quoted)
}

fn lower_exists(field: &str) -> Result<Predicate, MetadataError> {
    match kinds(field) {
        Some(kinds) => Ok(Predicate::Name(NameTest { kinds, pattern: NamePattern::Any })),
        None => Err(value_error(field, "*")),
    }
}

fn lower_value(field: &str, value: &str, quoted: bool) -> Result<Predicate, MetadataError> {
    if let Some(kinds) = kinds(field) {
        let name = value.trim_end_matches('.').to_ascii_lowercase();
        let exact = quoted || field == "alpn";
        let pattern = match name.strip_prefix("*.") {
            Some(domain) => NamePattern::Domain(domain.to_owned()),
            None if exact => NamePattern::Exact(name),
            None => NamePattern::Domain(name),
        };
        return Ok(Predicate::Name(NameTest { kinds, pattern }));
    }
    let path = |test| Some(Predicate::Path(test));
    let lowered = match field {
        "ip" => net(value).map(Predicate::Net),
        "port" => value.parse().ok().map(|port: u16| Predicate::Port(port..=port)),
        "proto" => protocol(value),
        "vlan" => number(value).and_then(|id| path(PathTest::Vlan(u16::try_from(id).ok()?))),
        "mac" => mac(value).and_then(|mac| path(PathTest::Mac(mac))),
        "ethertype" => ether_type(value).and_then(|it| path(PathTest::EtherType(it))),
        "mpls" => number(value).and_then(|label| path(PathTest::Mpls(label))),
        "vni" => number(value).and_then(|id| path(PathTest::TunnelId(id))),
        "tunnel" => TunnelKind::ALL
            .into_iter()
            .find(|(_, word)| *word == value.to_ascii_lowercase())
            .and_then(|(kind, _)| path(PathTest::Tunnel(kind))),
        "community_id" => Some(Predicate::CommunityId(value.to_owned())),
        "packets" | "bytes" | "duration" => {
            let bound = numeric_bound(field, value)?;
            Some(Predicate::Number(numeric(field), bound..=bound))
        }
        _ => return Err(MetadataError::Field { field: field.to_owned() }),
    };
    lowered.ok_or_else(|| value_error(field, value))
}

fn lower_range(
    field: &str,
    lower: &UserInputBound,
    upper: &UserInputBound,
) -> Result<Predicate, MetadataError> {
    match field {
        "port" => {
            let parse = |text: &str| text.parse::<u16>().map_err(|_| value_error(field, text));
            let bounds = range(lower, upper, u16::MAX, parse)?;
            Ok(Predicate::Port(bounds))
        }
        "packets" | "bytes" | "duration" => {
            let bounds = range(lower, upper, u64::MAX, |text| numeric_bound(field, text))?;
            Ok(Predicate::Number(numeric(field), bounds))
        }
        "ip" => Err(value_error(field, "a range (write a network: ip:10.0.0.0/8)")),
        _ if FIELDS.iter().any(|(known, _)| *known == field) => Err(value_error(field, "a range")),
        _ => Err(MetadataError::Field { field: field.to_owned() }),
    }
}

fn range<
    T: Copy + Default + From<u8> + std::ops::Add<Output = T> + std::ops::Sub<Output = T> + PartialEq,
>(
    lower: &UserInputBound,
    upper: &UserInputBound,
    max: T,
    parse: impl Fn(&str) -> Result<T, MetadataError>,
) -> Result<RangeInclusive<T>, MetadataError> {
    let one = T::from(1);
    let low = match lower {
        UserInputBound::Unbounded => T::default(),
        UserInputBound::Inclusive(text) => parse(text)?,
        UserInputBound::Exclusive(text) => {
            let bound = parse(text)?;
            if bound == max { bound } else { bound + one }
        }
    };
    let high = match upper {
        UserInputBound::Unbounded => max,
        UserInputBound::Inclusive(text) => parse(text)?,
        UserInputBound::Exclusive(text) => {
            let bound = parse(text)?;
            if bound == T::default() { bound } else { bound - one }
        }
    };
    Ok(low..=high)
}

fn kinds(field: &str) -> Option<Vec<NameKind>> {
    if field == "name" {
        return Some(Vec::new());
    }
    NameKind::ALL.into_iter().find(|(_, word)| *word == field).map(|(kind, _)| vec![kind])
}

fn net(value: &str) -> Option<Net> {
    let (address, prefix) = match value.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix.parse().ok()?)),
        None => (value, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.unwrap_or(longest);
    (prefix <= longest).then_some(Net { address, prefix })
}

fn protocol(value: &str) -> Option<Predicate> {
    const PROTOCOLS: [(&str, u8); 14] = [
        ("icmp", 1),
        ("igmp", 2),
        ("ipip", 4),
        ("tcp", 6),
        ("udp", 17),
        ("ipv6", 41),
        ("gre", 47),
        ("esp", 50),
        ("ah", 51),
        ("icmp6", 58),
        ("ospf", 89),
        ("pim", 103),
        ("vrrp", 112),
        ("sctp", 132),
    ];
    let value = value.to_ascii_lowercase();
    let name = |kind| NameTest { kinds: vec![kind], pattern: NamePattern::Any };
    match value.as_str() {
        "tls" => {
            return Some(
                Predicate::Name(name(NameKind::Sni)).or(Predicate::Name(name(NameKind::Alpn))),
            );
        }
        "dns" => return Some(Predicate::Name(name(NameKind::Dns))),
        "http" => return Some(Predicate::Name(name(NameKind::Http))),
        "arp" => return Some(Predicate::Path(PathTest::EtherType(0x0806))),
        _ => {}
    }
    let known = PROTOCOLS.into_iter().find(|(word, _)| *word == value).map(|(_, number)| number);
    known.or_else(|| value.parse().ok()).map(|it| Predicate::Path(PathTest::Protocol(it)))
}

fn ether_type(value: &str) -> Option<u16> {
    match value.to_ascii_lowercase().as_str() {
        "ip" => Some(0x0800),
        "ip6" => Some(0x86dd),
        "arp" => Some(0x0806),
        "lldp" => Some(0x88cc),
        _ => number(value).and_then(|number| u16::try_from(number).ok()),
    }
}

fn mac(value: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut groups = value.split([':', '-']);
    for byte in &mut mac {
        *byte = u8::from_str_radix(groups.next()?, 16).ok()?;
    }
    groups.next().is_none().then_some(mac)
}

fn number(value: &str) -> Option<u32> {
    match value.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    }
}

fn numeric(field: &str) -> Number {
    match field {
        "packets" => Number::Packets,
        "bytes" => Number::Bytes,
        _ => Number::DurationNanos,
    }
}

/// Durations are in seconds, with decimals.
fn numeric_bound(field: &str, value: &str) -> Result<u64, MetadataError> {
    let bound = if field == "duration" {
        let seconds: Option<f64> = value.trim_end_matches('s').parse().ok();
        seconds.filter(|it| (0.0..1e9).contains(it)).map(|seconds| (seconds * 1e9) as u64)
    } else {
        value.parse().ok()
    };
    bound.ok_or_else(|| value_error(field, value))
}

fn value_error(field: &str, value: &str) -> MetadataError {
    if FIELDS.iter().any(|(known, _)| *known == field) {
        MetadataError::Value { field: field.to_owned(), value: value.to_owned() }
    } else {
        MetadataError::Field { field: field.to_owned() }
    }
}

fn names() -> String {
    FIELDS.iter().map(|(field, _)| *field).collect::<Vec<_>>().join(", ")
}

fn example(field: &str) -> &'static str {
    FIELDS.iter().find(|(known, _)| *known == field).map_or("", |(_, example)| *example)
}

/// The known field that shares the longest beginning with what was written.
fn nearest(field: &str) -> String {
    let shared = |known: &str| {
        known.bytes().zip(field.bytes()).take_while(|(known, given)| known == given).count()
    };
    FIELDS
        .iter()
        .max_by_key(|(known, _)| shared(known))
        .filter(|(known, _)| shared(known) > 0)
        .map_or(String::new(), |(known, _)| format!(" (did you mean {known}?)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Predicate) {
        assert_eq!(parse_metadata(text), Ok(expected), "{text}");
    }

    fn domain(kinds: Vec<NameKind>, name: &str) -> Predicate {
        Predicate::Name(NameTest { kinds, pattern: NamePattern::Domain(name.into()) })
    }

    #[test]
    fn queries_mean_what_their_words_say() {
        let sni = || domain(vec![NameKind::Sni], "example.com");
        let port = Predicate::Port(443..=443);
        check("", Predicate::All);
        check("sni:example.com", sni());
        check("sni:*.example.com", sni());
        check("sni:Example.COM.", sni());
        check(
            "dns:\"example.com\"",
            Predicate::Name(NameTest {
                kinds: vec![NameKind::Dns],
                pattern: NamePattern::Exact("example.com".into()),
            }),
        );
        check("sni:example.com AND port:443", Predicate::And(vec![sni(), port.clone()]));
        check("sni:example.com port:443", Predicate::And(vec![sni(), port.clone()]));
        check("sni:example.com OR port:443", Predicate::Or(vec![sni(), port.clone()]));
        check(
            "sni:example.com AND NOT port:443",
            Predicate::And(vec![sni(), Predicate::Not(Box::new(port))]),
        );
        check("port:[20 TO 25]", Predicate::Port(20..=25));
        check("port:[1024 TO *]", Predicate::Port(1024..=65535));
        check("vlan:5", Predicate::Path(PathTest::Vlan(5)));
        check("proto:gre", Predicate::Path(PathTest::Protocol(47)));
        check(
            "ip:10.0.0.0/8",
            Predicate::Net(Net { address: "10.0.0.0".parse().unwrap(), prefix: 8 }),
        );
        check(
            "ip:\"2001:db8::1\"",
            Predicate::Net(Net { address: "2001:db8::1".parse().unwrap(), prefix: 128 }),
        );
        check(
            "mac:\"00:0b:82:01:fc:42\"",
            Predicate::Path(PathTest::Mac([0, 0x0b, 0x82, 1, 0xfc, 0x42])),
        );
        check("packets:[100 TO *]", Predicate::Number(Number::Packets, 100..=u64::MAX));
        check("name:example.com", domain(vec![], "example.com"));
    }

    #[test]
    fn errors_say_what_can_be_asked() {
        for (text, words) in [
            ("snii:x", "did you mean sni"),
            ("port:http", "port:443"),
            ("example.com", "name:example.com"),
            ("ip:1.2.3", "ip:10.0.0.1"),
            ("AND AND", "cannot be understood"),
        ] {
            let error = parse_metadata(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
        assert_eq!(parse_metadata(&"(".repeat(100)), Err(MetadataError::TooLarge));
    }
}
