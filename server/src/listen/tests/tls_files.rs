//! Files of TLS, and what is said of bad ones.

use std::fs;

use super::pki::{Authority, Files};
use super::*;
use crate::listen::{ClientCertificates, Tls};

fn refusal(files: &Files) -> String {
    Tls::load(&files.settings(), false).unwrap_err().to_string()
}

#[test]
fn a_bad_file_is_named_with_what_is_wrong_with_it() {
    let authority = Authority::new("A");
    let server = authority.server();
    let files = Files::new(&server);
    let certificate = fs::read(files.path("server.pem")).unwrap();
    let key = fs::read(files.path("server.key")).unwrap();
    assert!(Tls::load(&files.settings(), false).is_ok());

    let broken = String::from_utf8(certificate.clone()).unwrap().replace("-----END", "-----AND");
    for (name, content, said) in [
        ("server.pem", &b""[..], "certificate "),
        ("server.pem", b"", "it is empty"),
        ("server.pem", &key, "are the files exchanged?"),
        ("server.pem", b"hello", "there is no certificate in it"),
        ("server.pem", broken.as_bytes(), "not sound PEM"),
        ("server.pem", &[0; (1 << 20) + 1], "longer than"),
        ("server.key", b"", "it is empty"),
        ("server.key", &certificate, "are the files exchanged?"),
        ("server.key", b"-----BEGIN ENCRYPTED PRIVATE KEY-----", "decrypt it"),
        ("server.key", b"hello", "there is no private key in it"),
        ("ca.pem", b"", "it is empty"),
        ("ca.pem", &key, "are the files exchanged?"),
    ] {
        fs::write(files.path("server.pem"), &certificate).unwrap();
        fs::write(files.path("server.key"), &key).unwrap();
        fs::write(files.path("ca.pem"), &certificate).unwrap();
        fs::write(files.path(name), content).unwrap();
        let told = refusal(&files);
        assert!(told.contains(said) && told.contains(name), "{name}: {told}");
    }
    fs::remove_file(files.path("ca.pem")).unwrap();
    fs::remove_file(files.path("server.key")).unwrap();
    assert!(refusal(&files).contains("No such file"), "{}", refusal(&files));
}

#[test]
fn a_key_that_does_not_fit_is_told() {
    let authority = Authority::new("A");
    let files = Files::new(&authority.server());
    let key = fs::read(files.path("server.key")).unwrap();
    files.put_server(&authority.server());
    fs::write(files.path("server.key"), key).unwrap();
    let told = Tls::load(&files.settings(), false).unwrap_err();
    assert!(matches!(told, TlsError::KeyDoesNotFit { .. }), "{told}");
}

#[test]
fn demanding_certificates_without_an_authority_is_a_mistake() {
    let files = Files::new(&Authority::new("A").server());
    let required = Some(ClientCertificates::Required);
    let settings = TlsSettings { client_certificates: required, ..files.settings() };
    assert!(matches!(Tls::load(&settings, false), Err(TlsError::NoAuthority)));
}

#[test]
fn settings_are_read_from_toml() {
    let settings: ListenSettings = toml::from_str(
        "addresses = [\"127.0.0.1:7373\", \"[::1]:7373\"]\nsocket = \"/run/t.sock\"\n\
         socket_mode = 0o660\n[tls]\ncertificate = \"c\"\nkey = \"k\"\nclient_ca = \"a\"\n\
         client_certificates = \"optional\"\n",
    )
    .unwrap();
    assert_eq!((settings.addresses.len(), settings.socket_mode), (2, Some(0o660)));
    let tls = settings.tls.unwrap();
    assert_eq!(tls.client_certificates, Some(ClientCertificates::Optional));
    assert!(toml::from_str::<ListenSettings>("adresses = []").is_err());
}
