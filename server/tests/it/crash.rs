//! `kill -9` at any moment of an import: what was taken in is there, once, and the same command
//! goes on from there.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use tapstone_benches::random::Random;
use tapstone_benches::workload::Workload;

use crate::run;

#[test]
fn an_import_that_is_killed_at_any_moment_is_taken_up_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = File::create(dir.path().join("a.pcap")).unwrap();
    let made = Workload::short_flows(220 << 20, 4).write(&mut file).unwrap();
    let seed = 20_261_125;
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut kills = 0;
    for round in 0..4 {
        let store = format!("s{round}");
        let words = ["import", "--store", &store, "a.pcap"];
        let mut before = 0;
        for attempt in 0..12 {
            let mut import = Command::new(assert_cmd::cargo::cargo_bin!("tapstone"))
                .args(words)
                .current_dir(dir.path())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            sleep(Duration::from_millis(random.below(700)));
            import.kill().unwrap();
            let status = import.wait().unwrap();
            kills += u32::from(status.code().is_none());
            if attempt % 4 == 3 {
                let (code, out, error) = run(dir.path(), &["query", "--store", &store, "--count"]);
                assert_eq!(code, 0, "{error}");
                let there: u64 = out.trim().parse().unwrap();
                assert!(there >= before && there <= made.packets, "{before}, then {there}");
                before = there;
            }
        }
        // All of it may be there by now; then the command says so.
        let (code, _, error) = run(dir.path(), &words);
        assert!(code == 0 || error.contains("already in this store"), "{error}");
        let (code, ..) =
            run(dir.path(), &["query", "--store", &store, "-w", "o.pcap", "--format", "pcap"]);
        assert_eq!(code, 0);
        let (stored, expected) = (
            fs::read(dir.path().join("o.pcap")).unwrap(),
            fs::read(dir.path().join("a.pcap")).unwrap(),
        );
        assert!(stored[24..] == expected[24..], "round {round}, seed {seed}");
        let (code, out, _) = run(dir.path(), &["check", "--store", &store]);
        assert_eq!(code, 0, "{out}");
        fs::remove_dir_all(dir.path().join(&store)).unwrap();
    }
    println!("{kills} kills");
    assert!(kills > 5, "only {kills} imports were killed under way");
}
