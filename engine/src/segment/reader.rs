//! Reading a segment: what its first and last bytes say, and the blocks between.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tapstone_packet::interface::Interface;
use tapstone_runtime::blocking::ReadFile;
use tapstone_runtime::file::FileError;

use super::block::Owner;
use super::footer::SegmentMap;
use super::format::{FormatError, SegmentHeader, SegmentTrailer, Totals};
use super::region::{Region, RegionError, RegionKind};
use crate::id::{SegmentId, StoreId};
use crate::keys::{BucketId, FileKey, KeyError, KeyRing, Secret};
use crate::limits::PAGE_SIZE;

/// Why a segment cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenSegmentError {
    /// The file cannot be read.
    #[error("segment: {0}")]
    File(#[from] FileError),
    /// A key cannot be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A fixed part is not what it should be.
    #[error("segment {}: its {part} at offset {offset}: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Which part.
        part: &'static str,
        /// Where it begins.
        offset: u64,
        /// What is wrong.
        source: FormatError,
    },
    /// The footer cannot be opened.
    #[error("segment {}: its footer at offset {offset}: {source}", path.display())]
    Footer {
        /// The file.
        path: PathBuf,
        /// Where it begins.
        offset: u64,
        /// What is wrong.
        source: RegionError,
    },
    /// It belongs to another store.
    #[error("segment {} belongs to store {found}, this is store {expected}; move it back", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The store that it names.
        found: StoreId,
        /// The store that was opened.
        expected: StoreId,
    },
}

/// What the first page of a segment says, and its keys.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) owner: Owner,
    pub(crate) shard: u16,
    pub(crate) created_nanos: u64,
    pub(crate) bucket: BucketId,
    pub(crate) secret: Secret,
    pub(crate) key: FileKey,
}

/// A segment that can be read: a sealed one, or what is durable of one that is being written.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) opened: Arc<Opened>,
    pub(crate) map: SegmentMap,
    pub(crate) interfaces: Arc<[Interface]>,
    /// `None` while it is being written.
    pub(crate) totals: Option<Totals>,
}

impl Segment {
    pub(crate) fn id(&self) -> SegmentId {
        self.opened.owner.segment
    }
}

/// Reads the first page.
pub(crate) fn open_header(
    file: &ReadFile,
    keys: &KeyRing,
    store: StoreId,
) -> Result<Opened, OpenSegmentError> {
    let path = file.path();
    let format = |source| OpenSegmentError::Format {
        path: path.to_owned(),
        part: "header",
        offset: 0,
        source,
    };
    let page = file.read_at(0, PAGE_SIZE)?;
    let header = SegmentHeader::parse(&page).map_err(format)?;
    if header.store != store.0 {
        return Err(OpenSegmentError::Foreign {
            path: path.to_owned(),
            found: StoreId(header.store),
            expected: store,
        });
    }
    let segment = SegmentId(header.segment);
    let bucket = BucketId(header.bucket);
    let secret = keys.unwrap_segment_key(bucket, segment, &header.wrapped_key, path)?;
    let key = FileKey::derive(&secret, &header.salt);
    if key.commitment() != &header.commitment {
        return Err(format(FormatError::Field("key commitment")));
    }
    Ok(Opened {
        owner: Owner { store, segment },
        shard: header.shard.get(),
        created_nanos: header.created_nanos.get(),
        bucket,
        secret,
        key,
    })
}

/// Opens a sealed segment.
pub(crate) fn open_sealed(
    path: &Path,
    keys: &KeyRing,
    store: StoreId,
) -> Result<Segment, OpenSegmentError> {
    let file = ReadFile::open(path)?;
    let opened = open_header(&file, keys, store)?;
    let length = file.length()?;
    let offset = length.saturating_sub(PAGE_SIZE as u64);
    let format = |part, offset, source| OpenSegmentError::Format {
        path: path.to_owned(),
        part,
        offset,
        source,
    };
    let page = file.read_at(offset, PAGE_SIZE)?;
    let trailer =
        SegmentTrailer::parse(&page).map_err(|source| format("trailer", offset, source))?;
    if trailer.segment != opened.owner.segment.0 || trailer.store != store.0 {
        return Err(format("trailer", offset, FormatError::Field("segment id")));
    }
    let start = trailer.footer.offset.get();
    let stored = Region::stored_len(&trailer.footer);
    let end = stored.and_then(|stored| start.checked_add(stored)).filter(|end| *end <= offset);
    if end.is_none() {
        return Err(format("trailer", offset, FormatError::Field("footer length")));
    }
    let footer = |source| OpenSegmentError::Footer { path: path.to_owned(), offset: start, source };
    let region = Region::new(opened.owner, &opened.secret, RegionKind::Footer, trailer.footer)
        .map_err(footer)?;
    let frames = Region::frames(&(0..region.len()));
    let range = region.file_range(&frames);
    let bytes = file.read_at(range.start, (range.end - range.start) as usize)?;
    let plain = region.open(0, &bytes).map_err(footer)?;
    let map = SegmentMap::decode(&plain)
        .ok_or_else(|| format("footer", start, FormatError::Field("content")))?;
    Ok(Segment {
        path: path.to_owned(),
        opened: Arc::new(opened),
        interfaces: map.interfaces().cloned().collect(),
        map,
        totals: Some(trailer.totals()),
    })
}
