//! Reports: of a store, of the server that has it, and verified by whoever gets one.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::served::Served;
use crate::serving::stored;
use crate::{run, tapstone};

/// Whatever else runs here presses neither memory nor disk.
const SETTINGS: [&str; 4] =
    ["--set", "state.memory=97%,98%,99%,100%", "--set", "audit.archive_after=1s"];
const SINCE: [&str; 6] = ["--store", "s", "--since", "1h ago", "--until", "2100-01-01"];

fn report(folder: &Path, words: &[&str]) -> (i32, String, String) {
    run(folder, &[&["report"], &SINCE[..], words].concat())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn state(folder: &Path) -> Value {
    json(&run(folder, &["state", "--store", "s", "--history", "--json"]).1)
}

fn wait_for_normal(folder: &Path) -> Value {
    let began = Instant::now();
    loop {
        let state = state(folder);
        if state["state"].as_str().is_some_and(|it| it.starts_with("NORMAL")) {
            return state;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{state:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The row of a method that the server's own user asked for.
fn row<'a>(report: &'a Value, method: &str) -> &'a Value {
    let rows = report["read"]["requests"].as_array().unwrap();
    let mut rows = rows.iter().filter(|it| it["method"] == method);
    rows.next().unwrap_or_else(|| panic!("no {method} in {report:#}"))
}

#[test]
fn a_report_of_a_server_says_who_asked_for_what_and_who_was_refused() {
    let dir = stored(1 << 20);
    let (_, out, _) = run(dir.path(), &["token", "eve", "--role", "auditor", "--json"]);
    let token = json(&out);
    let config =
        format!("[[identity]]\nname = \"eve\"\nroles = [\"auditor\"]\ntoken = {}\n", token["hash"]);
    fs::write(dir.path().join("c.toml"), config).unwrap();
    let path = dir.path().join("c.toml").display().to_string();
    let words = [&["--config", &path], &SETTINGS[..]].concat();
    let served = Served::start_with(&dir.path().join("s"), &words);
    wait_for_normal(dir.path());
    let ask = |words: &[&str]| {
        let (code, out, error) = run(dir.path(), words);
        assert_eq!(code, 0, "{words:?}: {error}");
        out
    };
    let packets: u64 = ask(&["query", "--store", "s", "--count"]).trim().parse().unwrap();
    ask(&["query", "--store", "s", "-w", "all.pcapng"]);
    ask(&["hold", "add", "--store", "s", "--reason", "case 12", "udp"]);
    ask(&["hold", "add", "--store", "s", "--reason", "case 13", "tcp"]);
    ask(&["hold", "remove", "--store", "s", "1"]);
    // She may have reports made, and see no packet.
    let as_eve = |words: &[&str]| {
        let server = format!("http://{}", served.address);
        let mut command = tapstone(dir.path());
        command.args(&words[..1]).args(["--server", &server]).args(&words[1..]);
        let output = command.env("TAPSTONE_TOKEN", token["token"].as_str().unwrap()).output();
        output.unwrap()
    };
    let refused = as_eve(&["query", "--count"]);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");

    let made = as_eve(&["report", "--since", "1h ago", "--until", "2100-01-01", "--json"]);
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let made = json(&String::from_utf8(made.stdout).unwrap());
    let (count, query) = (row(&made, "Count"), row(&made, "Query"));
    assert_eq!((&count["asked"], &count["packets"]), (&1.into(), &packets.into()));
    assert_eq!((&query["packets"], &query["outcomes"]["complete"]), (&packets.into(), &1.into()));
    assert!(query["bytes"].as_u64().unwrap() > 100_000, "{query}");
    assert!(query["identity"].as_str().unwrap().starts_with("uid:"), "{query}");
    // The one that is being made is written down before it is.
    let own = row(&made, "Report");
    assert_eq!((&own["identity"], &own["asked"]), (&"eve".into(), &1.into()));
    assert_eq!(made["read"]["without_answer"], 1);
    let refused = made["read"]["refused"].as_array().unwrap();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!((&refused[0]["identity"], &refused[0]["times"]), (&"eve".into(), &1.into()));
    assert_eq!(refused[0]["method"], "/tapstone.v1.Tapstone/Count");
    let lifted = &made["read"]["holds_lifted"][0];
    assert_eq!((&lifted["hold"]["id"], &lifted["hold"]["reason"]), (&1.into(), &"case 12".into()));
    assert_eq!(made["read"]["holds_placed"].as_array().unwrap().len(), 2);
    assert_eq!(made["held"]["in_force"][0]["reason"], "case 13");
    assert_eq!(
        (&made["kept"]["packets"], &made["audit"]["sound"]),
        (&packets.into(), &true.into())
    );
    assert!(made["states"]["time"].as_array().unwrap().len() >= 2, "{made:#}");

    let history = wait_for_normal(dir.path())["transitions"].to_string();
    for step in ["AuditPrep", "LogArchival", "ComplianceCheck"] {
        assert!(history.contains(&format!("MAINTENANCE / ComplianceOps / {step}")), "{history}");
    }
    let log = ask(&["audit", "show", "--store", "s"]);
    let told = log.lines().find(|it| it.contains("\"method\":\"Report\"")).unwrap();
    assert!(told.contains("\"identity\":\"eve\"") && told.contains("2100-01-01"), "{told}");
    let text = report(dir.path(), &[]).1;
    for words in ["case 13", "lifted: 1", "Query: 1 (complete 1)", "refused", "MAINTENANCE"] {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    assert_eq!(served.terminate(), Some(0));
}

#[test]
fn a_report_is_verified_and_whatever_is_changed_is_refused_with_a_word_why() {
    let dir = stored(200_000);
    let (code, out, error) = report(dir.path(), &["--out", "r.json"]);
    assert_eq!(code, 0, "{error}");
    assert!(error.contains("written: r.json, r.json.sig, r.json.pem"), "{error}");
    assert!(out.contains("nobody asked through a server") && out.contains("sound"), "{out}");
    let verify =
        |words: &[&str]| run(dir.path(), &[&["report", "verify", "r.json"], words].concat());
    let (code, out, error) = verify(&[]);
    assert!(code == 0 && out.contains("signed by sha256:"), "{out}{error}");
    assert!(error.contains("the key that came along"), "{error}");
    let (code, out, error) = verify(&["--key", "s/report.pem"]);
    assert!(code == 0 && error.is_empty(), "{error}");
    let fingerprint = out.trim().rsplit(' ').next().unwrap();
    let path = |name: &str| dir.path().join(name);
    assert_eq!(json(&fs::read_to_string(path("r.json")).unwrap())["key"], fingerprint);

    let spoilt = |name: &str, at: usize| {
        let whole = fs::read(path(name)).unwrap();
        let mut bad = whole.clone();
        bad[at] ^= 4;
        fs::write(path(name), bad).unwrap();
        let said = verify(&["--key", "s/report.pem"]);
        fs::write(path(name), whole).unwrap();
        said
    };
    for (name, at) in [("r.json", 30), ("r.json.sig", 7), ("r.json.sig", 40)] {
        let (code, _, error) = spoilt(name, at);
        assert!(code == 3 && error.contains("was changed"), "{name}: {code} {error}");
    }
    fs::write(path("r.json.sig"), b"short").unwrap();
    let (code, _, error) = verify(&[]);
    assert!(code == 3 && error.contains("5 bytes"), "{error}");
    fs::remove_file(path("r.json.sig")).unwrap();
    let (code, _, error) = verify(&[]);
    assert!(code == 2 && error.contains("r.json.sig"), "{code} {error}");
    // What was printed is what was signed.
    let (_, printed, _) = report(dir.path(), &["--json", "--out", "t.json"]);
    assert_eq!(printed.as_bytes(), fs::read(path("t.json")).unwrap());
}

#[test]
fn what_makes_no_sense_is_refused_by_a_store_and_by_its_server() {
    let dir = stored(200_000);
    let cases: [(&[&str], &str); 3] = [
        (&["report", "--store", "s"], "--since"),
        (&["report", "--store", "s", "--since", "soon"], "soon"),
        (
            &["report", "--store", "s", "--since", "2026-02-01", "--until", "2026-01-01"],
            "ends where",
        ),
    ];
    let check = || {
        for (words, text) in cases {
            let (code, _, error) = run(dir.path(), words);
            assert!(code == 2 && error.contains(text), "{words:?}: {code} {error}");
        }
    };
    check();
    let served = Served::start_with(&dir.path().join("s"), &SETTINGS);
    wait_for_normal(dir.path());
    check();
    assert_eq!(served.terminate(), Some(0));
}

#[test]
fn a_server_archives_its_log_and_answers_meanwhile() {
    let dir = stored(1 << 20);
    let archive = dir.path().join("archive");
    let named = format!("audit.archive_folder={}", archive.display());
    let words = [&SETTINGS[..], &["--set", &named]].concat();
    for _ in 0..2 {
        let served = Served::start_with(&dir.path().join("s"), &words);
        let (code, ..) = run(dir.path(), &["query", "--store", "s", "--count"]);
        assert_eq!(code, 0);
        assert_eq!(served.terminate(), Some(0));
    }
    std::thread::sleep(Duration::from_millis(1100));
    let served = Served::start_with(&dir.path().join("s"), &words);
    wait_for_normal(dir.path());
    let count = || run(dir.path(), &["query", "--store", "s", "--count"]);
    let before = count().1;
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| (0..8).map(|_| count()).collect::<Vec<_>>());
        let (code, _, error) = report(dir.path(), &[]);
        assert_eq!(code, 0, "{error}");
        assert_eq!(error.matches("archived: ").count(), 2, "{error}");
        let answers = asking.join().unwrap();
        assert!(answers.iter().all(|it| it.0 == 0 && it.1 == before), "{answers:?}");
    });
    assert_eq!(fs::read_dir(&archive).unwrap().count(), 2);
    let verify =
        |words: &[&str]| run(dir.path(), &[&["audit", "verify", "--store", "s"], words].concat());
    let (code, all, error) = verify(&[]);
    assert!(code == 0 && all.contains("sound") && error.is_empty(), "{all}{error}");
    // Taken away, while the server goes on.
    fs::rename(&archive, dir.path().join("tape")).unwrap();
    let (code, out, error) = verify(&[]);
    assert!(code == 0 && out.contains("sound"), "{out}");
    assert!(error.contains("records up to 4 were archived and are not here"), "{error}");
    assert!(json(&verify(&["--json"]).1)["behind"]["sequence"] == 4);
    let (code, with_it, error) = verify(&["--archive", "tape"]);
    assert!(code == 0 && error.is_empty(), "{error}");
    assert_eq!(with_it, all);
    let (code, out, _) = verify(&["--archive", "nowhere"]);
    assert!(code == 3 && out.contains("records 1 to 4 are missing"), "{out}");
    let lines = |words: &[&str]| {
        let (_, out, _) = run(dir.path(), &[&["audit", "show", "--store", "s"], words].concat());
        out.lines().next().unwrap().to_owned()
    };
    assert!(lines(&[]).starts_with("5 ") && lines(&["--archive", "tape"]).starts_with("1 "));
    assert_eq!(served.terminate(), Some(0));
}

#[test]
fn settings_of_the_archive_that_make_no_sense_keep_a_server_from_starting() {
    let dir = stored(200_000);
    let words = [
        "serve",
        "--store",
        "s",
        "--set",
        "audit.archive_after=soon",
        "--set",
        "audit.archive_folder=here",
    ];
    let (code, _, error) = run(dir.path(), &words);
    assert_eq!(code, 2, "{error}");
    assert!(
        error.contains("archive_after: 'soon'") && error.contains("archive_folder: here"),
        "{error}"
    );
}
