//! Who can read what: a random key per segment, wrapped by the key of its day's bucket, wrapped
//! by the master key.
//!
//! ```text
//! master key   DIR/master.key                          from the key provider; here a 0600 file
//!  ├─ report key   DIR/report.key                      signs reports
//!  └─ bucket key   DIR/keys/<bucket id>.key            one per day; destroying it shreds the day
//!      └─ segment key   wrapped in the segment's header
//!          └─ file keys   HKDF(segment key, salt of the file): blocks, footer, split
//! ```
//!
//! A wrapped bucket key is kept in its own small file and nowhere else, so that destroying that
//! file destroys every copy.

mod bucket;
mod key_file;
mod seal;

pub(crate) use bucket::{BucketId, KeyRing, WrappedKey, check_access};
pub use key_file::KeyError;
pub(crate) use seal::{COMMITMENT_LEN, FileKey, SALT_LEN, Stream, TAG_LEN};

use tapstone_runtime::random_bytes;

/// A key of 256 bits. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) [u8; 32]);

impl Secret {
    pub(crate) fn random() -> Secret {
        Secret(random_bytes())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}
