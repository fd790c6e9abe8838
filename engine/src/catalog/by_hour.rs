//! What expired, hour by hour: so that a report can say it of a period (docs/format/catalog.md).

use redb::{ReadableTable, TableDefinition, WriteTransaction};

use super::{Catalog, CatalogError, to_json};
use crate::retention::Expired;

/// What expired within an hour since the epoch, by cause.
pub(super) const EXPIRED_BY_HOUR: TableDefinition<(u64, &str), &[u8]> =
    TableDefinition::new("expired_by_hour");
const HOUR_NANOS: u64 = 3_600_000_000_000;

/// The hour since the epoch that an instant lies in.
pub(crate) fn hour_of(unix_nanos: u64) -> u64 {
    unix_nanos / HOUR_NANOS
}

/// Adds what expires within an hour to what did before.
pub(super) fn account(
    transaction: &WriteTransaction,
    hour: u64,
    expired: Expired,
) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(EXPIRED_BY_HOUR)?;
    let key = (hour, expired.by.name());
    let before = table.get(key)?.map(|it| serde_json::from_slice::<Expired>(it.value()));
    // One that cannot be read is told by whoever reads it, and stays as it is.
    let all = match before {
        Some(Ok(before)) => before.and(expired),
        Some(Err(_)) => return Ok(()),
        None => expired,
    };
    table.insert(key, &to_json(&all)[..])?;
    Ok(())
}

impl Catalog {
    /// What expired within these hours since the epoch, in order.
    pub(crate) fn expired_within(
        &self,
        hours: std::ops::Range<u64>,
    ) -> Result<Vec<(u64, Expired)>, CatalogError> {
        let rows = self.read(|transaction| {
            let table = match transaction.open_table(EXPIRED_BY_HOUR) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            let rows = table.range((hours.start, "")..(hours.end, ""))?.map(|row| {
                let (key, value) = row?;
                Ok((key.value().0, value.value().to_vec()))
            });
            rows.collect::<Result<Vec<_>, redb::Error>>()
        })?;
        let parse = |(hour, value): (u64, Vec<u8>)| {
            Ok((hour, self.parse(&value, || format!("what expired in hour {hour}"))?))
        };
        rows.into_iter().map(parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use tapstone_packet::time::Timestamp;

    use super::*;
    use crate::retention::ExpiredBy;

    #[test]
    fn what_expired_is_told_for_each_hour_and_cause() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&dir.path().join("catalog.redb")).unwrap();
        let within = |hours| {
            let all = catalog.expired_within(hours).unwrap().into_iter();
            all.map(|(hour, it)| (hour, it.by, it.packets)).collect::<Vec<_>>()
        };
        assert_eq!(within(0..u64::MAX), [], "the table is not there yet");
        let expired = |by, packets| Expired {
            by,
            packets,
            packet_bytes: 10 * packets,
            segments: 1,
            first: Timestamp::EPOCH,
            last: Timestamp::from_secs_nanos(5, 0),
        };
        let account = |hour, expired| {
            catalog.write(|transaction| account(transaction, hour, expired)).unwrap();
        };
        account(7, expired(ExpiredBy::Size, 1));
        account(7, expired(ExpiredBy::Age, 2));
        account(7, expired(ExpiredBy::Age, 3));
        account(8, expired(ExpiredBy::Age, 4));
        account(9, expired(ExpiredBy::Age, 5));
        let expected = [(7, ExpiredBy::Age, 5), (7, ExpiredBy::Size, 1), (8, ExpiredBy::Age, 4)];
        assert_eq!(within(7..9), expected);
        assert_eq!(within(10..20), []);
        assert_eq!(hour_of(HOUR_NANOS * 8 - 1), 7);
    }
}
