//! Names of certificates.

use rcgen::{CertificateParams, DnType, KeyPair, SanType};

use super::*;

fn issue(common_names: &[&str], names: Vec<SanType>) -> ClientCertificate {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for name in common_names {
        params.distinguished_name.push(DnType::CommonName, *name);
    }
    params.subject_alt_names = names;
    params.not_after = rcgen::date_time_ymd(2030, 1, 1);
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let parsed = ClientCertificate::from_der(certificate.der()).unwrap();
    assert_eq!(parsed.fingerprint, Digest::of(certificate.der()));
    parsed
}

fn names() -> Vec<SanType> {
    vec![
        SanType::DnsName("Probe.example.com".try_into().unwrap()),
        SanType::Rfc822Name("alice@example.com".try_into().unwrap()),
        SanType::URI("spiffe://example.com/analyst".try_into().unwrap()),
        SanType::IpAddress([192, 0, 2, 7].into()),
    ]
}

#[test]
fn a_certificate_is_called_by_its_alternative_names() {
    let certificate = issue(&["bob"], names());
    assert_eq!(certificate.common_name.as_deref(), Some("bob"));
    assert_eq!(certificate.expires, Timestamp::from_secs_nanos(1_893_456_000, 0));
    for name in ["probe.EXAMPLE.com", "alice@example.com", "spiffe://example.com/analyst"] {
        assert!(certificate.is_called(name), "{name}");
    }
    for name in ["bob", "example.com", "Alice@example.com", "192.0.2.7", "", "alice@example.com "] {
        assert!(!certificate.is_called(name), "{name}");
    }
    let shown = certificate.to_string();
    assert!(shown.starts_with("Probe.example.com, alice@example.com, spiffe:"), "{shown}");
}

#[test]
fn the_common_name_counts_where_there_is_no_other() {
    assert!(issue(&["bob"], Vec::new()).is_called("bob"));
    assert!(!issue(&["bob"], Vec::new()).is_called("Bob"));
    assert!(!issue(&[], Vec::new()).is_called(""));
}

#[test]
fn what_a_stranger_writes_into_a_certificate_is_shown_escaped_and_cut() {
    let shown = issue(&[&format!("a\n\u{1b}{}", "b".repeat(1000))], Vec::new()).to_string();
    assert!(shown.len() < 200 && !shown.contains('\n') && !shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn broken_certificates_are_refused() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    let der = certificate.der();
    for cut in 0..der.len() {
        assert!(ClientCertificate::from_der(&der[..cut]).is_err(), "{cut}");
    }
    let longer = [der, &[0][..]].concat();
    assert!(ClientCertificate::from_der(&longer).is_err());
}

#[test]
fn a_certificate_that_two_identities_could_own_is_nobodys() {
    let certificate = issue(&[], names());
    let fingerprint = certificate.fingerprint;
    let policy = policy(&format!(
        "[[identity]]\nname = \"one\"\ncertificate = \"alice@example.com\"\nroles = [\"operator\"]\n\
         [[identity]]\nname = \"two\"\ncertificate = \"{fingerprint}\"\nroles = [\"operator\"]\n"
    ));
    let peer = tls(Some(certificate));
    let denied = policy.decide(&peer, None, METHODS[5], now()).unwrap_err();
    assert!(denied.message.contains("more than one"), "{denied}");
    assert!(!denied.message.contains("two"), "{denied}");
    assert!(denied.audit.contains("one and two"), "{}", denied.audit);
}
