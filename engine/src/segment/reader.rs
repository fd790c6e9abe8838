//! Reading a segment: what its first and last bytes say, and the blocks between.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tapstone_packet::interface::Interface;
use tapstone_runtime::blocking::ReadFile;
use tapstone_runtime::file::{DirectFile, FileError};

use super::block::Owner;
use super::footer::SegmentMap;
use super::format::{FormatError, HeaderCopy, SegmentHeader, SegmentTrailer, Totals};
use super::region::{Region, RegionError, RegionKind};
use super::scan::scan_units;
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
    /// It was let go, and a crash came before its file was removed.
    #[error(
        "segment {}: its key was destroyed, since it was let go; the file goes when the store is \
         opened next, or at once: tapstone cleanup", .0.display()
    )]
    Destroyed(PathBuf),
    /// It is another segment than its name says.
    #[error("segment {} is segment {segment}; give it that name again", path.display())]
    Renamed {
        /// The file.
        path: PathBuf,
        /// The segment that it is.
        segment: SegmentId,
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
    /// Of a segment that is being written, it keeps the bucket's key from being destroyed.
    pub(crate) bucket: Arc<BucketId>,
    pub(crate) secret: Secret,
    pub(crate) key: FileKey,
    pub(crate) header: HeaderCopy,
}

/// A segment that can be read: a sealed one, or what is durable of one that is being written.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) opened: Arc<Opened>,
    pub(crate) map: SegmentMap,
    pub(crate) interfaces: Arc<[Interface]>,
    /// `None` while it is being written, and where the trailer is damaged.
    pub(crate) totals: Option<Totals>,
    /// Where parts of it are damaged that are there twice, and how.
    pub(crate) damage: Vec<(u64, String)>,
}

impl Segment {
    /// What is known of a segment without footer and trailer.
    pub(crate) fn unsealed(path: PathBuf, opened: Arc<Opened>, map: SegmentMap) -> Segment {
        let interfaces = map.interfaces().cloned().collect();
        Segment { path, opened, interfaces, map, totals: None, damage: Vec::new() }
    }

    /// The same, when footer and trailer have been written.
    pub(crate) fn sealed(self, flows: u32) -> Segment {
        let totals = Some(self.map.totals(flows));
        Segment { path: self.path.with_extension("seg"), totals, ..self }
    }

    /// Its units before an offset.
    pub(crate) fn up_to(&self, end: u64) -> Segment {
        let units = self.map.units.iter().filter(|unit| unit.offset < end).cloned().collect();
        Segment::unsealed(self.path.clone(), Arc::clone(&self.opened), SegmentMap { units })
    }

    pub(crate) fn id(&self) -> SegmentId {
        self.opened.owner.segment
    }

    /// Opens its file, on a thread that is not a shard. It may have been sealed meanwhile.
    pub(crate) fn read_file(&self) -> Result<ReadFile, FileError> {
        match ReadFile::open(&self.path) {
            Err(error) if error.is_not_found() => ReadFile::open(&self.path.with_extension("seg")),
            opened => opened,
        }
    }

    /// Opens its file, on a shard. It may have been sealed meanwhile.
    pub(crate) async fn direct_file(&self) -> Result<DirectFile, FileError> {
        match DirectFile::open(&self.path).await {
            Err(error) if error.is_not_found() => {
                DirectFile::open(&self.path.with_extension("seg")).await
            }
            opened => opened,
        }
    }
}

/// Reads the first page.
pub(crate) fn open_header(
    file: &ReadFile,
    keys: &KeyRing,
    store: StoreId,
) -> Result<Opened, OpenSegmentError> {
    let page = file.read_at(0, PAGE_SIZE)?;
    if SegmentHeader::is_destroyed(&page) {
        return Err(OpenSegmentError::Destroyed(file.path().to_owned()));
    }
    let header = SegmentHeader::parse(&page).map_err(|source| format(file, "header", 0, source))?;
    unlock(file, &header, keys, store)
}

/// Whether a segment was being removed when a crash came. What cannot be read was not.
pub(crate) fn is_destroyed(path: &Path) -> bool {
    let page = ReadFile::open(path).and_then(|file| file.read_at(0, PAGE_SIZE));
    page.is_ok_and(|page| SegmentHeader::is_destroyed(&page))
}

/// Opens a segment by a copy of its header.
pub(crate) fn open_by_copy(
    file: &ReadFile,
    copy: &HeaderCopy,
    keys: &KeyRing,
    store: StoreId,
) -> Result<Opened, OpenSegmentError> {
    let header = SegmentHeader::restore(copy);
    let header = header.map_err(|source| format(file, "copy of the header", 0, source))?;
    unlock(file, &header, keys, store)
}

