//! The decision.

use std::sync::Arc;

use tapstone::Timestamp;

use super::identity::Identity;
use super::{
    Accounts, ClientCertificate, Denied, Method, Mistake, Peer, Role, Scope, Settings, check, token,
};

/// What those are called who only asked whether the server is well. No identity can have this name.
const ANYONE: &str = "(anyone)";

/// Who may do what. Made anew when the configuration is.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    identities: Vec<Identity>,
    own_uid: u32,
}

/// A call that is permitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Who is calling, for the audit log: an identity's name, `uid:N` for the server's own user and
    /// root, or `(anyone)`.
    pub(crate) identity: Arc<str>,
    /// What they may see; to be put upon every search ([`Scope::within`], [`Scope::clamp`]).
    pub(crate) scope: Scope,
}

impl Policy {
    /// Checks what was configured; gives every mistake.
    ///
    /// `own_uid` is the user that the server runs as. It and root may do everything through the
    /// Unix socket, unless an identity is configured for them: they can read the store's keys, so
    /// refusing them protects nothing, and nobody is locked out by a first `[[identity]]`.
    pub(crate) fn new(
        settings: &Settings,
        own_uid: u32,
        accounts: &Accounts,
    ) -> Result<Policy, Vec<Mistake>> {
        let identities = check::check(&settings.identity, accounts)?;
        Ok(Policy { identities, own_uid })
    }

    /// Whether some identity has a token: then TLS cannot insist on client certificates.
    pub(crate) fn has_tokens(&self) -> bool {
        self.identities.iter().any(|identity| identity.token.is_some())
    }

    /// Decides one call. `bearer` is what the call's `authorization` header carries
    /// ([`bearer`](super::bearer)), `method` its path, as in `/tapstone.v1.Tapstone/Query`.
    pub(crate) fn decide(
        &self,
        peer: &Peer,
        bearer: Option<&str>,
        method: &str,
        now: Timestamp,
    ) -> Result<Grant, Denied> {
        let known = Method::of(method);
        if known == Some(Method::Health) {
            return Ok(Grant { identity: ANYONE.into(), scope: Scope::nothing() });
        }
        let caller = self.recognise(peer, bearer, now)?;
        let Some(known) = known else {
            return Err(Denied::unknown_method(peer, &caller, method));
        };
        if !caller.roles().any(|role| role.permits(known)) {
            return Err(Denied::missing_role(peer, &caller, known, method));
        }
        Ok(Grant { identity: caller.name(), scope: caller.scope(now) })
    }

    /// Who is calling. A token says so whatever the connection proves, except that it is refused
    /// behind a certificate of somebody else: it was taken from its owner.
    fn recognise<'a>(
        &'a self,
        peer: &Peer,
        bearer: Option<&str>,
        now: Timestamp,
    ) -> Result<Caller<'a>, Denied> {
        let connected = self.by_connection(peer, now)?;
        let Some(bearer) = bearer else {
            return connected.ok_or_else(|| Denied::stranger(peer));
        };
        let owner = self.by_token(bearer).ok_or_else(|| Denied::unknown_token(peer, bearer))?;
        match (peer, connected) {
            (Peer::Tls { .. }, Some(Caller::Configured(other))) if other.name != owner.name => {
                Err(Denied::two_callers(peer, &owner.name, &other.name))
            }
            _ => Ok(Caller::Configured(owner)),
        }
    }

    fn by_connection(&self, peer: &Peer, now: Timestamp) -> Result<Option<Caller<'_>>, Denied> {
        match peer {
            Peer::Unix { uid, .. } => Ok(self.by_uid(*uid)),
            Peer::Tcp { .. } | Peer::Tls { certificate: None, .. } => Ok(None),
            Peer::Tls { certificate: Some(certificate), .. } => {
                if certificate.expires < now {
                    return Err(Denied::expired_certificate(peer));
                }
                self.by_certificate(peer, certificate)
            }
        }
    }

    fn by_uid(&self, uid: u32) -> Option<Caller<'_>> {
        let configured = self.identities.iter().find(|identity| identity.uid == Some(uid));
        let owner = (uid == self.own_uid || uid == 0).then_some(Caller::Owner { uid });
        configured.map(Caller::Configured).or(owner)
    }

    fn by_certificate(
        &self,
        peer: &Peer,
        certificate: &ClientCertificate,
    ) -> Result<Option<Caller<'_>>, Denied> {
        let fits = |identity: &&Identity| {
            identity.certificate.as_ref().is_some_and(|test| test.fits(certificate))
        };
        let fitting: Vec<&Identity> = self.identities.iter().filter(fits).collect();
        match fitting[..] {
            [] => Ok(None),
            [identity] => Ok(Some(Caller::Configured(identity))),
            _ => {
                let names: Vec<Arc<str>> =
                    fitting.iter().map(|identity| Arc::clone(&identity.name)).collect();
                Err(Denied::several_owners(peer, &names))
            }
        }
    }

    /// Compares with every token, so that the time does not tell which one it was.
    fn by_token(&self, bearer: &str) -> Option<&Identity> {
        let shown = token::hash(bearer)?;
        self.identities.iter().fold(None, |found, identity| {
            let matches = identity.token.is_some_and(|token| token.matches(&shown));
            if matches { Some(identity) } else { found }
        })
    }
}

/// Who is calling.
pub(super) enum Caller<'a> {
    Configured(&'a Identity),
    /// The user that the server runs as, or root.
    Owner {
        uid: u32,
    },
}

impl Caller<'_> {
    pub(super) fn name(&self) -> Arc<str> {
        match self {
            Caller::Configured(identity) => Arc::clone(&identity.name),
            Caller::Owner { uid } => format!("uid:{uid}").into(),
        }
    }

    pub(super) fn roles(&self) -> impl Iterator<Item = Role> {
        match self {
            Caller::Configured(identity) => &identity.roles[..],
            Caller::Owner { .. } => &Role::ALL[..],
        }
        .iter()
        .copied()
    }

    fn scope(&self, now: Timestamp) -> Scope {
        match self {
            Caller::Configured(identity) => identity.limits.at(now),
            Caller::Owner { .. } => Scope::everything(),
        }
    }
}
