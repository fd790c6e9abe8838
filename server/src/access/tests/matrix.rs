//! Every role with every method and every credential.

use super::super::{Kind, Policy, Role, Settings, Token};
use super::*;

/// One line a role, one mark a method in the order of [`METHODS`].
///
/// Query Count Histogram Flows Info State Import Flush Seal Check Cleanup Scrub | AddHold RemoveHold
/// ListHolds AcceptHolds | Report Backup | Health Reflection | two that nobody knows
const PERMITTED: [(&str, &str); 5] = [
    ("metadata-search", ".xxxxx...... .... .. xx .."),
    ("packet-retrieval", "xxxxxx...... .... .. xx .."),
    ("operator", "....xxxxxxxx ..x. .x xx .."),
    ("custodian", "............ xxxx .. xx .."),
    ("auditor", "....xx...... ..x. x. xx .."),
];
const EVERYTHING: &str = "xxxxxxxxxxxx xxxx xx xx ..";
const NOTHING: &str = "............ .... .. x. ..";

/// How somebody comes along, and whether that makes them the identity that is asked about.
struct Credential {
    what: &'static str,
    peer: Peer,
    bearer: Option<String>,
    as_whom: As,
}

#[derive(Clone, Copy, PartialEq)]
enum As {
    TheIdentity,
    TheOwner,
    Nobody,
}

fn credentials(right: &Token, other: &Token) -> Vec<Credential> {
    let some = |token: &Token| Some(token.text().to_owned());
    let unknown = || some(&Token::random().unwrap());
    let own = || tls(Some(certificate("member@example.com")));
    let strange = || tls(Some(certificate("mallory@example.com")));
    let others = || tls(Some(certificate("other@example.com")));
    let expired = || {
        let expires = Timestamp::from_secs_nanos(1_794_999_999, 0);
        tls(Some(ClientCertificate { expires, ..certificate("member@example.com") }))
    };
    let called_so = || {
        tls(Some(ClientCertificate {
            common_name: Some("member@example.com".to_owned()),
            ..certificate("mallory@example.com")
        }))
    };
    use As::{Nobody, TheIdentity, TheOwner};
    [
        ("no credential, TCP", tcp(), None, Nobody),
        ("no credential, TLS", tls(None), None, Nobody),
        ("unknown token, TCP", tcp(), unknown(), Nobody),
        ("unknown token, TLS", tls(None), unknown(), Nobody),
        ("no token at all", tcp(), Some("Basic bWVtYmVyOg==".to_owned()), Nobody),
        ("an empty token", tcp(), Some(String::new()), Nobody),
        ("the hash as token", tcp(), Some(right.hash().to_string()), Nobody),
        ("right token, TCP", tcp(), some(right), TheIdentity),
        ("right token, TLS", tls(None), some(right), TheIdentity),
        ("right token, foreign uid", unix(4444), some(right), TheIdentity),
        ("right token, own uid", unix(OWN_UID), some(right), TheIdentity),
        ("unknown token, own uid", unix(OWN_UID), unknown(), Nobody),
        ("strange certificate", strange(), None, Nobody),
        ("common name beside other names", called_so(), None, Nobody),
        ("expired certificate", expired(), None, Nobody),
        ("expired certificate, right token", expired(), some(right), Nobody),
        ("right certificate", own(), None, TheIdentity),
        ("right certificate, right token", own(), some(right), TheIdentity),
        ("right certificate, unknown token", own(), unknown(), Nobody),
        ("right certificate, other's token", own(), some(other), Nobody),
        ("other's certificate, right token", others(), some(right), Nobody),
        ("strange certificate, right token", strange(), some(right), TheIdentity),
        ("right uid", unix(1001), None, TheIdentity),
        ("foreign uid", unix(4444), None, Nobody),
        ("server's own uid", unix(OWN_UID), None, TheOwner),
        ("root", unix(0), None, TheOwner),
    ]
    .map(|(what, peer, bearer, as_whom)| Credential { what, peer, bearer, as_whom })
    .into()
}

