//! A disk image in memory: only the pages that were ever written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::fate::Fate;
use crate::log::Entry;

const PAGE: u64 = 4096;
/// Pages that are written to a file at once.
const RUN_PAGES: usize = 64;

type Page = [u8; PAGE as usize];

/// What a device holds; what was never written is zeros.
#[derive(Clone, Debug, Default)]
pub struct Image {
    pages: BTreeMap<u64, Box<Page>>,
}

impl Image {
    /// Puts bytes in their place.
    pub fn write(&mut self, mut offset: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let within = (offset % PAGE) as usize;
            let (now, later) = bytes.split_at(bytes.len().min(PAGE as usize - within));
            let page = self.pages.entry(offset / PAGE).or_insert_with(|| Box::new([0; _]));
            page[within..within + now.len()].copy_from_slice(now);
            offset += now.len() as u64;
            bytes = later;
        }
    }

    /// Applies an entry of a log as its fate wills.
    pub fn apply(&mut self, log: &[u8], entry: &Entry, fate: &Fate) {
        let bytes = &log[entry.data.clone()];
        match fate {
            Fate::Kept => self.write(entry.offset, bytes),
            Fate::Dropped => {}
            Fate::Torn { piece, kept } => {
                for ((bytes, kept), index) in bytes.chunks(*piece).zip(kept).zip(0..) {
                    if *kept {
                        self.write(entry.offset + index * *piece as u64, bytes);
                    }
                }
            }
        }
    }

    /// Makes `file` hold these pages and nothing else, with holes where there are zeros.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn store(&self, file: &File, length: u64) -> io::Result<()> {
        file.set_len(0)?;
        file.set_len(length)?;
        let mut run: (u64, Vec<u8>) = (0, Vec::with_capacity(RUN_PAGES * PAGE as usize));
        for (number, page) in self.pages.iter().filter(|(_, page)| ***page != [0; _]) {
            let (start, bytes) = &mut run;
            let next = *start + bytes.len() as u64 / PAGE;
            if next != *number || bytes.len() == RUN_PAGES * PAGE as usize {
                file.write_all_at(bytes, *start * PAGE)?;
                bytes.clear();
                *start = *number;
            }
            bytes.extend_from_slice(&page[..]);
        }
        file.write_all_at(&run.1, run.0 * PAGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(image: &Image, length: u64) -> Vec<u8> {
        let file = tempfile::tempfile().unwrap();
        // What was there before must not shine through.
        file.write_all_at(&[9; 5000], 0).unwrap();
        image.store(&file, length).unwrap();
        let mut bytes = vec![0; length as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn a_file_holds_what_was_written_and_zeros_elsewhere() {
        let mut image = Image::default();
        image.write(4000, &[1; 200]);
        image.write(40960, &[2; 4096]);
        image.write(4096, &[3; 4]);
        let bytes = bytes_of(&image, 1 << 16);
        let mut expected = vec![0; 1 << 16];
        expected[4000..4200].fill(1);
        expected[4096..4100].fill(3);
        expected[40960..45056].fill(2);
        assert!(bytes == expected);
    }

    #[test]
    fn a_torn_write_leaves_its_kept_pieces() {
        let log = [vec![1; 512], vec![2; 512], vec![3; 512]].concat();
        let entry = Entry { offset: 1024, data: 0..1536, flush: false, fua: false };
        let mut image = Image::default();
        image.write(1024, &[7; 1536]);
        image.apply(&log, &entry, &Fate::Dropped);
        let kept = vec![true, false, true];
        image.apply(&log, &entry, &Fate::Torn { piece: 512, kept });
        let bytes = bytes_of(&image, 4096);
        let places: Vec<u8> = bytes[1024..2560].chunks(512).map(|piece| piece[0]).collect();
        assert_eq!(places, [1, 7, 3]);
    }
}
