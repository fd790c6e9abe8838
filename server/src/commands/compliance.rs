//! `tapstone report`, `tapstone report verify`

mod text;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tapstone::{parse_instant, verify_report};
use tapstone_client::proto;

use crate::backend::Backend;
use crate::cli::{Compliance, ComplianceCommand, ComplianceVerify};
use crate::exit::{COMPLETE, Failure, INCOMPLETE, stdout};
use crate::service::convert;
use crate::text::{complain, say};

pub(crate) fn run(args: &Compliance) -> Result<u8, Failure> {
    match &args.command {
        Some(ComplianceCommand::Verify(args)) => verify(args),
        None => make(args),
    }
}

fn make(args: &Compliance) -> Result<u8, Failure> {
    let now = convert::now();
    let since = args.since.as_deref().expect("it is required where nothing is verified");
    let request = proto::ReportRequest {
        since: Some(convert::time(parse_instant(since, now)?)),
        until: Some(convert::time(parse_instant(&args.until, now)?)),
    };
    let backend = Backend::open(&args.place, false)?;
    let made = backend.report(request)?;
    for path in &made.archived {
        say(&format_args!("archived: {path}"));
    }
    if let Some(path) = &args.out {
        write_files(path, &made)?;
        say(&format_args!("written: {0}, {0}.sig, {0}.pem", path.display()));
    }
    let mut out = io::stdout().lock();
    if args.json {
        out.write_all(&made.report).map_err(stdout)?;
    } else {
        let report: Value = serde_json::from_slice(&made.report).map_err(|_| Failure::Protocol)?;
        text::lines(&report).iter().try_for_each(|it| writeln!(out, "{it}")).map_err(stdout)?;
    }
    if !made.sound {
        complain(&"the audit log is not whole; the report says where");
        return Ok(INCOMPLETE);
    }
    Ok(COMPLETE)
}

fn write_files(path: &Path, made: &proto::ReportResponse) -> Result<(), Failure> {
    let files = [
        (path.to_owned(), &made.report[..]),
        (beside(path, ".sig"), &made.signature),
        (beside(path, ".pem"), made.public_key.as_bytes()),
    ];
    for (path, bytes) in files {
        let failed = |source| Failure::Write { what: path.display().to_string(), source };
        fs::write(&path, bytes).map_err(failed)?;
    }
    Ok(())
}

fn verify(args: &ComplianceVerify) -> Result<u8, Failure> {
    let came_along = beside(&args.file, ".pem");
    let key_file = args.key.as_ref().unwrap_or(&came_along);
    let (report, signature) = (read(&args.file)?, read(&beside(&args.file, ".sig"))?);
    let key = String::from_utf8_lossy(&read(key_file)?).into_owned();
    let failed = |source| Failure::Signature { path: args.file.clone(), source };
    let fingerprint = verify_report(&report, &signature, &key).map_err(failed)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}: signed by {fingerprint}", args.file.display()).map_err(stdout)?;
    if args.key.is_none() {
        say(&format_args!(
            "this is the key that came along; whoever could change the report could change it too: \
             compare it with the store's report.pem, or give that with --key"
        ));
    }
    Ok(COMPLETE)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|source| Failure::Read { path: path.to_owned(), source })
}

/// The file of that name with something behind it.
fn beside(path: &Path, behind: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(behind);
    PathBuf::from(name)
}