/// Gets the keys that a header leads to.
fn unlock(
    file: &ReadFile,
    header: &SegmentHeader,
    keys: &KeyRing,
    store: StoreId,
) -> Result<Opened, OpenSegmentError> {
    let path = file.path();
    if header.store != store.0 {
        return Err(OpenSegmentError::Foreign {
            path: path.to_owned(),
            found: StoreId(header.store),
            expected: store,
        });
    }
    let segment = SegmentId(header.segment);
    if path.file_stem().and_then(|stem| stem.to_str()) != Some(&segment.to_string()) {
        return Err(OpenSegmentError::Renamed { path: path.to_owned(), segment });
    }
    let bucket = BucketId(header.bucket);
    let secret = keys.unwrap_segment_key(bucket, segment, &header.wrapped_key, path)?;
    let key = FileKey::derive(&secret, &header.salt);
    if key.commitment() != &header.commitment {
        return Err(format(file, "header", 0, FormatError::Field("key commitment")));
    }
    Ok(Opened {
        owner: Owner { store, segment },
        shard: header.shard.get(),
        created_nanos: header.created_nanos.get(),
        bucket: Arc::new(bucket),
        secret,
        key,
        header: header.copy(),
    })
}

/// Opens a sealed segment. What leads to the packets is there twice: where the header is damaged,
/// its copy in the trailer serves, and where trailer or footer are, what stands behind each unit.
pub(crate) fn open_sealed(
    path: &Path,
    keys: &KeyRing,
    store: StoreId,
) -> Result<Segment, OpenSegmentError> {
    let file = ReadFile::open(path)?;
    let mut damage = Vec::new();
    let trailer = read_trailer(&file);
    let opened = match (open_header(&file, keys, store), &trailer) {
        (Ok(opened), _) => opened,
        (
            Err(error @ (OpenSegmentError::Format { .. } | OpenSegmentError::File(_))),
            Ok((trailer, _)),
        ) => {
            damage.push((0, error.to_string()));
            open_by_copy(&file, &trailer.header, keys, store)?
        }
        (Err(error), _) => return Err(error),
    };
    let read = trailer.and_then(|(trailer, offset)| read_footer(&file, &opened, &trailer, offset));
    let (map, totals) = match read {
        Ok((map, totals)) => (map, Some(totals)),
        Err(error) => {
            let scanned = scan_units(&file, &opened, &[])?;
            if scanned.map.units.is_empty() {
                return Err(error);
            }
            damage.push((scanned.end, error.to_string()));
            (scanned.map, None)
        }
    };
    let segment = Segment::unsealed(path.to_owned(), Arc::new(opened), map);
    Ok(Segment { totals, damage, ..segment })
}

/// Reads the last page, and says where it is.
fn read_trailer(file: &ReadFile) -> Result<(SegmentTrailer, u64), OpenSegmentError> {
    let offset = file.length()?.saturating_sub(PAGE_SIZE as u64);
    let page = file.read_at(offset, PAGE_SIZE)?;
    let trailer = SegmentTrailer::parse(&page);
    Ok((trailer.map_err(|source| format(file, "trailer", offset, source))?, offset))
}

fn read_footer(
    file: &ReadFile,
    opened: &Opened,
    trailer: &SegmentTrailer,
    offset: u64,
) -> Result<(SegmentMap, Totals), OpenSegmentError> {
    let wrong = |field| format(file, "trailer", offset, FormatError::Field(field));
    if trailer.segment != opened.owner.segment.0 || trailer.store != opened.owner.store.0 {
        return Err(wrong("segment id"));
    }
    if trailer.header != opened.header {
        return Err(wrong("copy of the header"));
    }
    let start = trailer.footer.offset.get();
    let end = Region::stored_len(&trailer.footer).and_then(|stored| start.checked_add(stored));
    let Some(end) = end.filter(|end| *end <= offset) else { return Err(wrong("footer length")) };
    let footer =
        |source| OpenSegmentError::Footer { path: file.path().to_owned(), offset: start, source };
    let region = Region::new(opened.owner, &opened.secret, RegionKind::Footer, trailer.footer)
        .map_err(footer)?;
    let frames = Region::frames(&(0..region.len()));
    let range = region.file_range(&frames);
    let bytes = file.read_at(range.start, (range.end - range.start) as usize)?;
    let plain = region.open(0, &bytes).map_err(footer)?;
    let map = SegmentMap::decode(&plain)
        .ok_or_else(|| format(file, "footer", start, FormatError::Field("content")))?;
    if file.read_at(end, (offset - end) as usize)?.iter().any(|&byte| byte != 0) {
        return Err(format(file, "padding", end, FormatError::Reserved));
    }
    Ok((map, trailer.totals()))
}

fn format(
    file: &ReadFile,
    part: &'static str,
    offset: u64,
    source: FormatError,
) -> OpenSegmentError {
    OpenSegmentError::Format { path: file.path().to_owned(), part, offset, source }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tapstone_runtime::random_bytes;

    /// The keys of a segment of which nothing else is known.
    pub(crate) fn opened(segment: SegmentId) -> Opened {
        let (secret, salt) = (Secret::random(), random_bytes());
        let key = FileKey::derive(&secret, &salt);
        let store = StoreId([1; 16]);
        let bucket = Arc::new(BucketId([2; 16]));
        let owner = Owner { store, segment };
        Opened { owner, shard: 0, created_nanos: 0, bucket, secret, key, header: [0; 196] }
    }
}
