//! Split files: a sealed region and a trailer that describes it (docs/format/split.md).

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tapstone_index::BundleSource;
use tapstone_runtime::blocking::{self, ReadFile};
use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::block::Owner;
use super::format::{FormatError, RegionPlace, VERSION};
use super::reader::OpenSegmentError;
use super::region::{self, Region, RegionKind};
use crate::erase;
use crate::id::{SegmentId, StoreId};
use crate::keys::{BucketId, KeyRing, Secret, WrappedKey};
use crate::limits::FRAME_SIZE;
use crate::segment::writer::WriteError;

const MAGIC: [u8; 8] = *b"TAPSTSPL";
/// Bytes of the trailer, which has the keys.
pub(crate) const TRAILER_LEN: usize = size_of::<SplitTrailer>();
/// Frames of a split kept open, 256 KiB: a question reads them one behind the other, and a store keeps
/// many splits open.
const FRAMES_KEPT: usize = (256 << 10) / FRAME_SIZE;

/// The last bytes of a split file.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct SplitTrailer {
    magic: [u8; 8],
    version: U16,
    reserved: [u8; 6],
    store: [u8; 16],
    segment: [u8; 16],
    bucket: [u8; 16],
    wrapped_key: WrappedKey,
    region: RegionPlace,
    zeros: [u8; 304],
    crc: U32,
}

const _: () = assert!(TRAILER_LEN == 512);

impl SplitTrailer {
    fn checksum(&self) -> u32 {
        crc32c::crc32c(&self.as_bytes()[..TRAILER_LEN - 4])
    }

    fn parse(bytes: &[u8]) -> Result<SplitTrailer, FormatError> {
        let (_, trailer) = SplitTrailer::read_from_suffix(bytes).map_err(|_| FormatError::Short)?;
        if trailer.magic != MAGIC {
            return Err(FormatError::Magic);
        }
        if trailer.crc.get() != trailer.checksum() {
            return Err(FormatError::Checksum);
        }
        if trailer.version.get() != VERSION {
            return Err(FormatError::Version(trailer.version.get()));
        }
        if trailer.reserved != [0; 6] || trailer.zeros != [0; 304] {
            return Err(FormatError::Reserved);
        }
        Ok(trailer)
    }
}

/// Writes a split file, durably; gives its length. One that is there already is of no use: its keys
/// are destroyed.
pub(crate) fn write(
    path: &Path,
    keys: &KeyRing,
    owner: Owner,
    bucket: BucketId,
    secret: &Secret,
    bundle: &[u8],
) -> Result<u64, WriteError> {
    let (place, mut bytes) = region::seal(owner, secret, RegionKind::Split, 0, bundle);
    let mut trailer = SplitTrailer {
        magic: MAGIC,
        version: U16::new(VERSION),
        store: owner.store.0,
        segment: owner.segment.0,
        bucket: bucket.0,
        wrapped_key: keys.wrap_segment_key(bucket, owner.segment, secret)?,
        region: place,
        ..SplitTrailer::new_zeroed()
    };
    trailer.crc = U32::new(trailer.checksum());
    bytes.extend_from_slice(trailer.as_bytes());
    erase::split(path)?;
    blocking::replace_file(path, &bytes)?;
    Ok(bytes.len() as u64)
}

/// Opens a split file for [`tapstone_index::Split::open`].
pub(crate) fn open(
    path: &Path,
    keys: &KeyRing,
    store: StoreId,
    segment: SegmentId,
) -> Result<Arc<SplitSource>, OpenSegmentError> {
    let file = ReadFile::open(path)?;
    let length = file.length()?;
    let offset = length.saturating_sub(TRAILER_LEN as u64);
    let format = |source| OpenSegmentError::Format {
        path: path.to_owned(),
        part: "split trailer",
        offset,
        source,
    };
    let bytes = file.read_at(offset, (length - offset) as usize)?;
    let trailer = SplitTrailer::parse(&bytes).map_err(format)?;
    if trailer.store != store.0 || trailer.segment != segment.0 {
        return Err(format(FormatError::Field("segment id")));
    }
    if Region::stored_len(&trailer.region) != Some(offset) {
        return Err(format(FormatError::Field("length")));
    }
    let bucket = BucketId(trailer.bucket);
    let secret = keys.unwrap_segment_key(bucket, segment, &trailer.wrapped_key, path)?;
    let owner = Owner { store, segment };
    let region = Region::new(owner, &secret, RegionKind::Split, trailer.region)
        .map_err(|source| OpenSegmentError::Footer { path: path.to_owned(), offset: 0, source })?;
    Ok(Arc::new(SplitSource { file, region, frames: Mutex::default() }))
}

/// Reads a split's content through its frames.
#[derive(Debug)]
pub(crate) struct SplitSource {
    file: ReadFile,
    region: Region,
    frames: Mutex<HashMap<u64, Arc<Vec<u8>>>>,
}

impl SplitSource {
    fn frame(&self, number: u64) -> io::Result<Arc<Vec<u8>>> {
        let frames = || self.frames.lock().expect("no holder of the lock panics");
        if let Some(frame) = frames().get(&number) {
            return Ok(Arc::clone(frame));
        }
        let range = self.region.file_range(&(number..number + 1));
        let stored = self.file.read_at(range.start, (range.end - range.start) as usize);
        let stored = stored.map_err(io::Error::other)?;
        let plain = self.region.open(number, &stored).map_err(|error| {
            let at = range.start;
            io::Error::other(format!("{} at offset {at}: {error}", self.file.path().display()))
        })?;
        let frame = Arc::new(plain);
        let mut kept = frames();
        if kept.len() >= FRAMES_KEPT {
            // Any will do: what is read again is rarely more than the first few.
            kept.clear();
        }
        kept.insert(number, Arc::clone(&frame));
        Ok(frame)
    }
}

impl BundleSource for SplitSource {
    fn len(&self) -> u64 {
        self.region.len()
    }

    fn read(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        if range.start > range.end || range.end > self.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = Vec::with_capacity((range.end - range.start) as usize);
        for number in Region::frames(&range) {
            let frame = self.frame(number)?;
            let begin = number * FRAME_SIZE as u64;
            let from = range.start.saturating_sub(begin) as usize;
            let to = ((range.end - begin) as usize).min(frame.len());
            bytes.extend_from_slice(&frame[from..to]);
        }
        Ok(bytes)
    }
}
