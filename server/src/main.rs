//! The `tapstone` command.

#![forbid(unsafe_code)]

mod access;
mod alerting;
mod backend;
mod cli;
mod commands;
mod config;
mod exit;
mod export;
mod input;
mod listen;
mod monitoring;
mod quantity;
mod service;
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
