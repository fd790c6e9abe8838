//! Holds: of a store, and of the server that has it.

use serde_json::Value;

use crate::run;
use crate::served::Served;
use crate::serving::stored;
use crate::watching::{get, metric};

/// Without the times at which holds were added.
fn without_times(text: &str) -> String {
    let is_time = |word: &&str| word.contains("T") && word.contains(':') && word.contains('Z');
    text.split(' ').filter(|word| !is_time(word)).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_store_and_its_server_say_the_same_of_holds() {
    let dir = stored(1 << 20);
    let mut copy = std::process::Command::new("cp");
    assert!(copy.args(["-r", "s", "t"]).current_dir(dir.path()).status().unwrap().success());
    let cases: [(&[&str], i32, &str); 15] = [
        (&["list"], 0, ""),
        (&["add", "--reason", "case 12", "--where", "port:443", "tcp"], 0, "1  "),
        (&["add", "--reason", "all of it", "--json"], 0, "\"id\": 2"),
        (&["add", "--reason", "x", "--since", "2026-01-01", "--until", "2026-02-01"], 0, "until"),
        (&["add", "--reason", " ", "tcp"], 2, "needs a reason"),
        (&["add", "--reason", "x", "tcp port 80 and"], 2, "syntax error"),
        (&["add", "--reason", "x", "--where", "color:red"], 2, "no field 'color'"),
        (
            &["add", "--reason", "x", "--since", "2026-02-01", "--until", "2026-01-01"],
            2,
            "exchange",
        ),
        (&["add", "--reason", "x", "--since", "2026-01-01", "--until", "2026-01-01"], 2, "empty"),
        (&["list", "--json"], 0, "\"where\": \"port:443\""),
        (&["remove", "7"], 2, "there is no hold 7"),
        (&["remove", "2"], 0, "removed: 2  "),
        (&["list"], 0, "(case 12)"),
        (&["accept"], 0, ""),
        (&["list", "--json"], 0, "\"in_doubt\": false"),
    ];
    let ask = |store: &str, words: &[&str]| {
        let words = [&["hold", words[0], "--store", store], &words[1..]].concat();
        let (code, out, error) = run(dir.path(), &words);
        (code, without_times(&out), without_times(&error))
    };
    let served = Served::start(&dir.path().join("t"));
    for (words, code, text) in cases {
        let alone = ask("s", words);
        assert_eq!(alone.0, code, "{words:?}: {alone:?}");
        assert!(alone.1.contains(text) || alone.2.contains(text), "{words:?}: {alone:?}");
        assert_eq!(ask("t", words), alone, "{words:?}");
    }
    let (_, out, _) = run(dir.path(), &["info", "--store", "t"]);
    assert!(out.contains("\nholds        2\n"), "{out}");
    // Who did it is written down.
    let (_, out, _) = run(dir.path(), &["audit", "show", "--store", "t", "--json"]);
    let entries: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let asked = |method: &str| {
        entries.iter().find(|it| it["entry"]["method"] == method).unwrap_or_else(|| panic!("{out}"))
    };
    let added = &asked("AddHold")["entry"]["query"];
    assert_eq!((&added["reason"], &added["filter"]), (&"case 12".into(), &"tcp".into()));
    assert_eq!(asked("RemoveHold")["entry"]["query"]["hold"], 7);
    asked("ListHolds");
    asked("AcceptHolds");
    assert_eq!(served.terminate(), Some(0));
    let (_, out, _) = run(dir.path(), &["hold", "list", "--store", "t"]);
    assert_eq!(out.lines().count(), 2, "{out}");
}

#[test]
fn holds_that_fill_the_disk_raise_an_alarm_and_lifting_them_makes_room() {
    let dir = stored(1 << 20);
    let hold = |words: &[&str]| {
        let (code, out, error) = run(dir.path(), &[&["hold"], words].concat());
        assert_eq!(code, 0, "{error}");
        out
    };
    hold(&["add", "--store", "s", "--reason", "case 12", "udp"]);
    let words = ["--monitor", "127.0.0.1:0", "--max-size", "1KiB"];
    let served = Served::start_with(&dir.path().join("s"), &words);
    let monitor = served.address_after("metrics and health on http://");
    let alarm = served.wait_for("holds keep 1 segments");
    assert!(alarm.contains("ERROR") && alarm.contains("remove holds, or make room"), "{alarm}");
    let (_, out, _) = run(dir.path(), &["info", "--store", "s"]);
    assert!(out.contains("that retention would let go; what does not fit is lost"), "{out}");
    let (_, out, _) = run(dir.path(), &["info", "--store", "s", "--json"]);
    let info: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&info["holds"], &info["held_back"]["falls_short"]), (&1.into(), &true.into()));
    let (_, body) = get(&monitor, "/metrics");
    assert_eq!(metric(&body, "tapstone_retention_falls_short"), 1.0);
    assert_eq!(metric(&body, "tapstone_held_segments"), 1.0);
    let bytes = info["held_back"]["bytes"].as_f64().unwrap();
    assert_eq!(metric(&body, "tapstone_held_bytes"), bytes);
    let count = || run(dir.path(), &["query", "--store", "s", "--count"]).1;
    assert!(count().trim().parse::<u64>().unwrap() > 100);

    // It stays raised for some rounds, and is told once.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert_eq!(served.times("holds keep"), 1);
    hold(&["remove", "--store", "s", "1"]);
    served.wait_for("packets were let go");
    served.wait_for("there is room again");
    assert_eq!(count().trim(), "0");
    let (_, body) = get(&monitor, "/metrics");
    assert_eq!(metric(&body, "tapstone_retention_falls_short"), 0.0);
    assert_eq!(served.terminate(), Some(0));
}

#[test]
fn a_damaged_ledger_lets_nothing_go_and_says_what_to_do() {
    let dir = stored(1 << 20);
    let (code, ..) = run(dir.path(), &["hold", "add", "--store", "s", "--reason", "x", "tcp"]);
    assert_eq!(code, 0);
    let ledger = dir.path().join("s/ledger/00000001.log");
    let mut bytes = std::fs::read(&ledger).unwrap();
    bytes[4096 + 80] ^= 1;
    std::fs::write(&ledger, bytes).unwrap();
    let served = Served::start_with(&dir.path().join("s"), &["--max-size", "1KiB"]);
    served.wait_for("00000001.log at offset 4096");
    served.wait_for("packets could not be let go");
    let (code, _, error) = run(dir.path(), &["hold", "list", "--store", "s"]);
    assert!(code == 3 && error.contains("tapstone hold accept"), "{error}");
    let (code, out, error) = run(dir.path(), &["query", "--store", "s", "--count"]);
    assert!(code == 0 && out.trim() != "0", "{error}");
    let (_, out, _) = run(dir.path(), &["info", "--store", "s"]);
    assert!(out.contains("holds may be missing"), "{out}");
    assert_eq!(run(dir.path(), &["hold", "accept", "--store", "s"]).0, 0);
    served.wait_for("packets were let go");
    assert_eq!(run(dir.path(), &["hold", "list", "--store", "s"]).0, 0);
}
