//! Bucket keys: one a day, each in a file of its own, wrapped by the master key.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use ring::aead::{Aad, NONCE_LEN, Nonce};
use tapstone_runtime::{blocking, privileges, random_bytes};

use super::Secret;
use super::key_file::{self, KeyError, KeyFile, KeyKind};
use super::seal::{FileKey, Stream, TAG_LEN, unbound};
use crate::erase;
use crate::id::SegmentId;

/// Bytes of a wrapped key: nonce, ciphertext, tag.
pub(crate) const WRAPPED_LEN: usize = NONCE_LEN + 32 + TAG_LEN;
/// The user who may do everything.
const ROOT: u32 = 0;
/// A key sealed under another key.
pub(crate) type WrappedKey = [u8; WRAPPED_LEN];

/// The name of a bucket's key: the bucket's day (days since the epoch, big-endian), then 12
/// random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BucketId(pub(crate) [u8; 16]);

impl BucketId {
    fn day(self) -> u32 {
        u32::from_be_bytes([self.0[0], self.0[1], self.0[2], self.0[3]])
    }

    fn to_hex(self) -> String {
        self.0.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a String takes every write");
            text
        })
    }

    fn from_hex(text: &str) -> Option<BucketId> {
        (text.len() == 32).then_some(())?;
        let number = u128::from_str_radix(text, 16).ok()?;
        Some(BucketId(number.to_be_bytes()))
    }
}

/// The keys of one store: the master key, and the bucket keys unwrapped so far.
#[derive(Debug)]
pub(crate) struct KeyRing {
    folder: PathBuf,
    master_id: [u8; 16],
    master: Secret,
    buckets: Mutex<HashMap<BucketId, Secret>>,
    /// The buckets of segments that are being written. Locked while one is made or destroyed.
    claimed: Mutex<HashMap<BucketId, Weak<BucketId>>>,
}

impl KeyRing {
    /// Makes the master key of a new store.
    pub(crate) fn create(master_path: &Path) -> Result<(), KeyError> {
        let file =
            KeyFile { id: random_bytes(), wrapped_by: [0; 16], bytes: Secret::random().0.to_vec() };
        key_file::write(master_path, KeyKind::Master, &file)
    }

    /// Reads the master key. `folder` is where bucket keys are.
    pub(crate) fn open(master_path: &Path, folder: &Path) -> Result<KeyRing, KeyError> {
        check_mode(master_path)?;
        KeyRing::of_any_mode(master_path, folder)
    }

    /// The same for a key that is no store's own: where it is kept, others may keep it as they must.
    pub(crate) fn of_any_mode(master_path: &Path, folder: &Path) -> Result<KeyRing, KeyError> {
        let (master_id, master) = read_master(master_path)?;
        let (folder, buckets) = (folder.to_owned(), Mutex::default());
        Ok(KeyRing { folder, master_id, master, buckets, claimed: Mutex::default() })
    }

