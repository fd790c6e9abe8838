//! A store of many segments, and what to look for in it.

use std::error::Error;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use tapstone::{ImportOptions, OpenOptions, Store};

use crate::workload::{Needle, Workload};

/// Makes a store of `bytes` in so many imports, so that it has as many segments at least; what was
/// in the folder is removed. Gives the bytes of its packets, and needles of each part.
///
/// # Errors
///
/// When files cannot be made, or the store refuses.
pub fn make(
    folder: &Path,
    bytes: u64,
    parts: u64,
    needles_of_each: usize,
) -> Result<(u64, Vec<Needle>), Box<dyn Error + Send + Sync>> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let capture = folder.with_extension("part");
    let (mut made_bytes, mut needles) = (0, Vec::new());
    for part in 0..parts {
        let mut workload = Workload::short_flows(bytes / parts, 100 + part);
        // One after the other, as a sensor would have taken them in.
        workload.start_secs += part;
        let made = workload.write(&mut File::create(&capture)?)?;
        let store = Store::open(folder, OpenOptions { create: true, ..OpenOptions::default() })?;
        let options = ImportOptions { name: "part", ..ImportOptions::default() };
        store.import(File::open(&capture)?, options)?;
        store.close()?;
        made_bytes += made.packet_bytes;
        needles.extend(made.needles.into_iter().take(needles_of_each));
    }
    fs::remove_file(capture)?;
    Ok((made_bytes, needles))
}
