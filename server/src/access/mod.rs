//! Who may do what: a caller and a method in, a grant or a refusal out.
//!
//! [`Policy::new`] checks what was configured and says every mistake at once. [`Policy::decide`] is
//! asked for every call: it knows the caller from the connection ([`Peer`]) and from a token, and
//! gives what the caller may see ([`Grant`]) or why not ([`Denied`]). Nothing here reads a file, a
//! clock or a socket; only [`Token::random`] asks the system, for chance.
//!
//! docs/security.md says the same for those who configure it.

mod certificate;
mod check;
mod denied;
mod digest;
mod identity;
mod net;
mod peer;
mod policy;
mod role;
mod scope;
mod settings;
#[cfg(test)]
mod tests;
mod token;

pub(crate) use certificate::{CertificateError, ClientCertificate};
pub(crate) use check::{Mistake, check_name};
pub(crate) use denied::{Denied, Kind};
pub(crate) use digest::Digest;
pub(crate) use peer::Peer;
pub(crate) use policy::{Grant, Policy};
pub(crate) use role::{Method, Role};
pub(crate) use scope::{Scope, ScopeError};
pub(crate) use settings::{Accounts, IdentitySettings, Settings};
pub(crate) use token::{Token, TokenError, bearer};
