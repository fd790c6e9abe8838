//! What can be typed.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::access::{Role, check_name};

const AFTER: &str = "\
Exit codes:
  0  the answer is complete (also when nothing matched)
  2  bad usage, or a bad filter
  3  the answer or the import is not complete
  4  the store cannot be used

Instants (--since, --until):
  2026-11-25T03:10:00Z, 2026-11-25T03:10:00+01:00, '2026-11-25 03:10' (UTC), '2h ago',
  '1d 6h ago', now, or seconds since 1970 such as 1764039000.25

Metadata queries (--where):
  sni:example.com              the domain and all below it; sni:\"example.com\" only itself
  dns:, http:, alpn:           likewise; name: is any of them, or an address that DNS gave for it
  ip:10.0.0.0/8 AND port:443   also proto:, vlan:, mac:, mpls:, vni:, tunnel:, ethertype:
  packets:[100 TO *]           also bytes:, duration: (seconds), port:[20 TO 25]
  community_id:\"1:...\"         AND, OR, NOT and parentheses join them

FILTER is a pcap filter (pcap-filter(7)), and means exactly what it means to tcpdump.";

/// A packet store: records network traffic, and gives back exactly what a tcpdump filter matches.
#[derive(Debug, Parser)]
#[command(name = "tapstone", version, after_long_help = AFTER)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Take captures in: pcap and pcapng, also .gz and .zst
    #[command(after_long_help = AFTER)]
    Import(Import),
    /// Find packets, and write them as pcapng or show them
    #[command(after_long_help = AFTER)]
    Query(Query),
    /// List the flows that matching packets belong to
    #[command(after_long_help = AFTER)]
    Flows(FlowsArgs),
    /// Say what is in a store
    Info(Report),
    /// Verify every checksum and every cross-reference
    Check(Report),
    /// Make catalog and splits anew, from the segments alone
    Rebuild(Report),
    /// Make a token for a caller who has no certificate, and the lines that make it known
    Token(TokenArgs),
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The store's folder; made when there is none
    #[arg(long, value_name = "DIR")]
    pub(crate) store: PathBuf,
    /// Report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Store what is stored already a second time
    #[arg(long)]
    pub(crate) again: bool,
    /// Capture files; - is a stream on the standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// Which packets.
#[derive(Debug, Args)]
pub(crate) struct Selectors {
    /// The store's folder
    #[arg(long, value_name = "DIR")]
    pub(crate) store: PathBuf,
    /// Packets at this instant or later
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    pub(crate) since: Option<String>,
    /// Packets before this instant
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    pub(crate) until: Option<String>,
    /// A metadata query on the packets' flows
    #[arg(long = "where", value_name = "META")]
    pub(crate) metadata: Option<String>,
    /// At most so many, the earliest
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// A pcap filter
    #[arg(value_name = "FILTER", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) filter: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Query {
    /// Write the packets to a file; - is the standard output
    #[arg(short = 'w', value_name = "FILE", conflicts_with_all = ["count", "json"])]
    pub(crate) write: Option<PathBuf>,
    /// The format of what is written
    #[arg(long, value_enum, default_value_t = Format::Pcapng)]
    pub(crate) format: Format,
    /// Print how many there are, and nothing else
    #[arg(long, conflicts_with = "json")]
    pub(crate) count: bool,
    /// Print a JSON line a packet
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) selectors: Selectors,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// pcapng: interfaces, comments and direction flags as they came in
    Pcapng,
    /// Classic pcap with nanosecond times; one link type only
    Pcap,
}

#[derive(Debug, Args)]
pub(crate) struct FlowsArgs {
    /// Print a JSON line a flow
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) selectors: Selectors,
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// The store's folder
    #[arg(long, value_name = "DIR")]
    pub(crate) store: PathBuf,
    /// Report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// What the audit log calls its owner
    #[arg(value_name = "NAME", value_parser = identity_name)]
    pub(crate) name: String,
    /// What its owner may do; can be given more than once
    #[arg(
        long = "role",
        value_name = "ROLE",
        default_value = Role::MetadataSearch.name(),
        value_parser = PossibleValuesParser::new(Role::ALL.map(Role::name)),
    )]
    pub(crate) roles: Vec<String>,
    /// Print token and hash as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn identity_name(name: &str) -> Result<String, String> {
    check_name(name).map(|()| name.to_owned())
}
