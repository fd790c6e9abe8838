//! Who gets what, tried.

mod certificates;
mod matrix;
mod mistakes;
mod properties;
mod scopes;

use std::sync::Arc;

use tapstone::Timestamp;

use super::{
    Accounts, ClientCertificate, Digest, IdentitySettings, Peer, Policy, Scope, Settings, Token,
};

/// The user that the server of these tests runs as.
const OWN_UID: u32 = 990;

const METHODS: [&str; 22] = [
    "/tapstone.v1.Tapstone/Query",
    "/tapstone.v1.Tapstone/Count",
    "/tapstone.v1.Tapstone/Histogram",
    "/tapstone.v1.Tapstone/Flows",
    "/tapstone.v1.Tapstone/Info",
    "/tapstone.v1.Tapstone/State",
    "/tapstone.v1.Tapstone/Import",
    "/tapstone.v1.Admin/Flush",
    "/tapstone.v1.Admin/Seal",
    "/tapstone.v1.Admin/Check",
    "/tapstone.v1.Admin/Cleanup",
    "/tapstone.v1.Admin/Scrub",
    "/tapstone.v1.Admin/AddHold",
    "/tapstone.v1.Admin/RemoveHold",
    "/tapstone.v1.Admin/ListHolds",
    "/tapstone.v1.Admin/AcceptHolds",
    "/tapstone.v1.Admin/Report",
    "/tapstone.v1.Admin/Backup",
    "/grpc.health.v1.Health/Check",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/tapstone.v1.Admin/Shred",
    "/tapstone.v1.Tapstone/Query/",
];

fn now() -> Timestamp {
    Timestamp::from_secs_nanos(1_795_000_000, 0)
}

fn settings(toml: &str) -> Settings {
    toml::from_str(toml).unwrap()
}

fn policy(toml: &str) -> Policy {
    Policy::new(&settings(toml), OWN_UID, &accounts()).unwrap()
}

fn accounts() -> Accounts {
    Accounts::parse("root:x:0:0::/root:/bin/sh\nalice:x:1001:1001::/:/bin/sh\nbroken\n")
}

fn unix(uid: u32) -> Peer {
    Peer::Unix { uid, pid: Some(7) }
}

fn tcp() -> Peer {
    Peer::Tcp { address: ([127, 0, 0, 1], 50_000).into() }
}

fn tls(certificate: Option<ClientCertificate>) -> Peer {
    Peer::Tls { address: ([192, 0, 2, 1], 50_000).into(), certificate: certificate.map(Arc::new) }
}

/// A certificate with a mail address, and with a common name that must not count beside it.
fn certificate(email: &str) -> ClientCertificate {
    ClientCertificate {
        common_name: Some("root@example.com".to_owned()),
        dns: Vec::new(),
        emails: vec![email.to_owned()],
        uris: Vec::new(),
        fingerprint: Digest::of(email.as_bytes()),
        expires: Timestamp::from_secs_nanos(1_800_000_000, 0),
    }
}

/// The same identity by every credential, with some roles.
fn identity(name: &str, uid: u32, roles: &[&str], token: &Token) -> IdentitySettings {
    IdentitySettings {
        name: name.to_owned(),
        certificate: Some(format!("{name}@example.com")),
        token: Some(token.hash().to_string()),
        uid: Some(uid),
        roles: roles.iter().map(|&role| role.to_owned()).collect(),
        ..IdentitySettings::default()
    }
}
