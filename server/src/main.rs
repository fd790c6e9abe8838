//! The `tapstone` command.

#![forbid(unsafe_code)]

#[allow(
    dead_code,
    unused_imports,
    reason = "the gRPC server, which decides by it, comes next; so far only `tapstone token` is here"
)]
mod access;
mod cli;
mod commands;
mod exit;
mod export;
mod input;
#[allow(dead_code, unused_imports, reason = "the gRPC server, which listens by it, comes next")]
mod listen;
mod text;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; everything else is bad usage.
            let code = if error.use_stderr() { exit::USAGE } else { exit::COMPLETE };
            error.print().ok();
            return ExitCode::from(code);
        }
    };
    match commands::run(&cli.command) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if !failure.is_broken_pipe() {
                text::complain(&failure);
            }
            ExitCode::from(failure.code())
        }
    }
}
