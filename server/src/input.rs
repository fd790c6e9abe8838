//! Where captures come from: files, compressed or not, and the standard input.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A source of a capture's bytes.
pub(crate) struct Input {
    /// The capture, decompressed.
    pub(crate) reader: Box<dyn Read>,
    /// Bytes of the file as it lies there; `None` for streams.
    pub(crate) length: Option<u64>,
}

/// Opens a file, or the standard input for `-`. Compression is told by the first bytes: names lie.
/// `progress` is told of the bytes taken from the file.
pub(crate) fn open(path: &Path, progress: impl Fn(u64) + 'static) -> io::Result<Input> {
    let (source, length): (Box<dyn Read>, _) = if path == Path::new("-") {
        (Box::new(io::stdin()), None)
    } else {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        (Box::new(file), metadata.is_file().then_some(metadata.len()))
    };
    let mut counted = Counted { source, progress };
    let mut head = Vec::with_capacity(4);
    counted.by_ref().take(4).read_to_end(&mut head)?;
    let kind = head.clone();
    let whole = io::Cursor::new(head).chain(counted);
    let reader: Box<dyn Read> = match kind[..] {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(whole)?),
        _ => Box::new(whole),
    };
    Ok(Input { reader, length })
}

struct Counted<F> {
    source: Box<dyn Read>,
    progress: F,
}

impl<F: Fn(u64)> Read for Counted<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        (self.progress)(read as u64);
        Ok(read)
    }
}
