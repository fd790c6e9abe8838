//! Doing the workload, and leaving on the disk how far it got.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tapstone::{DirectWriter, ImportOptions, OpenOptions, Selection, Store};
use tapstone_packet::capture_file::PcapngWriter;

use crate::log::acknowledgement;
use crate::workload::{Numbered, Step, capture, imported, promise};
use crate::{Broken, Fault};

const BLOCK: usize = 4096;

/// How a store is opened here: one shard, since threads only make a crash point slower.
#[must_use]
pub fn options() -> OpenOptions {
    OpenOptions { create: true, shards: 1, ..OpenOptions::default() }
}

/// Where the store is on its file system.
#[must_use]
pub fn store_folder(root: &Path) -> PathBuf {
    root.join("store")
}

/// One block of a file that is overwritten in place, so that nothing but the block itself is
/// written: its position in the device's log is the moment of the acknowledgement.
#[derive(Debug)]
struct Acknowledger {
    file: File,
    run: u64,
}

impl Acknowledger {
    fn create(root: &Path, run: u64) -> Result<Acknowledger, Fault> {
        let path = root.join("acknowledged");
        let mut file = File::create(&path)?;
        file.write_all(&[0; BLOCK])?;
        file.sync_all()?;
        File::open(root)?.sync_all()?;
        let direct = rustix::fs::OFlags::DIRECT.bits().cast_signed();
        let file = File::options().write(true).custom_flags(direct).open(&path)?;
        Ok(Acknowledger { file, run })
    }

    fn acknowledge(&self, steps: u64) -> Result<(), Fault> {
        let mut bytes = vec![0; 2 * BLOCK];
        let at = bytes.as_ptr().align_offset(BLOCK);
        let said = acknowledgement(self.run, steps);
        bytes[at..at + said.len()].copy_from_slice(&said);
        Ok(self.file.write_all_at(&bytes[at..at + BLOCK], 0)?)
    }
}

/// Does all steps on the file system at `root`; step number n is acknowledged as n + 1.
///
/// # Errors
///
/// When a step fails, or an answer is wrong even without a power cut.
pub fn perform(root: &Path, steps: &[Step], all: &[Numbered], run: u64) -> Result<(), Fault> {
    let acknowledger = Acknowledger::create(root, run)?;
    let mut store = None;
    acknowledger.acknowledge(0)?;
    for index in 0..steps.len() {
        do_step(root, &mut store, steps, index, all).map_err(|error| {
            let text = format!("step {index} ({:?}): {error}", steps[index]);
            if error.is::<Broken>() { Broken(text).into() } else { Fault::from(text) }
        })?;
        acknowledger.acknowledge(index as u64 + 1)?;
    }
    Ok(())
}

fn do_step(
    root: &Path,
    store: &mut Option<Store>,
    steps: &[Step],
    index: usize,
    all: &[Numbered],
) -> Result<(), Fault> {
    let open = || store.as_ref().ok_or("the workload opens the store first");
    match steps[index] {
        Step::Open => *store = Some(Store::open(&store_folder(root), options())?),
        Step::Import(packets, _) => import(open()?, index, steps, all, packets)?,
        Step::ImportAgain => {
            let last = (0..index).rev().find(|it| matches!(steps[*it], Step::Import(..)));
            import(open()?, last.ok_or("nothing was imported")?, steps, all, 0)?;
        }
        Step::Seal => open()?.seal()?,
        Step::Query => {
            let found = open()?.query(&Selection::default())?.count() as u64;
            let expected = promise(steps, index).must;
            if found != expected {
                let wrong = format!("{found} packets found instead of {expected}");
                return Err(Broken(wrong).into());
            }
        }
        Step::Export => export(open()?, &root.join("export.pcapng"))?,
        Step::Close => {
            if let Some(store) = store.take() {
                store.close()?;
            }
        }
    }
    Ok(())
}

fn import(
    store: &Store,
    step: usize,
    steps: &[Step],
    all: &[Numbered],
    expected: u64,
) -> Result<(), Fault> {
    let range = imported(steps, step);
    let bytes = capture(&all[range.start as usize..range.end as usize]);
    let name = format!("step{step}.pcapng");
    let report = store.import(&bytes[..], ImportOptions { name: &name, ..Default::default() })?;
    if report.packets != expected {
        let wrong = format!("{} packets stored instead of {expected}", report.packets);
        return Err(Broken(wrong).into());
    }
    Ok(())
}

fn export(store: &Store, path: &Path) -> Result<(), Fault> {
    let mut file = DirectWriter::create(path)?;
    let mut writer = PcapngWriter::new("tapstone-powercut");
    let mut bytes = Vec::new();
    for packet in store.query(&Selection::default())? {
        let length = packet.original_len();
        let (interface, data) = (packet.interface(), packet.data());
        writer.packet(interface, packet.time(), data, length, packet.options(), &mut bytes);
        file.write_all(&bytes)?;
        bytes.clear();
    }
    writer.finish(&mut bytes);
    file.write_all(&bytes)?;
    Ok(file.finish()?)
}
