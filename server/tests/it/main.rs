//! The command as its users type it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod alerting;
mod backing_up;
mod commands;
mod crash;
mod exactness;
mod flapping;
mod holding;
mod hostile;
mod live;
mod maintaining;
mod python;
mod reporting;
mod served;
mod serving;
mod stating;
mod token;
mod watching;
mod wireshark;

use std::path::Path;

use assert_cmd::Command;

/// The command, with a folder to work in.
fn tapstone(folder: &Path) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("tapstone"));
    command.current_dir(folder).timeout(std::time::Duration::from_secs(120));
    command
}

/// What a command printed on its standard output and error, and its exit code.
fn run(folder: &Path, words: &[&str]) -> (i32, String, String) {
    let output = tapstone(folder).args(words).output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}
