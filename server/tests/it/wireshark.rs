//! Wireshark asks a store through its capture dialog. Needs tshark, which calls extcaps as Wireshark
//! does; without it this is skipped with a loud line.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use assert_cmd::cargo::cargo_bin;
use tapstone_benches::served::known_by_token;

use crate::run;
use crate::served::Served;
use crate::serving::stored;

#[expect(clippy::print_stderr, reason = "a test that was not run must not look like one that was")]
fn is_there(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        eprintln!("SKIPPED: {program} is not installed: apt-get install tshark");
    }
    there
}

/// tshark, with no extcap but ours. It takes none from the environment when root runs it.
fn tshark(home: &Path, token: &str, words: &[&str]) -> Output {
    let mut command = Command::new("tshark");
    if rustix::process::getuid().is_root() {
        command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "tshark"]);
    }
    command.env("WIRESHARK_EXTCAP_DIR", home.join("extcap")).env("HOME", home);
    command.env("TAPSTONE_TOKEN", token).args(words).output().unwrap()
}

#[test]
fn tshark_shows_what_the_server_has_for_filter_and_time() {
    if !is_there("tshark") {
        return;
    }
    let dir = stored(1 << 20);
    let home = dir.path();
    fs::set_permissions(home, Permissions::from_mode(0o777)).unwrap();
    // Where this was built may be closed to the user that tshark runs as.
    let program = home.join("tapstone");
    fs::copy(cargo_bin!("tapstone"), &program).unwrap();
    let words = ["extcap", "--install", "extcap"];
    let installed = Command::new(&program).current_dir(home).args(words).status().unwrap();
    assert!(installed.success());
    let (config, token) = known_by_token(&program, home).unwrap();
    let token = token.as_str();
    let interfaces = tshark(home, token, &["-D"]);
    let interfaces = String::from_utf8_lossy(&interfaces.stdout).into_owned();
    assert!(interfaces.contains("tapstone (Tapstone packet store)"), "{interfaces}");

    let served = Served::start_with(&home.join("s"), &["--config", &config]);
    let (code, count, _) = run(home, &["query", "--store", "s", "--count", "udp", "port", "53"]);
    assert_eq!(code, 0);
    let expected: usize = count.trim().parse().unwrap();
    assert!(expected > 0);
    let server = format!("extcap.tapstone.server:http://{}", served.address_after("serving on "));
    let since = "extcap.tapstone.since:1970-01-01T00:00:00Z";
    let out = home.join("out.pcapng").display().to_string();
    let words = |filter| ["-i", "tapstone", "-o", &server, "-o", since, "-f", filter, "-w", &out];
    let captured = tshark(home, token, &words("udp port 53"));
    let said = String::from_utf8_lossy(&captured.stderr).into_owned();
    assert!(captured.status.success(), "{said}");
    let ports = tshark(home, token, &["-r", &out, "-T", "fields", "-e", "udp.port"]);
    let ports = String::from_utf8_lossy(&ports.stdout).into_owned();
    assert_eq!(ports.lines().count(), expected, "{said}");
    assert!(ports.lines().all(|ports| ports.split(',').any(|port| port == "53")), "{ports}");

    assert!(!tshark(home, token, &words("no such filter")).status.success());
}

#[test]
fn the_dialog_has_every_flag_that_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let (code, dialog, _) =
        run(dir.path(), &["extcap", "--extcap-interface", "tapstone", "--extcap-config"]);
    assert_eq!(code, 0);
    let flags: Vec<&str> =
        dialog.lines().filter_map(|line| line.split_once("{call=")?.1.split('}').next()).collect();
    assert!(flags.contains(&"--server") && flags.len() > 5, "{dialog}");
    let (_, help, _) = run(dir.path(), &["extcap", "--help"]);
    for flag in flags {
        assert!(help.contains(flag), "{flag}");
    }
    let objection = |filter| run(dir.path(), &["extcap", "--extcap-capture-filter", filter]).1;
    assert_eq!(objection("tcp port 443"), "");
    assert!(objection("no such filter").contains("is a host name"));
}
