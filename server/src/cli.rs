//! What can be typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use jiff::SignedDuration;
use tapstone::{CaptureOptions, Cursor};
use tapstone_client::Address;

use crate::access::{Role, check_name};
use crate::quantity;

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
    /// Say what state a store is in, and why
    State(StateArgs),
    /// Verify every checksum and every cross-reference
    Check(Report),
    /// Let go what need not be kept, and destroy the keys of what has gone
    Cleanup(CleanupArgs),
    /// Make good what can be made anew, and verify everything, slowly
    Scrub(ScrubArgs),
    /// Make catalog and splits anew, from the segments alone
    Rebuild(Rebuild),
    /// Count packets over time
    #[command(after_long_help = AFTER)]
    Histogram(Histogram),
    /// Seal what is open, and wait until everything is indexed
    Seal(Seal),
    /// Record the packets of network interfaces; answers queries meanwhile
    #[command(mut_arg("interfaces", |it| it.required(true)))]
    Capture(Serve),
    /// Serve a store to others, through gRPC; records packets too, when interfaces are given
    Serve(Serve),
    /// Make durable, now, what has come so far
    Flush(Seal),
    /// Make a signed report of what was kept, held, expired, lost and read
    #[command(after_long_help = AFTER)]
    Report(Compliance),
    /// Copy a store as it is now into a folder of its own, and verify the copy
    Backup(Backup),
    /// Make a store of a backup
    Restore(Restore),
    /// Keep packets from being let go, whatever else is kept
    #[command(subcommand)]
    Hold(Hold),
    /// Show or verify the audit log: who asked what, and what became of it
    #[command(subcommand)]
    Audit(Audit),
    /// Say what a server's configuration is, or whether it is one
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Be an interface of Wireshark: --install puts it into Wireshark's capture dialog
    Extcap(Extcap),
    /// Make a token for a caller who has no certificate, and the lines that make it known
    Token(TokenArgs),
}

/// Where the store is: a folder here, or a server.
///
/// A store that a server has open is reached through the server's socket in the folder.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The store's folder
    #[arg(long, value_name = "DIR", conflicts_with = "server")]
    pub(crate) store: Option<PathBuf>,
    /// The server that has the store: HOST:PORT, or http://HOST:PORT without TLS
    #[arg(long, value_name = "ADDRESS", env = "TAPSTONE_SERVER")]
    pub(crate) server: Option<Address>,
    /// Authorities that vouch for the server (PEM)
    #[arg(long, value_name = "FILE", requires = "server")]
    pub(crate) ca: Option<PathBuf>,
    /// This client's certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// The certificate's key (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// A file that holds a bearer token; or the variable TAPSTONE_TOKEN holds it
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Go on with each change
    #[arg(long)]
    pub(crate) watch: bool,
    /// Begin with the last transitions
    #[arg(long)]
    pub(crate) history: bool,
    /// Report as JSON; with --watch, one state a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    #[command(flatten)]
    pub(crate) place: Place,
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
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) range: Range,
    /// A pcap filter
    #[arg(value_name = "FILTER", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) filter: Vec<String>,
}

/// Which packets, but for the filter.
#[derive(Clone, Debug, Args)]
pub(crate) struct Range {
    #[command(flatten)]
    pub(crate) about: About,
    /// At most so many, the earliest
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Packets behind the place where an earlier answer to the same question ended
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<Cursor>,
}