fn cells_of_role(role: &str, marks: &str) -> usize {
    let (right, other) = (Token::random().unwrap(), Token::random().unwrap());
    let identity = vec![
        identity("other", 2002, &Role::ALL.map(Role::name), &other),
        identity("member", 1001, &[role], &right),
    ];
    let policy = Policy::new(&Settings { identity }, OWN_UID, &accounts()).unwrap();
    let mut cells = 0;
    for credential in credentials(&right, &other) {
        let marks = match credential.as_whom {
            As::TheIdentity => marks,
            As::TheOwner => EVERYTHING,
            As::Nobody => NOTHING,
        };
        let marks: Vec<bool> =
            marks.chars().filter(|&mark| mark != ' ').map(|mark| mark == 'x').collect();
        assert_eq!(marks.len(), METHODS.len());
        for (method, permitted) in METHODS.into_iter().zip(marks) {
            let cell = format!("{role}, {method}, {}", credential.what);
            decide_cell(&policy, &credential, method, permitted, &cell);
            cells += 1;
        }
    }
    cells
}

fn decide_cell(
    policy: &Policy,
    credential: &Credential,
    method: &str,
    permitted: bool,
    cell: &str,
) {
    let decision = policy.decide(&credential.peer, credential.bearer.as_deref(), method, now());
    match decision {
        Ok(grant) => {
            assert!(permitted, "{cell}: leaked to {}", grant.identity);
            if method.starts_with("/grpc.health") {
                assert_eq!(&*grant.identity, "(anyone)", "{cell}");
                assert!(grant.scope.clamp(None, None).is_err(), "{cell}");
            } else if credential.as_whom == As::TheIdentity {
                assert_eq!(&*grant.identity, "member", "{cell}");
            } else {
                assert!(grant.identity.starts_with("uid:"), "{cell}");
            }
        }
        Err(denied) => {
            assert!(!permitted, "{cell}: refused: {denied}");
            let known = credential.as_whom != As::Nobody;
            let kind = if known { Kind::PermissionDenied } else { Kind::Unauthenticated };
            assert_eq!((denied.kind, denied.identity.is_some()), (kind, known), "{cell}");
            assert!(!denied.audit.is_empty(), "{cell}");
            // The caller is told of no identity, and nobody of any token.
            assert!(!denied.message.contains("member"), "{cell}: {denied}");
            if let Some(bearer) = credential.bearer.as_deref().filter(|bearer| !bearer.is_empty()) {
                assert!(!format!("{denied:?}").contains(bearer), "{cell}: {denied:?}");
            }
        }
    }
}

#[test]
fn every_role_method_and_credential_is_decided_as_the_table_says() {
    assert_eq!(PERMITTED.map(|(role, _)| role), Role::ALL.map(Role::name));
    let cells: usize = PERMITTED.iter().map(|(role, marks)| cells_of_role(role, marks)).sum();
    println!("{cells} cells, 0 leaks");
    assert_eq!(cells, 5 * METHODS.len() * 26);
}

#[test]
fn without_any_identity_only_the_owner_and_root_get_in_and_only_through_the_unix_socket() {
    let policy = policy("");
    assert!(!policy.has_tokens());
    let query = METHODS[0];
    for uid in [OWN_UID, 0] {
        let grant = policy.decide(&unix(uid), None, query, now()).unwrap();
        assert_eq!(*grant.identity, format!("uid:{uid}"));
        assert!(grant.scope.is_everything());
    }
    let denied = policy.decide(&unix(1001), None, query, now()).unwrap_err();
    assert!(denied.message.contains("uid 1001"), "{denied}");
    let denied = policy.decide(&tcp(), None, query, now()).unwrap_err();
    assert!(denied.message.contains("tapstone token"), "{denied}");
    assert!(denied.message.contains("Unix socket"), "{denied}");
}

#[test]
fn an_identity_for_root_says_what_root_may_do() {
    let policy = policy("[[identity]]\nname = \"admin\"\nuser = \"root\"\nroles = [\"operator\"]");
    assert!(policy.decide(&unix(0), None, METHODS[0], now()).is_err());
    let grant = policy.decide(&unix(0), None, METHODS[6], now()).unwrap();
    assert_eq!(&*grant.identity, "admin");
    assert!(policy.decide(&unix(OWN_UID), None, METHODS[0], now()).is_ok());
}

#[test]
fn a_strangers_method_is_cut_and_escaped_before_it_is_written_down() {
    let policy = policy("");
    let method = format!("/\u{1b}[2J\n{}", "x".repeat(10_000));
    let denied = policy.decide(&unix(0), None, &method, now()).unwrap_err();
    for text in [&denied.message, &denied.audit] {
        assert!(text.len() < 400 && !text.contains('\n') && !text.contains('\u{1b}'), "{text}");
    }
}
