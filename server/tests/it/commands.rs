//! Commands, their output, and their exit codes.

use std::fs::{self, File};
use std::io::Write;

use serde_json::Value;
use tapstone_benches::workload::Workload;
use tapstone_packet::capture_file::{CaptureReader, Step};

use crate::{run, tapstone};

fn folder_with_capture() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut file = File::create(dir.path().join("a.pcap")).unwrap();
    Workload::short_flows(2 << 20, 9).write(&mut file).unwrap();
    dir
}

fn packets_in(bytes: &[u8]) -> u64 {
    let mut reader = CaptureReader::new();
    let (mut at, mut packets) = (0, 0);
    loop {
        match reader.step(&bytes[at..], true).unwrap() {
            Step::Packet(packet) => {
                at += packet.consumed;
                packets += 1;
            }
            Step::Skipped { consumed } => at += consumed,
            Step::End | Step::More { .. } => return packets,
        }
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_capture_goes_in_and_its_packets_come_out() {
    let dir = folder_with_capture();
    let capture = fs::read(dir.path().join("a.pcap")).unwrap();
    let packets = packets_in(&capture);
    let (code, out, error) = run(dir.path(), &["import", "--store", "s", "--json", "a.pcap"]);
    assert_eq!(code, 0, "{error}");
    let report = json(&out);
    assert_eq!(report["packets"], packets);
    assert_eq!(report["complete"], true);
    assert_eq!(report["files"][0]["damage"], Value::Null);

    let (code, out, _) = run(dir.path(), &["info", "--store", "s", "--json"]);
    let info = json(&out);
    assert_eq!(code, 0);
    for key in
        ["packet_bytes", "stored_bytes", "index_bytes", "segments", "first", "last", "interfaces"]
    {
        assert!(!info[key].is_null(), "{key} in {info}");
    }
    let state = "nobody has kept the store yet";
    assert_eq!((&info["packets"], &info["state"]), (&packets.into(), &state.into()));

    let (code, out, error) = run(dir.path(), &["query", "--store", "s", "--count"]);
    assert_eq!((code, out.trim()), (0, packets.to_string().as_str()));
    assert!(error.trim_end().ends_with("complete"), "{error}");

    let (code, ..) = run(dir.path(), &["query", "--store", "s", "-w", "o.pcapng"]);
    assert_eq!(code, 0);
    assert_eq!(packets_in(&fs::read(dir.path().join("o.pcapng")).unwrap()), packets);
    let (code, ..) =
        run(dir.path(), &["query", "--store", "s", "-w", "o.pcap", "--format", "pcap"]);
    assert_eq!(code, 0);
    assert_eq!(fs::read(dir.path().join("o.pcap")).unwrap()[24..], capture[24..]);

    let (code, out, _) =
        run(dir.path(), &["query", "--store", "s", "--json", "--limit", "3", "udp", "port", "53"]);
    assert_eq!((code, out.lines().count()), (0, 3));
    let line = json(out.lines().next().unwrap());
    for key in ["time", "src", "dst", "protocol", "captured", "length", "link_type", "flow"] {
        assert!(!line[key].is_null(), "{key} in {line}");
    }
    let (code, out, _) = run(dir.path(), &["flows", "--store", "s", "--where", "sni:example"]);
    assert_eq!(code, 0);
    assert!(out.lines().count() > 1 && out.contains(".example"), "{out}");
    let (code, out, _) = run(dir.path(), &["flows", "--store", "s", "--json", "udp"]);
    assert!(code == 0 && json(out.lines().next().unwrap())["protocol"] == "udp");
    let (code, out, _) = run(dir.path(), &["check", "--store", "s"]);
    assert!(code == 0 && out.contains("sound"), "{out}");
    let (code, ..) = run(dir.path(), &["rebuild", "--store", "s"]);
    assert_eq!(code, 0);
    let (code, out, _) = run(dir.path(), &["check", "--store", "s", "--json"]);
    assert_eq!((code, &json(&out)["packets"]), (0, &packets.into()));
}

#[test]
fn compressed_captures_and_streams_are_the_same_content() {
    let dir = folder_with_capture();
    let capture = fs::read(dir.path().join("a.pcap")).unwrap();
    let gz = File::create(dir.path().join("a.pcap.gz")).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(gz, flate2::Compression::fast());
    encoder.write_all(&capture).unwrap();
    encoder.finish().unwrap();
    let zst = zstd::encode_all(&capture[..], 1).unwrap();
    fs::write(dir.path().join("misnamed.pcap"), zst).unwrap();

    let mut command = tapstone(dir.path());
    command.args(["import", "--store", "s", "-"]).write_stdin(capture);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    for name in ["a.pcap.gz", "misnamed.pcap", "a.pcap"] {
        let (code, _, error) = run(dir.path(), &["import", "--store", "s", name]);
        assert_eq!(code, 3, "{error}");
        assert!(error.contains("already in this store"), "{error}");
    }
    let (code, ..) = run(dir.path(), &["import", "--store", "s", "--again", "a.pcap"]);
    assert_eq!(code, 0);
}

#[test]
fn bad_input_is_named_with_its_remedy() {
    let dir = folder_with_capture();
    run(dir.path(), &["import", "--store", "s", "a.pcap"]);
    fs::write(dir.path().join("text"), "this is no capture").unwrap();
    let mut cut = fs::read(dir.path().join("a.pcap")).unwrap();
    cut.truncate(100_000);
    fs::write(dir.path().join("cut.pcap"), cut).unwrap();
    let cases: [(&[&str], i32, &str); 12] = [
        (&["import", "--store", "t", "nowhere.pcap"], 3, "nowhere.pcap"),
        (&["import", "--store", "t", "text"], 3, "not a pcap or pcapng capture"),
        (&["import", "--store", "t", "cut.pcap"], 3, "cut short"),
        (&["query", "--store", "nowhere"], 4, "there is no store"),
        (&["query", "--store", ".", "--count"], 4, "there is no store"),
        (&["import", "--store", ".", "a.pcap"], 4, "not a store"),
        (&["query", "--store", "s", "--count", "host", "www.example.com"], 2, "host name"),
        (&["query", "--store", "s", "--count", "tcp port 80 and"], 2, "syntax error"),
        (&["query", "--store", "s", "--count", "port 70000"], 2, "70000"),
        (&["query", "--store", "s", "--count", "--where", "color:red"], 2, "no field 'color'"),
        (&["query", "--store", "s", "--since", "yesterish", "--count"], 2, "not an instant"),
        (
            &["query", "--store", "s", "--since", "2026-02-01", "--until", "2026-01-01"],
            2,
            "exchange",
        ),
    ];
    for (words, expected, text) in cases {
        let (code, _, error) = run(dir.path(), words);
        assert_eq!(code, expected, "{words:?}: {error}");
        assert!(error.contains(text), "{words:?}: {error}");
        assert!(!error.contains("panicked"), "{words:?}: {error}");
    }
    let (code, _, error) = run(dir.path(), &["query", "--store", "s", "--no-such-flag"]);
    assert_eq!(code, 2, "{error}");
    let (code, out, _) = run(dir.path(), &["query", "--help"]);
    assert!(code == 0 && out.contains("Exit codes"), "{out}");
    // What could not be read of one file does not keep the others out.
    let (code, ..) = run(dir.path(), &["import", "--store", "u", "nowhere.pcap", "a.pcap"]);
    assert_eq!(code, 3);
    let (code, out, _) = run(dir.path(), &["query", "--store", "u", "--count"]);
    assert!(code == 0 && out.trim().parse::<u64>().unwrap() > 1000);
}

#[test]
fn no_space_left_loses_nothing_that_was_stored() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = File::create(dir.path().join("a.pcap")).unwrap();
    Workload::short_flows(160 << 20, 9).write(&mut file).unwrap();
    // A limit on the size of files stands in for a full disk: the same error comes back.
    let program = assert_cmd::cargo::cargo_bin!("tapstone");
    let script = format!(
        "trap '' XFSZ; ulimit -f 100000; exec {} import --store s a.pcap",
        program.display()
    );
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.contains("free some space"), "{error}");
    let (_, out, error) = run(dir.path(), &["query", "--store", "s", "--count"]);
    let kept: u64 = out.trim().parse().unwrap_or_else(|_| panic!("{error}"));
    assert!(kept > 50_000, "{kept}");
    let (code, _, error) = run(dir.path(), &["import", "--store", "s", "a.pcap"]);
    assert_eq!(code, 0, "{error}");
    let all = packets_in(&fs::read(dir.path().join("a.pcap")).unwrap());
    let (_, out, _) = run(dir.path(), &["query", "--store", "s", "--count"]);
    assert_eq!(out.trim(), all.to_string());
}

/// The limit on locked memory is what a container most often withholds from io_uring.
#[test]
fn without_io_uring_everything_works_and_it_is_said_once() {
    let dir = folder_with_capture();
    let program = assert_cmd::cargo::cargo_bin!("tapstone");
    let run = |words: &str| {
        let script = format!("ulimit -l 64; exec {} {words}", program.display());
        let output = std::process::Command::new("bash")
            .args(["-c", &script])
            .current_dir(dir.path())
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{words}: {error}");
        assert_eq!(error.matches("blocking I/O").count(), 1, "{words}: {error}");
        assert!(error.contains("ulimit -l"), "{words}: {error}");
        String::from_utf8(output.stdout).unwrap()
    };
    run("import --store s a.pcap");
    assert_eq!(json(&run("info --store s --json"))["io"], "blocking");
    let all = packets_in(&fs::read(dir.path().join("a.pcap")).unwrap());
    assert_eq!(run("query --store s --count").trim(), all.to_string());
    run("query --store s -w out.pcapng tcp");
    run("flows --store s --limit 3 --where port:443");
    assert!(run("check --store s").contains("sound"));
    run("rebuild --store s");
    assert_eq!(run("query --store s --count").trim(), all.to_string());
}
