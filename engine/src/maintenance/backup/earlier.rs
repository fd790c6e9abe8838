//! The backup before: what it has already need not be copied again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tapstone_runtime::blocking::{self, ReadFile};
use tapstone_runtime::file::FileError;

use super::manifest::{Listed, Manifest};
use super::partial;
use crate::id::StoreId;
use crate::limits::PAGE_SIZE;

/// The newest backup of a store in a folder.
#[derive(Debug)]
pub(super) struct Earlier {
    path: PathBuf,
    files: BTreeMap<String, Listed>,
}

impl Earlier {
    /// Looks for it; one that cannot be read is passed over.
    pub(super) fn find(folder: &Path, store: StoreId) -> Result<Option<Earlier>, FileError> {
        for name in partial::names_of(folder, store)? {
            let path = folder.join(name);
            match Manifest::read(&path) {
                Ok(manifest) if manifest.store == store => {
                    let files = manifest.files.into_iter().map(|it| (it.path.clone(), it));
                    return Ok(Some(Earlier { files: files.collect(), path }));
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "what it has is copied once more"),
            }
        }
        Ok(None)
    }

    /// A file that it has just as the store has it, and where: of the same name and length, with the same
    /// beginning and end. That is where a segment and a split say what they are, under a salt of their own.
    pub(super) fn same(
        &self,
        path: &str,
        source: &Path,
    ) -> Result<Option<(&Listed, PathBuf)>, FileError> {
        let Some(listed) = self.files.get(path) else { return Ok(None) };
        let own = self.path.join(path);
        let is_there = blocking::file_len(&own)? == Some(listed.bytes);
        let is_same = is_there && ends(&own)? == ends(source)?;
        Ok(is_same.then_some((listed, own)))
    }
}

/// The length of a file, its first and its last page.
fn ends(path: &Path) -> Result<(u64, Vec<u8>, Vec<u8>), FileError> {
    let file = ReadFile::open(path)?;
    let length = file.length()?;
    let page = length.min(PAGE_SIZE as u64);
    Ok((length, file.read_at(0, page as usize)?, file.read_at(length - page, page as usize)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: StoreId = StoreId([7; 16]);

    fn backup(folder: &Path, name: &str, store: StoreId, content: &[u8]) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.join("splits")).unwrap();
        std::fs::write(path.join("splits/a.split"), content).unwrap();
        let mut manifest = Manifest::new(store, 1);
        let bytes = content.len() as u64;
        manifest.files.push(Listed { path: "splits/a.split".into(), bytes, sha256: name.into() });
        manifest.write(&path).unwrap();
    }

    #[test]
    fn the_newest_that_can_be_read_counts_and_only_for_what_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Earlier::find(dir.path(), STORE).unwrap().is_none());
        let content = vec![5; 20_000];
        backup(dir.path(), "20261127T083000.000Z-07070707", STORE, &content);
        backup(dir.path(), "20261128T083000.000Z-07070707", STORE, &content);
        backup(dir.path(), "20261129T083000.000Z-07070707", StoreId([8; 16]), &content);
        std::fs::create_dir(dir.path().join("20261130T083000.000Z-07070707")).unwrap();
        let earlier = Earlier::find(dir.path(), STORE).unwrap().unwrap();
        let source = dir.path().join("source");
        let same = |bytes: &[u8]| {
            std::fs::write(&source, bytes).unwrap();
            earlier
                .same("splits/a.split", &source)
                .unwrap()
                .map(|(listed, _)| listed.sha256.clone())
        };
        assert_eq!(same(&content).unwrap(), "20261128T083000.000Z-07070707");
        assert_eq!(same(&content[1..]), None);
        for at in [0, 19_999] {
            let mut other = content.clone();
            other[at] ^= 1;
            assert_eq!(same(&other), None);
        }
        assert_eq!(earlier.same("splits/b.split", &source).unwrap(), None);
        std::fs::remove_file(dir.path().join("20261128T083000.000Z-07070707/splits/a.split"))
            .unwrap();
        assert_eq!(same(&content), None);
    }
}
