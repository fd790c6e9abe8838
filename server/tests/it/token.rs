//! `tapstone token`

use serde_json::Value;

use crate::run;

#[test]
fn a_token_is_shown_once_and_only_its_hash_goes_to_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, error) =
        run(dir.path(), &["token", "alice", "--role", "packet-retrieval", "--role", "operator"]);
    assert_eq!(code, 0, "{error}");
    let lines: Vec<&str> = out.trim_start().lines().collect();
    assert_eq!(lines[..2], ["[[identity]]", "name = \"alice\""]);
    assert!(lines[2].starts_with("token = \"sha256:"), "{out}");
    assert_eq!(lines[3..], ["roles = [\"packet-retrieval\", \"operator\"]"]);
    assert!(!out.contains("tapstone_"), "{out}");
    assert_eq!(error.matches("tapstone_").count(), 1, "{error}");
    let token = error.lines().last().unwrap();
    assert_eq!((token.len(), &token[..9]), (52, "tapstone_"));

    let (_, out, error) = run(dir.path(), &["token", "--json", "bob"]);
    let line: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&line["name"], &line["roles"][0]), (&"bob".into(), &"metadata-search".into()));
    assert!(line["hash"].as_str().unwrap().starts_with("sha256:"), "{out}");
    assert!(line["token"] != *token && error.is_empty(), "{out}{error}");
}

#[test]
fn a_token_for_nobody_or_for_nothing_is_bad_usage() {
    let dir = tempfile::tempdir().unwrap();
    for words in [
        &["token"][..],
        &["token", "a b"],
        &["token", ""],
        &["token", "alice", "--role", "everything"],
    ] {
        let (code, out, error) = run(dir.path(), words);
        assert_eq!((code, out.as_str()), (2, ""), "{words:?}: {error}");
    }
}
