//! Refusals: what the caller is told, and what the audit log is told.

use std::fmt;
use std::sync::Arc;

use super::policy::Caller;
use super::{Method, Peer, Role};

/// Which kind of refusal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nobody knows who is calling.
    Unauthenticated,
    /// The caller is known, and may not.
    PermissionDenied,
}

/// A call that is refused. Displayed, it is what the caller is told: what to do, and nothing of
/// which identities there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    /// Which kind of refusal it is.
    pub(crate) kind: Kind,
    /// Who was refused, where that is known.
    pub(crate) identity: Option<Arc<str>>,
    /// What the caller is told.
    pub(crate) message: String,
    /// What the audit log is told. What strangers wrote in it is escaped and cut.
    pub(crate) audit: String,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Denied {}

impl Denied {
    fn unauthenticated(message: &str, audit: String) -> Denied {
        let kind = Kind::Unauthenticated;
        Denied { kind, identity: None, message: message.to_owned(), audit }
    }

    /// Nothing was shown, or nothing that the connection proves is known.
    pub(super) fn stranger(peer: &Peer) -> Denied {
        let message = match peer {
            Peer::Unix { uid, .. } => &format!(
                "uid {uid} may not use this server; run the command as the user that the server \
                 runs as, or send a token (whoever runs the server makes one with: tapstone token)"
            ),
            Peer::Tcp { .. } => {
                "who is calling is not known, and here only a token says so; whoever runs the \
                 server makes one with: tapstone token. On the server's own machine, its Unix \
                 socket needs none"
            }
            Peer::Tls { certificate: None, .. } => {
                "who is calling is not known; present a client certificate, or send a token \
                 (whoever runs the server makes one with: tapstone token)"
            }
            Peer::Tls { certificate: Some(_), .. } => {
                "the client certificate is valid, and not one that this server gives any rights \
                 to; ask whoever runs the server to add a name of it"
            }
        };
        Denied::unauthenticated(message, format!("{peer}: no known credential"))
    }

    pub(super) fn unknown_token(peer: &Peer, bearer: &str) -> Denied {
        // What is no token at all may be somebody's password: not even its hash is written down.
        let token = match super::token::hash(bearer) {
            Some(hash) => format!("unknown token {}", hash.brief()),
            None => "an authorization that is not a token".to_owned(),
        };
        Denied::unauthenticated(
            "the token is not known here; check that it was copied whole, or have whoever runs the \
             server make a new one with: tapstone token",
            format!("{peer}: {token}"),
        )
    }

    pub(super) fn expired_certificate(peer: &Peer) -> Denied {
        Denied::unauthenticated(
            "the client certificate expired while the connection was open; have it renewed, and \
             connect again",
            format!("{peer}: the certificate expired since the connection was made"),
        )
    }

    pub(super) fn several_owners(peer: &Peer, names: &[Arc<str>]) -> Denied {
        Denied::unauthenticated(
            "the client certificate could be more than one caller's; ask whoever runs the server \
             to tell them apart by fingerprint",
            format!("{peer}: the certificate fits {}; configure fingerprints", names.join(" and ")),
        )
    }

    pub(super) fn two_callers(peer: &Peer, token: &str, certificate: &str) -> Denied {
        Denied::unauthenticated(
            "the token and the client certificate do not belong together; send one of them, or \
             those of one caller",
            format!("{peer}: the token of {token} with the certificate of {certificate}"),
        )
    }

    pub(super) fn unknown_method(peer: &Peer, caller: &Caller<'_>, method: &str) -> Denied {
        let method = excerpt(method);
        Denied {
            kind: Kind::PermissionDenied,
            identity: Some(caller.name()),
            message: format!(
                "{method} is not a method that anyone may call; see whether client and server are \
                 of the same version"
            ),
            audit: format!("{peer}: {method} is in no role"),
        }
    }

    pub(super) fn missing_role(
        peer: &Peer,
        caller: &Caller<'_>,
        method: Method,
        path: &str,
    ) -> Denied {
        let enough: Vec<&str> =
            Role::ALL.into_iter().filter(|role| role.permits(method)).map(Role::name).collect();
        let (enough, held) = (enough.join(" or "), caller.roles().map(Role::name));
        Denied {
            kind: Kind::PermissionDenied,
            identity: Some(caller.name()),
            message: format!(
                "your roles do not include {path}; ask whoever runs the server for the role \
                 {enough}"
            ),
            audit: format!(
                "{peer}: {path} needs {enough}, and there is {}",
                held.collect::<Vec<_>>().join(", ")
            ),
        }
    }
}

/// A text from outside, fit for a log.
fn excerpt(text: &str) -> String {
    const LEN_MAX: usize = 100;
    let escaped: String = text.chars().take(LEN_MAX).flat_map(char::escape_default).collect();
    if text.chars().nth(LEN_MAX).is_some() { format!("{escaped}...") } else { escaped }
}