/// What packets are about: their time, and their flows.
#[derive(Clone, Debug, Args)]
pub(crate) struct About {
    /// Packets at this instant or later
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    pub(crate) since: Option<String>,
    /// Packets before this instant
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    pub(crate) until: Option<String>,
    /// A metadata query on the packets' flows
    #[arg(long = "where", value_name = "META")]
    pub(crate) metadata: Option<String>,
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
pub(crate) struct Histogram {
    /// How long a bar is: 10s, 5m, 1h
    #[arg(long, value_name = "TIME", default_value = "1m")]
    pub(crate) width: SignedDuration,
    /// Bars of their own for each interface, or for each protocol
    #[arg(long, value_enum)]
    pub(crate) by: Option<By>,
    /// Print a JSON line a bar
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) selectors: Selectors,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// The interface that packets were captured on
    Interface,
    /// The innermost protocol
    Protocol,
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CleanupArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Let the oldest packets go so that this much of the disk is free: 10%, 200GiB. A server goes by
    /// its own settings
    #[arg(long, value_name = "SIZE", conflicts_with = "server")]
    pub(crate) keep_free: Option<String>,
    /// Let packets go that are older: 30d
    #[arg(long, value_name = "TIME", conflicts_with = "server")]
    pub(crate) keep_for: Option<String>,
    /// Let the oldest packets go when the store takes more than this: 2TiB
    #[arg(long, value_name = "SIZE", conflicts_with = "server")]
    pub(crate) max_size: Option<String>,
    /// Report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ScrubArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// For how much of the time it is at work; otherwise as the server is set, or 10%
    #[arg(long, value_name = "PERCENT", value_parser = quantity::share)]
    pub(crate) disk_share: Option<u8>,
    /// Report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Rebuild {
    /// The store's folder
    #[arg(long, value_name = "DIR")]
    pub(crate) store: PathBuf,
    /// Report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Seal {
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Where backups are kept, each in a folder of its own; what the one before has is not copied
    /// again. On a server this is below the server's folder for backups
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The folder of the new store; it must be empty, or not exist
    #[arg(long, value_name = "DIR")]
    pub(crate) store: PathBuf,
    /// The store's master key (master.key), which no backup has
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// The folder of one backup
    #[arg(value_name = "BACKUP")]
    pub(crate) backup: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The store's folder; made when there is none
    #[arg(long, value_name = "DIR")]
    pub(crate) store: PathBuf,
    #[command(flatten)]
    pub(crate) sources: ConfigSources,
    #[command(flatten)]
    pub(crate) live: Live,
}

/// Which live packets.
#[derive(Debug, Args)]
#[command(next_help_heading = "Live packets")]
pub(crate) struct Live {
    /// Record the packets of this network interface, or of `any`, `nflog:GROUP`, `usbmonN`; can be
    /// given more than once
    #[arg(short = 'i', long = "interface", value_name = "IFACE")]
    pub(crate) interfaces: Vec<String>,
    /// Only packets that this pcap filter matches
    #[arg(long, value_name = "FILTER", default_value = "", requires = "interfaces")]
    pub(crate) filter: String,
    /// Keep so many bytes of each packet
    #[arg(
        long = "snaplen",
        value_name = "BYTES",
        default_value_t = CaptureOptions::SNAP_LEN_MAX,
        value_parser = value_parser!(u32).range(1..=i64::from(CaptureOptions::SNAP_LEN_MAX)),
        requires = "interfaces",
    )]
    pub(crate) snap_len: u32,
    /// Room for packets that wait, for each interface and shard: 64MiB
    #[arg(long, value_name = "SIZE", value_parser = quantity::size, requires = "interfaces")]
    pub(crate) buffer: Option<u64>,
    /// Cores that record
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=256))]
    pub(crate) shards: Option<u16>,
    /// Only packets that are for this machine, or from it
    #[arg(long, requires = "interfaces")]
    pub(crate) no_promisc: bool,
    /// Report as JSON, at the end
    #[arg(long, requires = "interfaces")]
    pub(crate) json: bool,
}