    /// Puts a copy of a master key into a store's folder.
    pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), KeyError> {
        let file = key_file::read(from, KeyKind::Master)?;
        let gone = || KeyError::Damaged { path: from.to_owned(), what: "it does not exist" };
        key_file::write(to, KeyKind::Master, &file.ok_or_else(gone)?)
    }

    /// The same master key, and bucket keys that are elsewhere.
    pub(crate) fn over(&self, folder: &Path) -> KeyRing {
        let (folder, buckets) = (folder.to_owned(), Mutex::new(HashMap::new()));
        KeyRing {
            folder,
            master_id: self.master_id,
            master: self.master.clone(),
            buckets,
            claimed: Mutex::default(),
        }
    }

    /// Unwraps every bucket's key; gives how many there are.
    pub(crate) fn unwrap_all(&self) -> Result<u64, KeyError> {
        let mut count = 0;
        for name in blocking::list_dir(&self.folder)? {
            let id = name.to_str().and_then(|name| name.strip_suffix(".key"));
            if let Some(id) = id.and_then(BucketId::from_hex) {
                self.bucket(id)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Whether the master key can be had again, and is the one in use.
    pub(crate) fn compare(&self, master_path: &Path) -> Result<(), KeyError> {
        match read_master(master_path)? {
            (id, master) if id == self.master_id && master == self.master => Ok(()),
            _ => Err(KeyError::Exchanged { path: master_path.to_owned() }),
        }
    }

    /// Seals and opens something, with keys that are wrapped as a segment's are. Nothing is written.
    pub(crate) fn try_out(&self) -> Result<(), &'static str> {
        const OTHER: &str = "a wrapped key comes back as another";
        let (bucket, segment, name) = (Secret::random(), Secret::random(), random_bytes());
        let through = |by: &Secret, secret: &Secret| unwrap(by, &wrap(by, secret, &name), &name);
        let bucket = through(&self.master, &bucket).filter(|it| *it == bucket).ok_or(OTHER)?;
        let segment = through(&bucket, &segment).filter(|it| *it == segment).ok_or(OTHER)?;
        let key = FileKey::derive(&segment, &random_bytes());
        let plain: [u8; 64] = random_bytes();
        let mut data = plain;
        let tag = key.seal(Stream::Blocks, 1, &[&name], &mut data);
        let mut altered = data;
        altered[7] ^= 1;
        if key.open(Stream::Blocks, 1, &[&name], &mut altered, tag) {
            return Err("what was altered opens all the same");
        }
        let opens = key.open(Stream::Blocks, 1, &[&name], &mut data, tag);
        if opens && data == plain { Ok(()) } else { Err("what was sealed does not open") }
    }

    /// Keeps no bucket's key in memory; each is unwrapped again when it is needed.
    pub(crate) fn forget_buckets(&self) {
        self.buckets.lock().expect("no holder of the lock panics").clear();
    }

    /// The bucket of a day, made when there is none yet. It is not destroyed while what this gives is
    /// kept.
    pub(crate) fn bucket_of_day(&self, day: u32) -> Result<Arc<BucketId>, KeyError> {
        let mut claimed = self.claimed.lock().expect("no holder of the lock panics");
        claimed.retain(|_, claim| claim.strong_count() > 0);
        let found = self.list()?.into_iter().find(|id| id.day() == day);
        let id = found.map_or_else(|| self.make_bucket(day), Ok)?;
        if let Some(claim) = claimed.get(&id).and_then(Weak::upgrade) {
            return Ok(claim);
        }
        let claim = Arc::new(id);
        claimed.insert(id, Arc::downgrade(&claim));
        Ok(claim)
    }

    fn make_bucket(&self, day: u32) -> Result<BucketId, KeyError> {
        let mut id = BucketId(random_bytes());
        id.0[..4].copy_from_slice(&day.to_be_bytes());
        let secret = self.make(&self.path(id), KeyKind::Bucket, id.0)?;
        self.remember(id, secret);
        Ok(id)
    }

    /// The key that signs reports, made when there is none yet.
    pub(crate) fn report_key(&self, path: &Path) -> Result<Secret, KeyError> {
        match key_file::read(path, KeyKind::Report)? {
            Some(file) => self.unwrap_file(path, file),
            None => self.make(path, KeyKind::Report, random_bytes()),
        }
    }

    /// Makes a key, and writes it wrapped by the master key.
    fn make(&self, path: &Path, kind: KeyKind, id: [u8; 16]) -> Result<Secret, KeyError> {
        let secret = Secret::random();
        let bytes = wrap(&self.master, &secret, &id).to_vec();
        key_file::write(path, kind, &KeyFile { id, wrapped_by: self.master_id, bytes })?;
        Ok(secret)
    }

    /// A key that the master key wraps.
    fn unwrap_file(&self, path: &Path, file: KeyFile) -> Result<Secret, KeyError> {
        let damaged = |what| KeyError::Damaged { path: path.to_owned(), what };
        let wrapped = file.bytes.try_into().map_err(|_| damaged("its key has another length"))?;
        (file.wrapped_by == self.master_id)
            .then(|| unwrap(&self.master, &wrapped, &file.id))
            .flatten()
            .ok_or_else(|| KeyError::WrongKey { path: path.to_owned() })
    }

    /// The buckets that have a key.
    fn list(&self) -> Result<Vec<BucketId>, KeyError> {
        let names = blocking::list_dir(&self.folder)?;
        let id = |name: &OsString| BucketId::from_hex(name.to_str()?.strip_suffix(".key")?);
        Ok(names.iter().filter_map(id).collect())
    }

    /// Destroys the keys of those `days` of which there is no segment; gives the days that have no key
    /// any more. `days_in_use` is asked while no segment can be begun in a bucket that is about to
    /// go; where it does not know, none goes.
    pub(crate) fn destroy_unneeded<E: From<KeyError>>(
        &self,
        days: &BTreeSet<u32>,
        days_in_use: impl FnOnce() -> Result<Option<BTreeSet<u32>>, E>,
    ) -> Result<BTreeSet<u32>, E> {
        let claimed = self.claimed.lock().expect("no holder of the lock panics");
        let Some(mut in_use) = days_in_use()? else { return Ok(BTreeSet::new()) };
        let claims = claimed.iter().filter(|(_, claim)| claim.strong_count() > 0);
        in_use.extend(claims.map(|(id, _)| id.day()));
        let unneeded: BTreeSet<u32> = days.difference(&in_use).copied().collect();
        for id in self.list()?.iter().filter(|id| unneeded.contains(&id.day())) {
            self.buckets.lock().expect("no holder of the lock panics").remove(id);
            let erased = erase::key(&self.path(*id)).map_err(KeyError::from)?;
            if let Some(error) = erased.key_left {
                return Err(KeyError::from(error).into());
            }
        }
        Ok(unneeded)
    }

    /// Wraps a segment's key for its header.
    pub(crate) fn wrap_segment_key(
        &self,
        bucket: BucketId,
        segment: SegmentId,
        secret: &Secret,
    ) -> Result<WrappedKey, KeyError> {
        Ok(wrap(&self.bucket(bucket)?, secret, &segment.0))
    }

    /// Unwraps a segment's key. `holder` is the file that holds it, for the error.
    pub(crate) fn unwrap_segment_key(
        &self,
        bucket: BucketId,
        segment: SegmentId,
        wrapped: &WrappedKey,
        holder: &Path,
    ) -> Result<Secret, KeyError> {
        unwrap(&self.bucket(bucket)?, wrapped, &segment.0)
            .ok_or_else(|| KeyError::WrongKey { path: holder.to_owned() })
    }

    fn bucket(&self, id: BucketId) -> Result<Secret, KeyError> {
        let known = self.buckets.lock().expect("no holder of the lock panics").get(&id).cloned();
        if let Some(secret) = known {
            return Ok(secret);
        }
        let path = self.path(id);
        let Some(file) = key_file::read(&path, KeyKind::Bucket)? else {
            return Err(KeyError::Destroyed { bucket: id.to_hex(), path });
        };
        if file.id != id.0 {
            return Err(KeyError::WrongKey { path });
        }
        let secret = self.unwrap_file(&path, file)?;
        self.remember(id, secret.clone());
        Ok(secret)
    }

    fn remember(&self, id: BucketId, secret: Secret) {
        self.buckets.lock().expect("no holder of the lock panics").insert(id, secret);
    }

    fn path(&self, id: BucketId) -> PathBuf {
        self.folder.join(id.to_hex()).with_extension("key")
    }
}

fn read_master(path: &Path) -> Result<([u8; 16], Secret), KeyError> {
    let damaged = |what| KeyError::Damaged { path: path.to_owned(), what };
    let file = key_file::read(path, KeyKind::Master)?;
    let file = file.ok_or_else(|| damaged("it does not exist"))?;
    let master = file.bytes.try_into().map_err(|_| damaged("its key is not 32 bytes"))?;
    Ok((file.id, Secret(master)))
}

fn check_mode(path: &Path) -> Result<(), KeyError> {
    match blocking::permissions(path)? {
        mode if mode & 0o077 != 0 => Err(KeyError::Exposed { path: path.to_owned(), mode }),
        _ => Ok(()),
    }
}

/// Whether nobody can read the master key, or put another in its place, who could not do so anyway:
/// it is this user's, root's, or that of whoever has the store's folder.
pub(crate) fn check_access(path: &Path, folder: &Path) -> Result<(), KeyError> {
    check_mode(path)?;
    let (owner, of_folder) = (blocking::owner(path)?, blocking::owner(folder)?);
    let user = privileges::user();
    if [user, ROOT, of_folder].contains(&owner) {
        return Ok(());
    }
    Err(KeyError::Foreign { path: path.to_owned(), owner, user })
}

/// AES-256-GCM under a random nonce, bound to the name of the wrapped key.
fn wrap(by: &Secret, secret: &Secret, name: &[u8; 16]) -> WrappedKey {
    let nonce: [u8; NONCE_LEN] = random_bytes();
    let mut wrapped = [0; WRAPPED_LEN];
    let (head, rest) = wrapped.split_at_mut(NONCE_LEN);
    let (body, tag) = rest.split_at_mut(32);
    head.copy_from_slice(&nonce);
    body.copy_from_slice(&secret.0);
    let sealed = unbound(&by.0)
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(name), body)
        .expect("32 bytes are far below GCM's 64 GiB");
    tag.copy_from_slice(sealed.as_ref());
    wrapped
}

