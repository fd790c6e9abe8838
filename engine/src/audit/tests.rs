//! The log in a simulated world: damaged in every way, and cut off at every moment.

mod archiving;
mod crashes;
mod damage;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tapstone_packet::time::Timestamp;
use tapstone_runtime::simulation::{Disk, Simulation};
use tapstone_runtime::{block_on, blocking, spawn_local};

use super::{
    ArchiveError, ArchiveOptions, ArchivedFiles, AuditError, AuditLog, AuditRecord, Context,
    Running,
};
use crate::id::StoreId;
use crate::layout::Layout;
use crate::store_file;
use crate::unindexed::Unindexed;

const FOLDER: &str = "/store";
/// The clock of each simulated world begins anew.
const LATER: Timestamp = Timestamp::MAX;
const STORE: StoreId = StoreId([5; 16]);

fn layout() -> Layout {
    Layout::new(Path::new(FOLDER))
}

/// A disk with a store that has no log.
fn new_store() -> Disk {
    let world = Simulation::new(1, Disk::default());
    world.run(|| {
        blocking::create_dir(Path::new(FOLDER)).unwrap();
        store_file::write(&layout().store_file(), STORE).unwrap();
    });
    world.disk()
}

/// An open log, whose files end after two commits or three.
struct Open {
    log: AuditLog,
    running: Option<Running>,
    told: Arc<Unindexed>,
}

impl Open {
    fn new() -> Result<Open, String> {
        // As opening a store does.
        blocking::sync_dir(Path::new(FOLDER)).map_err(|it| it.to_string())?;
        let told = Arc::new(Unindexed::default());
        let context = Context {
            layout: layout(),
            store: STORE,
            unindexed: Arc::clone(&told),
            file_size: 12_000,
            records_per_head: 5,
        };
        let running = Running::start(context).map_err(|it| it.to_string())?;
        Ok(Open { log: running.log(), running: Some(running), told })
    }

    fn append(&self, content: &[u8]) -> Result<u64, AuditError> {
        block_on(self.log.append(content))
    }

    /// Appends at the same time; gives the numbers in the entries' order.
    fn append_all(&self, contents: &[Vec<u8>]) -> Vec<Result<u64, AuditError>> {
        let start = |content: &Vec<u8>| {
            let (log, content) = (self.log.clone(), content.clone());
            spawn_local(async move { log.append(&content).await })
        };
        let tasks: Vec<_> = contents.iter().map(start).collect();
        tasks.into_iter().map(block_on).collect()
    }

    /// Closes what is written, and archives all that may go.
    fn archive(&self, folder: Option<&str>) -> Result<ArchivedFiles, ArchiveError> {
        let running = self.running.as_ref().unwrap();
        // As the store does it: without this nothing may be moved.
        if let Err(error) = running.close_file() {
            let AuditError::Unwritable(error) = error else { panic!("{error}") };
            return Err(error.into());
        }
        let options = ArchiveOptions { after: Duration::ZERO, folder: folder.map(PathBuf::from) };
        running.archive(&options, LATER, &|| true)
    }

    fn close(&mut self) {
        self.running = None;
    }
}

/// Writes files of entries; gives the disk.
fn written(files: &[Vec<Vec<u8>>]) -> Disk {
    let world = Simulation::new(2, new_store());
    world.run(|| {
        for entries in files {
            let open = Open::new().unwrap();
            for number in open.append_all(entries) {
                number.unwrap();
            }
        }
    });
    world.disk()
}

fn records() -> Vec<AuditRecord> {
    super::read_audit(Path::new(FOLDER)).unwrap().map(|it| it.unwrap()).collect()
}

/// The log's files: those that were archived, and the others.
fn files() -> Vec<PathBuf> {
    let folders = [layout().audit_archive(), layout().audit()];
    let files = folders.iter().flat_map(|it| crate::log_files::files(it).unwrap());
    files.map(|(_, path)| path).collect()
}

/// With all in the archive that may go.
fn archived(disk: Disk) -> Disk {
    let world = Simulation::new(12, disk);
    world.run(|| drop(Open::new().unwrap().archive(None).unwrap()));
    world.disk()
}