/// Where settings come from, besides the environment (TAPSTONE_LIMITS_SCANS=2).
#[derive(Debug, Default, Args)]
pub(crate) struct ConfigSources {
    /// What is served to whom, and how: a TOML file (tapstone config default shows one)
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Listen here as well as on the socket in the store's folder
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Vec<SocketAddr>,
    /// Give metrics and health to everybody who asks here
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) monitor: Option<SocketAddr>,
    /// Let the oldest packets go so that this much of the disk stays free: 10%, 200GiB
    #[arg(long, value_name = "SIZE")]
    pub(crate) keep_free: Option<String>,
    /// Let packets go after this time: 30d
    #[arg(long, value_name = "TIME")]
    pub(crate) keep_for: Option<String>,
    /// Let the oldest packets go when the store takes more than this: 2TiB
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_size: Option<String>,
    /// Store only the first bytes of flows of a class, which is a pcap filter: 'tcp port 443=64KiB'
    #[arg(long, value_name = "CLASS=BYTES")]
    pub(crate) cutoff: Vec<String>,
    /// Leave packets out whose bytes came from the same interface so recently: 50ms
    #[arg(long, value_name = "WINDOW")]
    pub(crate) dedup: Option<String>,
    /// Packets that differ only in VLAN tags are the same
    #[arg(long)]
    pub(crate) dedup_ignore_vlan: bool,
    /// Store flows of this class whole while not everything can be stored: 'udp port 53'
    #[arg(long, value_name = "FILTER")]
    pub(crate) critical: Vec<String>,
    /// Set anything, over the file and the environment: limits.scans=2
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Find what is wrong, without serving
    Check(ConfigSources),
    /// Print every setting, and where it is from
    Show(ConfigShow),
    /// Print the default file, with a comment on every setting
    Default,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigShow {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) sources: ConfigSources,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Print every record
    Show(AuditArgs),
    /// Follow the chain of hashes, and say where it breaks
    Verify(AuditArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// The store's folder; a server may have it open
    #[arg(long, value_name = "DIR")]
    pub(crate) store: PathBuf,
    /// Where archived files are that were taken away: begins with the first record, and all must be
    /// there
    #[arg(long, value_name = "FOLDER")]
    pub(crate) archive: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Compliance {
    #[command(subcommand)]
    pub(crate) command: Option<ComplianceCommand>,
    #[command(flatten)]
    pub(crate) place: Place,
    /// From this instant on
    #[arg(long, value_name = "T", required = true, allow_hyphen_values = true)]
    pub(crate) since: Option<String>,
    /// Before this instant
    #[arg(long, value_name = "T", default_value = "now", allow_hyphen_values = true)]
    pub(crate) until: String,
    /// Write the report to a file, its signature to FILE.sig, and the public key to FILE.pem
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Print the report as it is signed: JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ComplianceCommand {
    /// Say whether a report is as it was signed, by the signature in FILE.sig
    Verify(ComplianceVerify),
}

#[derive(Debug, Args)]
pub(crate) struct ComplianceVerify {
    /// The report
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The public key (PEM), kept where whoever changes reports cannot change it; else FILE.pem, which
    /// came along with the report
    #[arg(long, value_name = "PEM")]
    pub(crate) key: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Hold {
    /// Hold packets: nothing that has one of them is let go
    #[command(after_long_help = AFTER)]
    Add(HoldAdd),
    /// List the holds in force
    List(Report),
    /// Hold no more what a hold is about
    Remove(HoldRemove),
    /// Say that no hold is missing, when the ledger was damaged and you have looked
    Accept(Seal),
}

#[derive(Debug, Args)]
pub(crate) struct HoldAdd {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) about: About,
    /// Why, for those who wonder later
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// A pcap filter
    #[arg(value_name = "FILTER", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) filter: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct HoldRemove {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The hold's number, as list shows it
    #[arg(value_name = "ID")]
    pub(crate) id: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Extcap {
    /// Put a script that calls this into Wireshark's folder for extcaps, the user's own or another
    #[arg(long, value_name = "DIR")]
    #[expect(clippy::option_option, reason = "the flag can be there without a value")]
    pub(crate) install: Option<Option<PathBuf>>,
    /// Wireshark asks: which interfaces are there?
    #[arg(long = "extcap-interfaces", hide = true)]
    pub(crate) interfaces: bool,
    /// Wireshark asks: which link types has the interface?
    #[arg(long = "extcap-dlts", hide = true)]
    pub(crate) dlts: bool,
    /// Wireshark asks: what can be chosen?
    #[arg(long = "extcap-config", hide = true)]
    pub(crate) config: bool,
    /// Wireshark's version
    #[arg(long = "extcap-version", hide = true)]
    pub(crate) version: Option<String>,
    /// The interface that is meant
    #[arg(long = "extcap-interface", hide = true)]
    pub(crate) interface: Option<String>,
    /// The filter of Wireshark's dialog
    #[arg(
        long = "extcap-capture-filter",
        hide = true,
        default_value = "",
        allow_hyphen_values = true
    )]
    pub(crate) filter: String,
    /// Give packets
    #[arg(long, hide = true)]
    pub(crate) capture: bool,
    /// Where to
    #[arg(long, hide = true)]
    pub(crate) fifo: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) range: Range,
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
