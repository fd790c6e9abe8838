//! CRITICAL: what has come is made safe, and another process learns what it may go on from.

use std::time::Duration;

use tapstone_runtime::clock::{self, Stopwatch};

use super::Site;
use super::dump;
use crate::state::{Critical, FailoverPrep, State};

/// How long splits that are being made are waited for: an instance that is told to stop has about
/// two minutes.
const INDEXED_WITHIN: Duration = Duration::from_secs(30);
/// How often it is looked whether they are made.
const LOOK: Duration = Duration::from_millis(100);

/// Everything that has come is durable, and the log says how much that was. The transition to here
/// is in the ledger already.
pub(super) fn save_state(site: &Site) -> Result<(), String> {
    site.store.flush().map_err(|error| error.to_string())?;
    for counts in site.store.captures() {
        tracing::info!(
            "{}: {} packets came, {} are stored, {} lost",
            counts.interface,
            counts.received,
            counts.stored,
            counts.lost()
        );
    }
    Ok(())
}

/// Open segments are sealed and durable; keys that nobody needs are forgotten. Whoever needs one
/// again unwraps it again.
pub(super) fn secure_data(site: &Site) -> Result<(), String> {
    let sealed = site.store.seal_early();
    site.store.forget_keys();
    sealed.map_err(|error| error.to_string())
}

/// Whoever is in control is told: by the log here; the metrics and those who watch tell of the state
/// itself.
pub(super) fn notify_control(site: &Site) -> Result<(), String> {
    let report = site.store.inner.board.report();
    let (why, store) = (report.map(|it| it.why).unwrap_or_default(), site.store.id());
    tracing::error!(%store, "CRITICAL: what has come is made safe; {why}");
    Ok(())
}

/// Writes down what another process may start from.
pub(super) fn state_dump(site: &Site) -> Result<(), String> {
    dump::write(site)
}

/// What has come since is durable too.
pub(super) fn buffer_flush(site: &Site) -> Result<(), String> {
    site.store.flush().map_err(|error| error.to_string())
}

/// Waits for the splits that are being made, and writes down again what another may start from:
/// it names those that are not there.
pub(super) fn index_sync(site: &Site) -> Result<(), String> {
    const THIS: State = State::Critical(Critical::FailoverPrep(FailoverPrep::IndexSync));
    let (waited, unindexed) = (Stopwatch::start(), &site.store.inner.unindexed);
    let left = || unindexed.in_work().0 + unindexed.in_work().1;
    while left() > 0 && waited.elapsed() < INDEXED_WITHIN && site.wanted.has(THIS) {
        clock::wait(LOOK);
    }
    dump::write(site)?;
    match left() {
        0 => Ok(()),
        left => Err(format!(
            "{left} segments are not indexed after {INDEXED_WITHIN:?}: their packets are safe and \
             found by reading them whole; the state dump names them"
        )),
    }
}
