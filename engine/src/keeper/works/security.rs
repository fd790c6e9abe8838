//! INIT: are there keys, and do they work?

use super::Site;

/// The key provider gives the master key again, and it is the one in use.
pub(super) fn kms_check(site: &Site) -> Result<(), String> {
    let inner = &site.store.inner;
    inner.keys.compare(&inner.layout.master_key()).map_err(|error| error.to_string())
}

/// Nobody else can read the master key, or put another in its place.
pub(super) fn creds_validation(site: &Site) -> Result<(), String> {
    let layout = &site.store.inner.layout;
    crate::keys::check_access(&layout.master_key(), layout.root())
        .map_err(|error| error.to_string())
}

/// What is sealed under a new segment key, wrapped by a new bucket key, wrapped by the master key,
/// opens again, and does not where a bit of it is another.
pub(super) fn encryption_init(site: &Site) -> Result<(), String> {
    site.store.inner.keys.try_out().map_err(str::to_owned)
}
