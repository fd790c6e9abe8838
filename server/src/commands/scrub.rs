//! `tapstone scrub`

use std::io::{self, Write};
use std::time::Instant;

use serde_json::json;
use tapstone_client::proto;

use super::report::{check_json, damage_json, damage_line, print_check, print_json};
use crate::backend::Backend;
use crate::cli::ScrubArgs;
use crate::exit::{COMPLETE, Failure, INCOMPLETE, stdout};

pub(crate) fn run(args: &ScrubArgs) -> Result<u8, Failure> {
    let backend = Backend::open(&args.place, false)?;
    let started = Instant::now();
    let report = backend.scrub(args.disk_share)?;
    backend.close()?;
    let proto::ScrubResponse { check, audit_records, mended, resumed } = report;
    let check = check.ok_or(Failure::Protocol)?;
    if args.json {
        let mut json = check_json(&check);
        json["audit_records"] = audit_records.into();
        json["mended"] = mended.iter().map(damage_json).collect::<Vec<_>>().into();
        json["resumed"] = json!(resumed);
        print_json(&json)?;
    } else {
        let mut out = io::stdout().lock();
        let mut mended = mended.iter();
        mended
            .try_for_each(|it| writeln!(out, "made good: {}", damage_line(it)))
            .map_err(stdout)?;
        drop(out);
        print_check(&check, started)?;
    }
    Ok(if check.damage.is_empty() { COMPLETE } else { INCOMPLETE })
}
