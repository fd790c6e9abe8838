//! Finding host names in a filter before libpcap would ask the name server for them.
//!
//! A filter must mean the same on every machine and on every day, and asking for a name tells
//! others what is being looked for. So names of hosts and nets are refused; names of ports and
//! protocols, which come from local files, are fine.

/// Words of the filter language (`pcap-filter(7)`, and `scanner.l` of libpcap 1.10).
const KEYWORDS: &[&str] = &[
    "aarp",
    "action",
    "addr1",
    "addr2",
    "addr3",
    "addr4",
    "address1",
    "address2",
    "address3",
    "address4",
    "ah",
    "and",
    "arp",
    "atalk",
    "bcc",
    "broadcast",
    "byte",
    "carp",
    "clnp",
    "connectmsg",
    "csnp",
    "decnet",
    "direction",
    "dpc",
    "dst",
    "es-is",
    "esis",
    "esp",
    "ether",
    "fddi",
    "fisu",
    "gateway",
    "geneve",
    "greater",
    "hdpc",
    "hfisu",
    "hlssu",
    "hmsu",
    "hopc",
    "hsio",
    "hsls",
    "host",
    "icmp",
    "icmp6",
    "ifindex",
    "igmp",
    "igrp",
    "iih",
    "ilmic",
    "inbound",
    "ip",
    "ip6",
    "ipx",
    "is-is",
    "isis",
    "iso",
    "l1",
    "l2",
    "lane",
    "lat",
    "len",
    "length",
    "less",
    "link",
    "llc",
    "lsp",
    "lssu",
    "lsu",
    "mask",
    "metac",
    "metaconnect",
    "mopdl",
    "moprc",
    "mpls",
    "msu",
    "multicast",
    "net",
    "netbeui",
    "not",
    "oam",
    "oamf4",
    "oamf4ec",
    "oamf4sc",
    "on",
    "opc",
    "or",
    "outbound",
    "pim",
    "ppp",
    "pppoed",
    "pppoes",
    "psnp",
    "ra",
    "radio",
    "rarp",
    "sc",
    "sca",
    "sctp",
    "sio",
    "slip",
    "sls",
    "snp",
    "src",
    "stp",
    "ta",
    "tcp",
    "tr",
    "udp",
    "vci",
    "vlan",
    "vpi",
    "vrrp",
    "wlan",
];

/// Words behind which names that are no hosts stand: of ports, protocols, frame types, and so on.
const NAMING: &[&str] = &[
    "port",
    "portrange",
    "proto",
    "protochain",
    "type",
    "subtype",
    "dir",
    "ifname",
    "on",
    "reason",
    "rset",
    "ruleset",
    "rnr",
    "rulenum",
    "srnr",
    "subrulenum",
    "action",
    "llc",
];

/// The first host name in a filter.
pub(super) fn find(expression: &str) -> Option<&str> {
    // Whether bare names belong to a word of NAMING: qualifiers carry over `and` and `or`.
    let mut naming = false;
    let mut depth = 0usize;
    for token in tokens(expression) {
        match token {
            "[" => depth += 1,
            "]" => depth = depth.saturating_sub(1),
            _ if depth > 0 || !token.starts_with(|first: char| first.is_ascii_alphanumeric()) => {}
            _ if NAMING.contains(&token) => naming = true,
            "host" | "net" | "gateway" => naming = false,
            _ if KEYWORDS.contains(&token) || is_constant(token) || is_literal(token) => {}
            _ if naming => {}
            name => return Some(name),
        }
    }
    None
}

/// Words, brackets, and everything else one character at a time.
pub(super) fn tokens(expression: &str) -> impl Iterator<Item = &str> {
    let mut rest = expression;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let first = rest.chars().next()?;
        let in_word = |at: char| at.is_ascii_alphanumeric() || "_-.:$\\".contains(at);
        let length = if in_word(first) {
            rest.find(|at| !in_word(at)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (token, behind) = rest.split_at(length);
        rest = behind;
        Some(token)
    })
}

/// Named offsets and values, such as `tcpflags` and `icmp-echo`.
fn is_constant(token: &str) -> bool {
    matches!(token, "tcpflags" | "icmptype" | "icmpcode" | "icmp6type" | "icmp6code")
        || ["tcp-", "icmp-", "icmp6-"]
            .iter()
            .any(|prefix| token.starts_with(prefix) && !token.contains('.'))
}

/// A number, or an IPv4, IPv6 or MAC address, whole or in part.
fn is_literal(token: &str) -> bool {
    let all = |allowed: fn(u8) -> bool| token.bytes().all(allowed);
    let hexadecimal = |token: &str| token.bytes().all(|byte| byte.is_ascii_hexdigit());
    let groups = |separator: char, count: usize, longest: usize| {
        token.split(separator).count() == count
            && token
                .split(separator)
                .all(|group| (1..=longest).contains(&group.len()) && hexadecimal(group))
    };
    all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'-')
        || token.strip_prefix("0x").or(token.strip_prefix("0X")).is_some_and(hexadecimal)
        || (token.contains(':') && all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte)))
        || groups('-', 6, 2)
        || groups('.', 3, 4)
        || groups('.', 6, 2)
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn host_names_are_found_and_nothing_else_is_taken_for_one() {
        for (expression, name) in [
            ("host www.example.com", Some("www.example.com")),
            ("example", Some("example")),
            ("src beef", Some("beef")),
            ("port 80 and host a-b.c", Some("a-b.c")),
            ("tcp and foo", Some("foo")),
            ("net loopback", Some("loopback")),
            ("ether host router1", Some("router1")),
            ("port http or https", None),
            ("tcp port domain", None),
            ("ip proto ospf", None),
            ("ether proto \\ip6 and not tcp", None),
            ("host 10.0.0.1 and 10.0.0.2", None),
            ("host ff02::fb or ether host 30:46:9a:23:fb:fa", None),
            ("ether host 0011.2233.4455 or ether host 00-11-22-33-44-5f", None),
            ("tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", None),
            ("icmp[icmptype] = icmp-echo", None),
            ("wlan type mgt subtype beacon", None),
            ("tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420", None),
            ("portrange 20-25 and len - 14 = ip[2:2]", None),
            ("stp or iso or decnet or llc ui", None),
        ] {
            assert_eq!(find(expression), name, "{expression}");
        }
    }
}
