//! What can be configured wrongly, and what is said of it.

use super::*;

fn mistakes(toml: &str) -> Vec<String> {
    let mistakes = Policy::new(&settings(toml), OWN_UID, &accounts()).unwrap_err();
    mistakes.iter().map(ToString::to_string).collect()
}

#[test]
fn every_field_is_read() {
    let hash = Token::random().unwrap().hash();
    let policy = policy(&format!(
        r#"
        [[identity]]
        name = "alice"
        certificate = "alice@example.com"
        token = "{hash}"
        user = "alice"
        roles = ["metadata-search", "packet-retrieval"]
        nets = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.1"]
        last = "30d"
        since = "2026-11-01T00:00:00Z"
        until = "2027-01-01T00:00:00+01:00"
        [[identity]]
        name = "root"
        uid = 0
        roles = ["operator"]
        "#
    ));
    assert!(policy.has_tokens());
    let grant = policy.decide(&unix(1001), None, METHODS[0], now()).unwrap();
    assert_eq!(&*grant.identity, "alice");
    assert_eq!(
        grant.scope.to_string(),
        "packets to or from 10.0.0.0/8, 2001:db8::/32, 192.0.2.1/32, at \
         2026-11-01T00:00:00.000000000Z or later, before 2026-12-31T23:00:00.000000000Z"
    );
}

#[test]
fn every_mistake_is_told_at_once_with_whose_it_is_and_what_to_do() {
    let token = Token::random().unwrap();
    let told = mistakes(&format!(
        r#"
        [[identity]]
        name = "a b"
        [[identity]]
        name = "carol"
        certificate = "sha256:12"
        token = "{}"
        user = "nobody-here"
        roles = ["analyst", "operator", "operator"]
        nets = ["10.1.0.0/8", "ten"]
        last = "2mo"
        since = "2h ago"
        until = "2026-11-01"
        [[identity]]
        name = "dave"
        certificate = "*.example.com"
        token = "swordfish"
        user = "root"
        uid = 0
        roles = ["custodian"]
        last = "1d"
        "#,
        token.text()
    ));
    let expected = [
        "identity number 1: name: it can be 64 letters, digits",
        "identity number 1: certificate: nothing says how they are recognised; add certificate",
        "identity number 1: roles: there is none; give one or more of metadata-search,",
        "identity carol: roles: 'analyst' is not a role; the roles are metadata-search,",
        "identity carol: roles: 'operator' is there twice",
        "identity carol: certificate: 'sha256:12' is not a fingerprint; write the 64 digits",
        "identity carol: token: this is a token, not its hash",
        "identity carol: user: 'nobody-here' is not in /etc/passwd; write uid = N, with what",
        "identity carol: nets: '10.1.0.0/8' is not a net; write 10.0.0.0/8",
        "identity carol: nets: 'ten' is not a net; write it like",
        "identity carol: last: '2mo' is not a length of time; write it in weeks, days",
        "identity carol: since: '2h ago' is not an instant; write it like",
        "identity carol: until: '2026-11-01' is not an instant",
        "identity dave: certificate: '*.example.com' is not a name",
        "identity dave: token: it is not sha256: and 64 hexadecimal digits; make one with tapstone",
        "identity dave: user: there is a uid too; leave one of them out",
        "identity dave: roles: none of them finds packets, so there is nothing to limit",
    ];
    for start in expected {
        assert_eq!(
            told.iter().filter(|told| told.starts_with(start)).count(),
            1,
            "{start}\n{told:#?}"
        );
    }
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    assert!(told.iter().all(|told| !told.contains(token.text())), "{told:#?}");
}

#[test]
fn nobody_can_be_recognised_as_two() {
    let hash = Token::random().unwrap().hash();
    let one = |uid: &str| {
        format!(
            "[[identity]]\nname = \"erin\"\ncertificate = \"Erin\"\ntoken = \"{hash}\"\n{uid}\n\
             roles = [\"operator\"]\n"
        )
    };
    let told = mistakes(&format!("{}{}", one("uid = 1001"), one("user = \"alice\"")));
    let fields: Vec<&str> = told.iter().filter_map(|told| told.split(": ").nth(1)).collect();
    assert_eq!(fields, ["name", "certificate", "token", "uid"], "{told:#?}");
}

#[test]
fn scopes_that_hold_nothing_are_mistakes() {
    let with = |lines: &str| {
        format!("[[identity]]\nname = \"x\"\nuid = 5\nroles = [\"metadata-search\"]\n{lines}")
    };
    let told =
        mistakes(&with("since = \"2026-11-02T00:00:00Z\"\nuntil = \"2026-11-01T00:00:00Z\""));
    assert!(told[0].contains("exchange since and until"), "{told:#?}");
    for last in ["0d", "-3d", "", "soon", "1y"] {
        let told = mistakes(&with(&format!("last = \"{last}\"")));
        assert!(told[0].contains("last"), "{told:#?}");
    }
    let nets = vec!["\"10.0.0.0/8\""; 101].join(",");
    let told = mistakes(&with(&format!("nets = [{nets}]")));
    assert!(told[0].contains("more than 100"), "{told:#?}");
}

#[test]
fn unknown_keys_are_refused() {
    for toml in ["[[identity]]\nname = \"a\"\nrole = [\"operator\"]", "identities = []"] {
        assert!(toml::from_str::<Settings>(toml).is_err(), "{toml}");
    }
}

#[test]
fn settings_are_written_as_they_were_read() {
    let toml = "[[identity]]\nname = \"alice\"\nuid = 7\nroles = [\"auditor\"]\n";
    assert_eq!(toml::to_string(&settings(toml)).unwrap(), toml);
}
