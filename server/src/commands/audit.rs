//! `tapstone audit show`, `tapstone audit verify`

use std::io::{self, BufWriter, Write};

use serde_json::{Value, json};
use tapstone::{
    AuditError, AuditHead, AuditRecord, format_instant, read_audit, read_audit_with_archive,
    verify_audit, verify_audit_with_archive,
};

use crate::cli::{Audit, AuditArgs};
use crate::exit::{COMPLETE, Failure, INCOMPLETE, stdout};
use crate::text;

pub(crate) fn run(audit: &Audit) -> Result<u8, Failure> {
    match audit {
        Audit::Show(args) => show(args),
        Audit::Verify(args) => verify(args),
    }
}

fn show(args: &AuditArgs) -> Result<u8, Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut code = COMPLETE;
    let records = match &args.archive {
        Some(archive) => read_audit_with_archive(&args.store, archive)?,
        None => read_audit(&args.store)?,
    };
    tell_behind(records.behind());
    for record in records {
        match record {
            Ok(record) => writeln!(out, "{}", line(&record, args.json)).map_err(stdout)?,
            Err(AuditError::Broken(place)) => {
                text::complain(&place);
                code = INCOMPLETE;
            }
            Err(error) => return Err(error.into()),
        }
    }
    out.flush().map_err(stdout)?;
    Ok(code)
}

/// Says that what was archived is not there.
fn tell_behind(behind: Option<AuditHead>) {
    if let Some(AuditHead { sequence, hash }) = behind {
        text::complain(&format_args!(
            "records up to {sequence} were archived and are not here: this begins behind the archive \
             mark ({hash}); --archive FOLDER looks for them where they were taken to"
        ));
    }
}

/// What was written as JSON is shown as JSON; what was not, as text.
fn line(record: &AuditRecord, as_json: bool) -> String {
    let (sequence, time) = (record.sequence, format_instant(record.time));
    let text = String::from_utf8_lossy(&record.content);
    if !as_json {
        return format!("{sequence} {time} {text}");
    }
    let entry = serde_json::from_slice(&record.content).unwrap_or_else(|_| Value::from(text));
    let (hash, previous) = (record.hash.to_string(), record.previous.to_string());
    json!({
        "sequence": sequence, "time": time, "entry": entry, "hash": hash, "previous": previous,
    })
    .to_string()
}

fn verify(args: &AuditArgs) -> Result<u8, Failure> {
    let report = match &args.archive {
        Some(archive) => verify_audit_with_archive(&args.store, archive)?,
        None => verify_audit(&args.store)?,
    };
    tell_behind(report.behind);
    let mut out = io::stdout().lock();
    let breaks = report.breaks.iter().map(ToString::to_string).collect::<Vec<_>>();
    if args.json {
        let head = |it: AuditHead| json!({ "sequence": it.sequence, "hash": it.hash.to_string() });
        let report = json!({
            "sound": report.is_sound(),
            "records": report.records,
            "first": report.first.map(format_instant),
            "last": report.last.map(format_instant),
            "head": report.head.map(head),
            "behind": report.behind.map(head),
            "breaks": breaks,
            "more_breaks": report.more_breaks,
        });
        writeln!(out, "{report:#}").map_err(stdout)?;
    } else {
        breaks.iter().try_for_each(|text| writeln!(out, "{text}")).map_err(stdout)?;
        if report.more_breaks > 0 {
            writeln!(out, "and {} more breaks", report.more_breaks).map_err(stdout)?;
        }
        let verdict = if report.is_sound() { "sound" } else { "BROKEN" };
        let head = report.head.map_or_else(String::new, |head| {
            format!("; the last is number {}, {}", head.sequence, head.hash)
        });
        writeln!(out, "{} records: {verdict}{head}", report.records).map_err(stdout)?;
    }
    Ok(if report.is_sound() { COMPLETE } else { INCOMPLETE })
}
