//! `tapstone extcap`: Wireshark's own capture dialog asks a store. Wireshark calls every program of
//! its extcap folder with the flags below, as doc/extcap.adoc of its source says.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tapstone_client::proto;
use tapstone_packet::filter::{Dialect, Program};
use tapstone_packet::interface::{ByteOrder, LinkType};

use super::{tell_completeness, within};
use crate::backend::Backend;
use crate::cli::{Extcap, Format};
use crate::exit::{COMPLETE, Failure, stdout};
use crate::text;

/// What Wireshark calls it.
const INTERFACE: &str = "tapstone";

/// From when on packets are, when nothing else is said: all there are may be very many.
const SINCE: &str = "15m ago";

/// What the dialog asks for: the flag, its label, its type with details, and what it is for.
const ASKED: [[&str; 4]; 10] = [
    ["--server", "Server", "string", "HOST:PORT of the server; http://HOST:PORT without TLS"],
    ["--store", "Store", "string", "In place of a server: a store's folder on this machine"],
    ["--since", "Since", "string", "2h ago, 2026-11-25T03:10:00Z, ..."],
    ["--until", "Until", "string", "The same; empty is now"],
    ["--where", "Metadata", "string", "sni:example.com AND port:443"],
    ["--limit", "At most", "unsigned", "Packets, the earliest"],
    ["--ca", "Authority", "fileselect}{mustexist=true", "Vouches for the server (PEM)"],
    ["--cert", "Certificate", "fileselect}{mustexist=true", "This client's (PEM)"],
    ["--key", "Key", "fileselect}{mustexist=true", "The certificate's (PEM)"],
    ["--token-file", "Token", "fileselect}{mustexist=true", "Holds a bearer token"],
];

pub(crate) fn run(args: &Extcap) -> Result<u8, Failure> {
    if let Some(folder) = &args.install {
        return install(folder.as_deref());
    }
    if args.interfaces {
        return print(&format!(
            "extcap {{version={}}}{{help=https://www.tcpdump.org/manpages/pcap-filter.7.html}}\n\
             interface {{value={INTERFACE}}}{{display=Tapstone packet store}}\n",
            env!("CARGO_PKG_VERSION")
        ));
    }
    if args.dlts {
        // What comes is pcapng, whose interfaces say themselves what they are.
        return print("dlt {number=1}{name=EN10MB}{display=As stored}\n");
    }
    if args.config {
        return print(&dialog());
    }
    if !args.capture {
        return print(&objection(&args.filter));
    }
    capture(args)
}

fn print(text: &str) -> Result<u8, Failure> {
    io::stdout().lock().write_all(text.as_bytes()).map_err(stdout)?;
    Ok(COMPLETE)
}

/// The fields of Wireshark's dialog.
fn dialog() -> String {
    let field = |(number, [call, display, kind, tooltip]): (usize, &[&str; 4])| {
        let default = if *call == "--since" { &format!("{{default={SINCE}}}") } else { "" };
        format!(
            "arg {{number={number}}}{{call={call}}}{{display={display}}}{{type={kind}}}\
             {{tooltip={tooltip}}}{default}\n"
        )
    };
    ASKED.iter().enumerate().map(field).collect()
}

/// What Wireshark shows of a filter that is none.
fn objection(filter: &str) -> String {
    let dialect = Dialect { link_type: LinkType::ETHERNET, byte_order: ByteOrder::Little };
    let compiled = Program::compile(filter, dialect);
    compiled.err().map_or_else(String::new, |error| format!("{error}\n"))
}

/// Writes what was asked for where Wireshark reads it.
fn capture(args: &Extcap) -> Result<u8, Failure> {
    let path = args.fifo.as_deref().ok_or(Failure::NoFifo)?;
    let mut range = args.range.clone();
    // Wireshark leaves out what stands at its default.
    range.about.since.get_or_insert_with(|| SINCE.to_owned());
    let selection = proto::Selection { filter: args.filter.clone(), ..within(&range)? };
    let backend = Backend::open(&args.place, false)?;
    let what = path.display().to_string();
    let fifo = OpenOptions::new().write(true).open(path);
    let fifo = fifo.map_err(|source| Failure::Write { what: what.clone(), source })?;
    let (_, answer) = backend.export(selection, Format::Pcapng, fifo, &what)?;
    // What is missing is said on the standard error, which Wireshark shows when this fails.
    Ok(tell_completeness(answer.completeness.as_ref()))
}

/// Puts a script that calls this program where Wireshark looks.
fn install(folder: Option<&Path>) -> Result<u8, Failure> {
    let folder = folder.map(Path::to_owned).or_else(wiresharks_folder);
    let folder = folder.ok_or(Failure::NoExtcapFolder)?;
    let path = folder.join(INTERFACE);
    let failed = |source| Failure::Write { what: path.display().to_string(), source };
    let program = std::env::current_exe().map_err(failed)?;
    let program = program.display().to_string().replace('\'', r"'\''");
    let script = format!("#!/bin/sh\nexec '{program}' extcap \"$@\"\n");
    fs::create_dir_all(&folder).map_err(failed)?;
    fs::write(&path, script).map_err(failed)?;
    fs::set_permissions(&path, Permissions::from_mode(0o755)).map_err(failed)?;
    text::say(&format_args!(
        "{} is there; Wireshark shows the interface {INTERFACE} when it is started anew",
        path.display()
    ));
    Ok(COMPLETE)
}

/// Where Wireshark looks: the user's own folder where it has one (since 4.2), or the one of all.
fn wiresharks_folder() -> Option<PathBuf> {
    let said = ["tshark", "wireshark"].into_iter().find_map(|program| {
        let folders = Command::new(program).args(["-G", "folders"]).output().ok()?;
        String::from_utf8(folders.stdout).ok()
    })?;
    let mut paths: Vec<(&str, &str)> =
        said.lines().filter_map(|line| line.split_once(':')).collect();
    paths.retain(|(name, _)| name.to_lowercase().ends_with("extcap path"));
    paths.sort_by_key(|(name, _)| !name.starts_with("Personal"));
    paths.first().map(|(_, path)| path.trim().into())
}
