//! NORMAL: are the parts of a packet's way at work?

use tapstone_packet::time::Timestamp;

use super::super::measure::backlog_max;
use super::Site;
use crate::id::SegmentId;
use crate::keys::{FileKey, SALT_LEN, Secret};
use crate::segment::block::{self, BlockSealer, Owner};
use crate::segment::format::{BlockHeader, Codec};

/// What is written goes to the disk from memory that the kernel reads itself.
pub(super) fn direct_memory(site: &Site) -> Result<(), String> {
    match site.store.without_ring() {
        Some(why) => Err(format!("files are read and written by blocking calls: {why}")),
        None => Ok(()),
    }
}

/// Reads and writes pass the page cache by.
pub(super) fn nvme_direct(site: &Site) -> Result<(), String> {
    let is_direct = *site.disk_is_direct.lock().expect("no holder of the lock panics");
    match is_direct {
        Some(true) => Ok(()),
        Some(false) => Err("the file system of the store knows no direct I/O".to_owned()),
        None => Err("nobody has tried the disk yet".to_owned()),
    }
}

/// Batches and units are within their bounds: none is made where one comes back.
pub(super) fn buffer_managed(site: &Site) -> Result<(), String> {
    let bound = backlog_max(&site.store.inner.sizes);
    // A batch may end a packet behind its size.
    let bound = bound + bound / 8;
    match site.store.live_rings().iter().find(|ring| ring.waiting_bytes() > bound) {
        Some(ring) => Err(format!(
            "{} bytes of {} wait for the disk, and {bound} may",
            ring.waiting_bytes(),
            ring.interface
        )),
        None => Ok(()),
    }
}

/// A block that can be compressed is, and comes back as it was.
pub(super) fn compress_active(site: &Site) -> Result<(), String> {
    let store = site.store.id();
    let owner = Owner { store, segment: SegmentId::new(store, 0, 0) };
    let key = FileKey::derive(&Secret::random(), &[0; SALT_LEN]);
    let text = b"GET / HTTP/1.1\r\n".repeat(4096);
    let mut sealer = BlockSealer::default();
    sealer.begin().extend_from_slice(&text);
    let header = BlockHeader::new(0, 0, 1, (Timestamp::EPOCH, Timestamp::EPOCH));
    let (stored, _) = sealer.seal(owner, &key, header);
    let (mut scratch, mut plain) = (Vec::new(), Vec::new());
    let opened = block::open(owner, &key, 0, stored, &mut scratch, &mut plain);
    let opened = opened.map_err(|error| error.to_string())?;
    match opened.codec() {
        _ if plain != text => Err("other bytes came back than were compressed".to_owned()),
        Some(Codec::Lz4) => Ok(()),
        Some(Codec::Raw) | None => Err("a block of text was not compressed".to_owned()),
    }
}

/// Somebody makes splits of what is sealed, and the catalog takes them.
pub(super) fn index_active(site: &Site) -> Result<(), String> {
    if site.store.inner.unindexed.is_over() {
        return Err("the builder died (see its panic message); open the store again".to_owned());
    }
    site.store.inner.catalog.segments().map(drop).map_err(|error| error.to_string())
}