fn unwrap(by: &Secret, wrapped: &WrappedKey, name: &[u8; 16]) -> Option<Secret> {
    let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_LEN>()?;
    let mut sealed = sealed.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let opened = unbound(&by.0).open_in_place(nonce, Aad::from(name), &mut sealed).ok()?;
    Some(Secret((&*opened).try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::StoreId;

    fn ring(dir: &Path) -> KeyRing {
        std::fs::create_dir_all(dir.join("keys")).unwrap();
        KeyRing::open(&dir.join("master.key"), &dir.join("keys")).unwrap()
    }

    #[test]
    fn a_segment_key_comes_back_after_reopening_and_only_for_its_segment() {
        let dir = tempfile::tempdir().unwrap();
        KeyRing::create(&dir.path().join("master.key")).unwrap();
        let keys = ring(dir.path());
        let segment = SegmentId::new(StoreId([1; 16]), 0, 0);
        let secret = Secret::random();
        let bucket = keys.bucket_of_day(20_000).unwrap();
        let wrapped = keys.wrap_segment_key(*bucket, segment, &secret).unwrap();

        let again = ring(dir.path());
        assert_eq!(again.bucket_of_day(20_000).unwrap(), bucket);
        let holder = Path::new("holder");
        assert_eq!(again.unwrap_segment_key(*bucket, segment, &wrapped, holder).unwrap(), secret);
        let other = SegmentId::new(StoreId([1; 16]), 1, 0);
        assert!(matches!(
            again.unwrap_segment_key(*bucket, other, &wrapped, holder),
            Err(KeyError::WrongKey { .. })
        ));
    }

    #[test]
    fn the_key_of_reports_is_made_once_and_comes_back_under_its_master_key_only() {
        let dir = tempfile::tempdir().unwrap();
        let (master, path) = (dir.path().join("master.key"), dir.path().join("report.key"));
        KeyRing::create(&master).unwrap();
        let key = ring(dir.path()).report_key(&path).unwrap();
        assert!(ring(dir.path()).report_key(&path).unwrap() == key);
        assert_eq!(blocking::permissions(&path).unwrap(), 0o600);
        assert!(!std::fs::read(&path).unwrap().windows(32).any(|it| it == key.0));
        std::fs::remove_file(&master).unwrap();
        KeyRing::create(&master).unwrap();
        let error = ring(dir.path()).report_key(&path).unwrap_err();
        assert!(matches!(error, KeyError::WrongKey { .. }), "{error}");
    }

    #[test]
    fn without_its_bucket_key_a_segment_key_is_destroyed() {
        let dir = tempfile::tempdir().unwrap();
        KeyRing::create(&dir.path().join("master.key")).unwrap();
        let segment = SegmentId::new(StoreId([1; 16]), 0, 0);
        let keys = ring(dir.path());
        let bucket = keys.bucket_of_day(1).unwrap();
        let wrapped = keys.wrap_segment_key(*bucket, segment, &Secret::random()).unwrap();
        std::fs::remove_file(keys.path(*bucket)).unwrap();
        let error = ring(dir.path())
            .unwrap_segment_key(*bucket, segment, &wrapped, Path::new("holder"))
            .unwrap_err();
        assert!(matches!(error, KeyError::Destroyed { .. }), "{error}");
    }

    #[test]
    fn a_key_goes_when_nothing_of_its_day_is_there_or_being_written() {
        let dir = tempfile::tempdir().unwrap();
        KeyRing::create(&dir.path().join("master.key")).unwrap();
        let keys = ring(dir.path());
        let [one, two, three] = [1, 2, 3].map(|day| keys.bucket_of_day(day).unwrap());
        let destroy = |days: &[u32], in_use: &[u32]| {
            let set = |days: &[u32]| days.iter().copied().collect::<BTreeSet<u32>>();
            let in_use = || Ok::<_, KeyError>(Some(set(in_use)));
            keys.destroy_unneeded(&set(days), in_use).unwrap().len()
        };
        assert_eq!(destroy(&[1, 2, 3], &[]), 0, "all of them are being written");
        let again = keys.bucket_of_day(1).unwrap();
        assert_eq!(again, one);
        drop(again);
        assert_eq!(destroy(&[1, 2], &[2]), 0);
        let link = dir.path().join("link");
        std::fs::hard_link(keys.path(*one), &link).unwrap();
        let id = *one;
        drop((one, two));
        assert_eq!(destroy(&[], &[]), 0, "nothing of these days was let go");
        assert_eq!(destroy(&[1, 2, 3], &[2]), 1);
        let written = std::fs::read(&link).unwrap();
        assert!(!written.is_empty() && written.iter().all(|&byte| byte == 0));
        assert!(matches!(keys.bucket(id), Err(KeyError::Destroyed { .. })), "nor in memory");
        assert_eq!(destroy(&[2, 3], &[2]), 0);
        let unknown = keys.destroy_unneeded(&[2].into(), || Ok::<_, KeyError>(None)).unwrap();
        assert!(unknown.is_empty(), "any day may be needed");
        assert_ne!(*keys.bucket_of_day(1).unwrap(), id, "the day goes on with another key");
        assert_eq!(*keys.bucket_of_day(3).unwrap(), *three);
        assert_eq!(std::fs::read_dir(dir.path().join("keys")).unwrap().count(), 3);
    }

    #[test]
    fn a_master_key_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        KeyRing::create(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = KeyRing::open(&path, dir.path()).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_master_key_that_is_another_or_gone_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        KeyRing::create(&path).unwrap();
        let keys = ring(dir.path());
        keys.compare(&path).unwrap();
        check_access(&path, dir.path()).unwrap();
        keys.try_out().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(keys.compare(&path), Err(KeyError::Damaged { .. })));
        KeyRing::create(&path).unwrap();
        let error = keys.compare(&path).unwrap_err();
        assert!(matches!(error, KeyError::Exchanged { .. }), "{error}");
        keys.try_out().unwrap();
    }

    #[test]
    fn a_master_key_of_somebody_else_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        KeyRing::create(&path).unwrap();
        // Only root may give a file away.
        if std::os::unix::fs::chown(&path, Some(4242), None).is_err() {
            return;
        }
        let error = check_access(&path, dir.path()).unwrap_err();
        assert!(error.to_string().contains("user 4242"), "{error}");
        std::os::unix::fs::chown(dir.path(), Some(4242), None).unwrap();
        check_access(&path, dir.path()).unwrap();
    }

    #[test]
    fn every_flipped_byte_of_a_key_file_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k.key");
        let file = KeyFile { id: [1; 16], wrapped_by: [2; 16], bytes: vec![3; WRAPPED_LEN] };
        key_file::write(&path, KeyKind::Bucket, &file).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(key_file::read(&path, KeyKind::Bucket).unwrap(), Some(file));
        for index in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[index] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            assert!(key_file::read(&path, KeyKind::Bucket).is_err(), "byte {index}");
        }
    }
}
