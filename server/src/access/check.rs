//! Checking what was configured: every mistake is told, with what to do about it.

use std::sync::Arc;
use std::time::Duration;

use jiff::SpanRelativeTo;
use tapstone::{Timestamp, parse_instant};

use super::identity::{CertificateTest, Identity, Limits};
use super::net::Net;
use super::{Accounts, Digest, IdentitySettings, Method, Role};

/// Nets of one identity: each makes every filter longer.
const NETS_MAX: usize = 100;
const NAME_LEN_MAX: usize = 64;
const TOKEN_REMEDY: &str = "make one with tapstone token, which prints the line to put here";

/// Something in an `[[identity]]` that cannot stay as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("identity {identity}: {field}: {problem}; {remedy}")]
pub(crate) struct Mistake {
    /// Whose: its name, or its place where it has none.
    pub(crate) identity: String,
    /// The key it is about.
    pub(crate) field: &'static str,
    /// What is wrong.
    pub(crate) problem: String,
    /// What to do.
    pub(crate) remedy: String,
}

/// Checks all identities, each by itself and against the others.
pub(super) fn check(
    settings: &[IdentitySettings],
    accounts: &Accounts,
) -> Result<Vec<Identity>, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let mut identities: Vec<Identity> = Vec::new();
    for (index, settings) in settings.iter().enumerate() {
        let mut report = Report { label: label(settings, index), mistakes: &mut mistakes };
        let identity = one(settings, accounts, &mut report);
        against_others(&identity, &identities, &mut report);
        identities.push(identity);
    }
    if mistakes.is_empty() { Ok(identities) } else { Err(mistakes) }
}

/// What is wrong with a name, if anything is.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "._@-".contains(c);
    if name.is_empty() {
        Err("there is none".to_owned())
    } else if name.len() > NAME_LEN_MAX || !name.chars().all(fine) {
        Err(format!("it can be {NAME_LEN_MAX} letters, digits, dots, _, @ and - at most"))
    } else {
        Ok(())
    }
}

fn label(settings: &IdentitySettings, index: usize) -> String {
    match check_name(&settings.name) {
        Ok(()) => settings.name.clone(),
        Err(_) => format!("number {}", index + 1),
    }
}

/// Where the mistakes of one identity go.
struct Report<'a> {
    label: String,
    mistakes: &'a mut Vec<Mistake>,
}

impl Report<'_> {
    fn add(&mut self, field: &'static str, problem: impl Into<String>, remedy: impl Into<String>) {
        let (problem, remedy) = (problem.into(), remedy.into());
        self.mistakes.push(Mistake { identity: self.label.clone(), field, problem, remedy });
    }
}

fn one(settings: &IdentitySettings, accounts: &Accounts, report: &mut Report<'_>) -> Identity {
    if let Err(problem) = check_name(&settings.name) {
        report.add("name", problem, "give a name that the audit log can call them by");
    }
    let credentials = [
        settings.certificate.is_some(),
        settings.token.is_some(),
        settings.user.is_some() || settings.uid.is_some(),
    ];
    if !credentials.contains(&true) {
        let remedy = "add certificate, token, user or uid";
        report.add("certificate", "nothing says how they are recognised", remedy);
    }
    let roles = roles(settings, report);
    Identity {
        name: Arc::from(settings.name.as_str()),
        certificate: certificate(settings, report),
        token: token(settings, report),
        uid: uid(settings, accounts, report),
        limits: limits(settings, &roles, report),
        roles,
    }
}

fn certificate(settings: &IdentitySettings, report: &mut Report<'_>) -> Option<CertificateTest> {
    let text = settings.certificate.as_deref()?;
    if text.starts_with("sha256:") {
        let digest = Digest::parse(text);
        if digest.is_none() {
            let remedy = "write the 64 digits that openssl x509 -noout -fingerprint -sha256 prints";
            report.add("certificate", format!("'{text}' is not a fingerprint"), remedy);
        }
        return digest.map(CertificateTest::Fingerprint);
    }
    if text.is_empty() || text.trim() != text || text.contains('*') {
        let remedy = "write one name of the certificate, whole: a host, a mail address, a URI, or \
                      the common name";
        report.add("certificate", format!("'{text}' is not a name"), remedy);
        return None;
    }
    Some(CertificateTest::Called(text.to_owned()))
}

fn token(settings: &IdentitySettings, report: &mut Report<'_>) -> Option<Digest> {
    let text = settings.token.as_deref()?;
    let digest = Digest::parse(text);
    if digest.is_none() {
        // It may be the token itself, which must not get into a log.
        let problem = if super::token::hash(text).is_some() {
            "this is a token, not its hash, and whoever reads the configuration can use it"
        } else {
            "it is not sha256: and 64 hexadecimal digits"
        };
        report.add("token", problem, TOKEN_REMEDY);
    }
    digest
}

