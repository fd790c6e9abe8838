//! What a backup says of itself (docs/format/backup.md).

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use tapstone_runtime::blocking;
use tapstone_runtime::file::FileError;

use crate::id::StoreId;

/// Its name in the backup's folder.
const NAME: &str = "manifest.json";
const KIND: &str = "tapstone backup";
const VERSION: u32 = 1;
/// Files of a store that a backup has.
pub(crate) const FILES: [&str; 7] = [
    "store",
    "catalog.redb",
    "audit.head",
    "audit.mark",
    "ledger.head",
    "report.key",
    "report.pem",
];
/// Folders of a store whose files a backup has.
pub(crate) const FOLDERS: [&str; 6] = ["keys", "segments", "splits", "wal", "audit", "ledger"];

/// It is written last, and names every other file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    kind: String,
    version: u32,
    #[serde(with = "text")]
    pub(crate) store: StoreId,
    /// What was acknowledged before is in it.
    pub(crate) taken_nanos: u64,
    pub(crate) written_nanos: u64,
    pub(crate) segments: u64,
    pub(crate) packets: u64,
    pub(crate) packet_bytes: u64,
    /// What was wrong with the store itself.
    pub(crate) damage: Vec<String>,
    pub(crate) files: Vec<Listed>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listed {
    /// Within the backup's folder, as within the store's.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    /// In hexadecimal.
    pub(crate) sha256: String,
}

/// Why a folder is not a backup that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It says nothing of itself.
    #[error(
        "{} is not a backup: it has no {NAME}; name the folder of one backup (one that ends in \
         .partial was never finished)", .0.display()
    )]
    Missing(PathBuf),
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It makes no sense.
    #[error(
        "{} is damaged: {what}; take another backup, or put the files into place by hand \
         (docs/operations.md)", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A newer program made the backup.
    #[error(
        "{} has version {version}, this program knows version {VERSION}; use a newer Tapstone",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u64,
    },
}

impl Manifest {
    /// Of a store, and nothing yet.
    pub(super) fn new(store: StoreId, taken_nanos: u64) -> Manifest {
        Manifest {
            kind: KIND.to_owned(),
            version: VERSION,
            store,
            taken_nanos,
            written_nanos: 0,
            segments: 0,
            packets: 0,
            packet_bytes: 0,
            damage: Vec::new(),
            files: Vec::new(),
        }
    }

    /// What the backup in a folder says of itself.
    pub(crate) fn read(folder: &Path) -> Result<Manifest, ManifestError> {
        let path = folder.join(NAME);
        match blocking::read_file(&path)? {
            Some(bytes) => Manifest::parse(&bytes, &path),
            None => Err(ManifestError::Missing(folder.to_owned())),
        }
    }

    fn parse(bytes: &[u8], path: &Path) -> Result<Manifest, ManifestError> {
        #[derive(Deserialize)]
        struct Version {
            kind: String,
            version: u64,
        }
        let damaged = |what: String| ManifestError::Damaged { path: path.to_owned(), what };
        let json = |error: serde_json::Error| damaged(error.to_string());
        let Version { kind, version } = serde_json::from_slice(bytes).map_err(json)?;
        if kind != KIND {
            return Err(damaged(format!("it is about something else ({kind:?})")));
        }
        if version != u64::from(VERSION) {
            return Err(ManifestError::Version { path: path.to_owned(), version });
        }
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(json)?;
        match manifest.files.iter().find(|file| !is_of_a_store(&file.path)) {
            Some(file) => Err(damaged(format!("{:?} is no file of a store", file.path))),
            None => Ok(manifest),
        }
    }

    /// Writes it, durably.
    pub(super) fn write(&self, folder: &Path) -> Result<(), FileError> {
        let bytes = serde_json::to_vec_pretty(self).expect("it holds texts and numbers");
        blocking::replace_file(&folder.join(NAME), &bytes)
    }
}

/// Whether a path leads to a place of the store's folder where a backup's files are, and nowhere
/// else: what it names is written to when the backup is restored.
fn is_of_a_store(path: &str) -> bool {
    if FILES.contains(&path) {
        return true;
    }
    let Some((folder, name)) = path.split_once('/') else { return false };
    let mut parts = Path::new(name).components();
    let is_name =
        matches!((parts.next(), parts.next()), (Some(Component::Normal(it)), None) if it == name);
    FOLDERS.contains(&folder) && is_name
}

/// A store's id as it is shown.
mod text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::id::StoreId;

    pub(super) fn serialize<S: Serializer>(id: &StoreId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<StoreId, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let listed = |path: &str| Listed { path: path.into(), bytes: 5, sha256: "00".into() };
        let files = vec![listed("store"), listed("segments/a.seg")];
        Manifest { files, packets: 7, ..Manifest::new(StoreId([4; 16]), 8) }
    }

    #[test]
    fn a_manifest_comes_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Manifest::read(dir.path()), Err(ManifestError::Missing(_))));
        manifest().write(dir.path()).unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap(), manifest());
    }

    #[test]
    fn what_it_is_not_is_told() {
        let parse = |text: &str| Manifest::parse(text.as_bytes(), Path::new("m")).unwrap_err();
        let newer = parse(r#"{"kind": "tapstone backup", "version": 2}"#);
        assert!(matches!(newer, ManifestError::Version { version: 2, .. }), "{newer}");
        for text in ["", "{", r#"{"kind": "another", "version": 1}"#, "[]"] {
            let error = parse(text);
            assert!(matches!(error, ManifestError::Damaged { .. }), "{text}: {error}");
        }
        let mut outside = manifest();
        outside.files[1].path = "segments/../../a".into();
        let error = parse(&serde_json::to_string(&outside).unwrap());
        assert!(error.to_string().contains("no file of a store"), "{error}");
    }

    #[test]
    fn only_places_of_a_store_are_written_to() {
        for path in ["store", "catalog.redb", "audit.head", "keys/00.key", "wal/wal-0-1.log"] {
            assert!(is_of_a_store(path), "{path}");
        }
        for path in [
            "",
            "/etc/passwd",
            "..",
            "../store",
            "master.key",
            "lock",
            "keys",
            "keys/",
            "keys/.",
            "keys/..",
            "keys/../store",
            "segments//a",
            "segments/a/b",
            "names/a",
            "./store",
            "segments/a/",
            "segments/./a",
        ] {
            assert!(!is_of_a_store(path), "{path}");
        }
    }
}
