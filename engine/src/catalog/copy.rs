//! A copy of the catalog, as it is at one moment: the file itself is written while it is copied.

use std::path::Path;

use redb::{Key, ReadTransaction, ReadableTable, TableDefinition, Value, WriteTransaction};
use tapstone_runtime::blocking::RandomAccessFile;

use super::by_hour::EXPIRED_BY_HOUR;
use super::expiring::{DAYS_LET_GO, EXPIRED};
use super::{CHECKPOINTS, Catalog, CatalogError, META, SEGMENTS, SUMMARIES, open_database};

impl Catalog {
    /// Writes all that is in it to a new file, by one reading transaction. Segments that are being
    /// removed are not told of: their files are no part of any copy.
    pub(crate) fn copy_to(&self, path: &Path) -> Result<(), CatalogError> {
        let database = open_database(path, RandomAccessFile::create_new(path)?)?;
        let copy = Catalog::new(path, database);
        self.read(|from| Ok(copy.write(|to| copy_tables(from, to))))?
    }
}

fn copy_tables(from: &ReadTransaction, to: &WriteTransaction) -> Result<(), redb::Error> {
    copy_table(from, to, META)?;
    copy_table(from, to, SEGMENTS)?;
    copy_table(from, to, SUMMARIES)?;
    copy_table(from, to, CHECKPOINTS)?;
    copy_table(from, to, EXPIRED)?;
    copy_table(from, to, EXPIRED_BY_HOUR)?;
    // Their keys are in the copy, too.
    copy_table(from, to, DAYS_LET_GO)
}

fn copy_table<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    to: &WriteTransaction,
    definition: TableDefinition<'_, K, V>,
) -> Result<(), redb::Error> {
    let table = match from.open_table(definition) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(()),
        table => table?,
    };
    let mut copy = to.open_table(definition)?;
    for row in table.iter()? {
        let (key, value) = row?;
        copy.insert(key.value(), value.value())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::sealed;
    use super::*;
    use crate::retention::{Expired, ExpiredBy};

    #[test]
    fn a_copy_says_what_the_catalog_said_then() {
        let dir = tempfile::tempdir().unwrap();
        let (path, copy) = (dir.path().join("catalog.redb"), dir.path().join("copy.redb"));
        let catalog = Catalog::open(&path).unwrap();
        catalog.add(&[sealed(1), sealed(2), sealed(3)]).unwrap();
        let expired = Expired::of(&sealed(1).row, ExpiredBy::Age);
        catalog.begin_expiring(sealed(1).id, expired, &[]).unwrap();
        catalog.copy_to(&copy).unwrap();
        catalog.add(&[sealed(4)]).unwrap();

        let copy = Catalog::open(&copy).unwrap();
        let rows = |catalog: &Catalog| catalog.segments().unwrap().rows.clone();
        let expected = [sealed(2), sealed(3)].map(|it| (it.id, it.row));
        assert_eq!(rows(&copy), expected.into());
        let summaries = copy.ask_summaries(&[sealed(2).id, sealed(4).id], |_| true).unwrap();
        assert_eq!(summaries, [Some(true), None]);
        assert_eq!(copy.checkpoints().unwrap(), catalog.checkpoints().unwrap());
        assert_eq!(copy.expired().unwrap(), [expired]);
        assert_eq!(copy.last_expired().unwrap(), Some(1));
        assert_eq!(copy.days_let_go().unwrap(), catalog.days_let_go().unwrap());
        assert_eq!(copy.days_let_go().unwrap().len(), 1);
        assert_eq!(copy.expiring().unwrap(), [], "its files are not copied");
    }

    #[test]
    fn nothing_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.redb");
        let catalog = Catalog::open(&path).unwrap();
        assert!(matches!(catalog.copy_to(&path), Err(CatalogError::File(_))));
    }
}