fn uid(settings: &IdentitySettings, accounts: &Accounts, report: &mut Report<'_>) -> Option<u32> {
    let Some(user) = settings.user.as_deref() else { return settings.uid };
    if settings.uid.is_some() {
        report.add("user", "there is a uid too", "leave one of them out");
    }
    let uid = if user == "root" { Some(0) } else { accounts.uid(user) };
    if uid.is_none() {
        let remedy = format!("write uid = N, with what this prints: id -u {user}");
        report.add("user", format!("'{user}' is not in /etc/passwd"), remedy);
    }
    uid
}

fn roles(settings: &IdentitySettings, report: &mut Report<'_>) -> Vec<Role> {
    if settings.roles.is_empty() {
        report.add("roles", "there is none", format!("give one or more of {}", Role::names()));
    }
    let mut roles = Vec::new();
    for name in &settings.roles {
        match Role::parse(name) {
            Some(role) if roles.contains(&role) => {
                report.add("roles", format!("'{name}' is there twice"), "leave one out");
            }
            Some(role) => roles.push(role),
            None => {
                let remedy = format!("the roles are {}", Role::names());
                report.add("roles", format!("'{name}' is not a role"), remedy);
            }
        }
    }
    roles
}

fn limits(settings: &IdentitySettings, roles: &[Role], report: &mut Report<'_>) -> Limits {
    let limits = Limits {
        nets: nets(settings, report),
        last: settings.last.as_deref().and_then(|text| last(text, report)),
        since: settings.since.as_deref().and_then(|text| instant("since", text, report)),
        until: settings.until.as_deref().and_then(|text| instant("until", text, report)),
    };
    if let (Some(since), Some(until)) = (limits.since, limits.until)
        && since >= until
    {
        report.add("until", "it is not later than since", "exchange since and until");
    }
    let limited = limits != Limits::default();
    let searches = roles.iter().any(|role| role.permits(Method::Count));
    if limited && !searches && !roles.is_empty() {
        let remedy = "leave nets, last, since and until out, or add metadata-search or \
                      packet-retrieval";
        report.add("roles", "none of them finds packets, so there is nothing to limit", remedy);
    }
    limits
}

fn nets(settings: &IdentitySettings, report: &mut Report<'_>) -> Vec<Net> {
    if settings.nets.len() > NETS_MAX {
        let problem = format!("there are {}, more than {NETS_MAX}", settings.nets.len());
        report.add("nets", problem, "join neighbours into larger nets");
    }
    let mut nets = Vec::new();
    for text in &settings.nets {
        match Net::parse(text) {
            Ok(net) => nets.push(net),
            Err(remedy) => report.add("nets", format!("'{text}' is not a net"), remedy),
        }
    }
    nets
}

fn last(text: &str, report: &mut Report<'_>) -> Option<Duration> {
    let span = text.parse::<jiff::Span>().ok();
    // Months and years differ in length, so they have none without a date.
    let length = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let length = length.and_then(|length| Duration::try_from(length).ok());
    let length = length.filter(|length| !length.is_zero());
    if length.is_none() {
        let remedy = "write it in weeks, days, hours and minutes, like 30d or 12h";
        report.add("last", format!("'{text}' is not a length of time"), remedy);
    }
    length
}

fn instant(field: &'static str, text: &str, report: &mut Report<'_>) -> Option<Timestamp> {
    // Only what means the same on every day: neither "2h ago" nor a time without its offset.
    let absolute = text.parse::<jiff::Timestamp>().is_ok();
    let instant = parse_instant(text, Timestamp::EPOCH).ok().filter(|_| absolute);
    if instant.is_none() {
        let remedy = "write it like 2026-11-25T03:10:00Z or 2026-11-25T03:10:00+01:00";
        report.add(field, format!("'{text}' is not an instant"), remedy);
    }
    instant
}

fn against_others(identity: &Identity, others: &[Identity], report: &mut Report<'_>) {
    for other in others {
        let owner = format!("{} has it already", other.name);
        if !identity.name.is_empty() && identity.name == other.name {
            report.add("name", "there are two of that name", "join them, or rename one");
        }
        if let (Some(one), Some(other)) = (&identity.certificate, &other.certificate)
            && one.is_same(other)
        {
            report.add("certificate", &owner, "give each their own, or tell them by fingerprint");
        }
        if identity.token.is_some() && identity.token == other.token {
            report.add("token", &owner, TOKEN_REMEDY);
        }
        if identity.uid.is_some() && identity.uid == other.uid {
            report.add("uid", &owner, "join them, or leave it out of one");
        }
    }
}
