//! SecureTransfer: what is listed comes into the backup.

use tapstone_runtime::blocking;

use super::parts::Part;
use super::snapshot::{Snapshot, Taken, Way};
use super::{BackupError, ask};
use crate::store::Store;

impl Snapshot {
    /// Takes one part after the other; each may expire from then on.
    pub(super) fn transfer(
        &mut self,
        store: &Store,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), BackupError> {
        let parts = std::mem::take(&mut self.parts);
        for (number, part) in parts.iter().enumerate() {
            ask(go_on)?;
            let taken = self.take(store, part, go_on)?;
            self.taken.push(taken);
            let next = parts.get(number + 1).and_then(|next| next.segment);
            if let Some(id) = part.segment.filter(|id| next != Some(*id)) {
                self.sparing.let_go(id);
            }
        }
        Ok(())
    }

    /// Shares a file with the backup before, or else with the store, or else copies it.
    fn take(
        &self,
        store: &Store,
        part: &Part,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Taken, BackupError> {
        let source = store.inner.layout.root().join(&part.path);
        let target = self.partial.path().join(&part.path);
        let taken = |bytes, way| Taken { path: part.path.clone(), bytes, way };
        if let Some(earlier) = &self.earlier
            && part.may_share
            && let Some((listed, own)) = earlier.same(&part.path, &source)?
            && blocking::link(&own, &target)?
        {
            return Ok(taken(listed.bytes, Way::Carried(listed.sha256.clone())));
        }
        let bytes = blocking::file_len(&source)?.unwrap_or(0);
        if part.may_share && blocking::link(&source, &target)? {
            return Ok(taken(bytes, Way::Shared));
        }
        match blocking::copy(&source, &target, bytes, go_on)? {
            true => Ok(taken(bytes, Way::Copied)),
            false => Err(BackupError::GivenUp),
        }
    }
}
