//! What the configuration says of identities, as it was written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The tables of the configuration that this module reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// One `[[identity]]` each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) identity: Vec<IdentitySettings>,
}

/// An `[[identity]]`: how someone is recognised, and what they may do. All fields are text, so that
/// every mistake can be told, not only the first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct IdentitySettings {
    /// What the audit log calls them.
    pub(crate) name: String,
    /// A name in their certificate, or `sha256:` and its fingerprint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<String>,
    /// `sha256:` and the hash of their token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
    /// The user whose processes they are, on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// The same by number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<u32>,
    /// What they are there for.
    pub(crate) roles: Vec<String>,
    /// Packets to or from these only; all when there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) nets: Vec<String>,
    /// Packets not older than that only, such as `30d`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<String>,
    /// Packets at this instant (RFC 3339) or later only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<String>,
    /// Packets before this instant (RFC 3339) only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<String>,
}

/// The users of this machine, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts(BTreeMap<String, u32>);

impl Accounts {
    /// Reads the content of `/etc/passwd`. Users that come from elsewhere (LDAP) are not in it; they
    /// are configured by `uid`.
    pub(crate) fn parse(passwd: &str) -> Accounts {
        let accounts = passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, _, uid) = (fields.next()?, fields.next()?, fields.next()?);
            Some((name.to_owned(), uid.parse().ok()?))
        });
        Accounts(accounts.collect())
    }

    /// The number of a user.
    pub(crate) fn uid(&self, name: &str) -> Option<u32> {
        self.0.get(name).copied()
    }
}
