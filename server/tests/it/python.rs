//! The Python example (client/examples/python), as its README says to run it. Its packages come from
//! where pip gets them; without them this is skipped with a loud line.

use std::fs;
use std::process::{Command, Output};

use crate::run;
use crate::served::Served;
use crate::serving::stored;

/// What the example wrote is `out.pcapng` in the folder.
fn example(folder: &std::path::Path, words: &[&str]) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/python-example");
    Command::new(script).current_dir(folder).args(words).output().unwrap()
}

#[test]
fn the_python_example_saves_what_the_command_line_does() {
    let dir = stored(1 << 20);
    let served = Served::start(&dir.path().join("s"));
    let server = format!("unix:{}", dir.path().join("s/socket").display());
    let filter = ["udp", "port", "53"];
    let words = ["--server", &server, "-w", "out.pcapng"];
    let saved = example(dir.path(), &[&words[..], &filter].concat());
    let said = String::from_utf8_lossy(&saved.stderr).into_owned();
    if saved.status.code() == Some(77) {
        eprintln!("SKIPPED: {said}");
        return;
    }
    assert_eq!(saved.status.code(), Some(0), "{said}");
    let (code, _, error) =
        run(dir.path(), &[&["query", "--store", "s", "-w", "ours.pcapng"], &filter[..]].concat());
    assert_eq!(code, 0, "{error}");
    let read = |name| fs::read(dir.path().join(name)).unwrap();
    assert!(read("ours.pcapng").len() > 1000);
    assert!(read("out.pcapng") == read("ours.pcapng"));

    let bad = example(dir.path(), &[&words[..], &["no such filter"]].concat());
    assert_eq!(bad.status.code(), Some(2), "{}", String::from_utf8_lossy(&bad.stderr));
    drop(served);
    let gone = example(dir.path(), &[&words[..], &["udp"]].concat());
    assert_eq!(gone.status.code(), Some(4), "{}", String::from_utf8_lossy(&gone.stderr));
}
