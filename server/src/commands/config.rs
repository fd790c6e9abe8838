//! `tapstone config check`, `tapstone config show`, `tapstone config default`

use std::io::{self, Write};

use serde_json::json;

use super::serve::ServeError;
use crate::cli::{ConfigCommand, ConfigShow};
use crate::config::{DEFAULT_FILE, Loaded, keys};
use crate::exit::{COMPLETE, Failure, stdout};
use crate::text;

pub(crate) fn run(command: &ConfigCommand) -> Result<u8, Failure> {
    match command {
        ConfigCommand::Check(sources) => {
            let config = Loaded::read(sources).map_err(ServeError::from)?.config;
            config.check().map_err(ServeError::from)?;
            text::say(&format_args!("it can be used; {} identities", config.identity.len()));
        }
        ConfigCommand::Show(show) => self::show(show)?,
        ConfigCommand::Default => {
            io::stdout().lock().write_all(DEFAULT_FILE.as_bytes()).map_err(stdout)?;
        }
    }
    Ok(COMPLETE)
}

/// Prints every setting with its origin: as a file that could be used, or as JSON.
fn show(args: &ConfigShow) -> Result<(), Failure> {
    let loaded = Loaded::read(&args.sources).map_err(ServeError::from)?;
    let file = args.sources.config.as_ref().map(|path| path.display().to_string());
    let mut out = io::stdout().lock();
    let mut table = String::new();
    for key in keys() {
        let (value, origin) = loaded.value(&key.path);
        let origin = match (&origin, &value) {
            (Some(origin), _) => origin.describe(file.as_deref()),
            (None, Some(_)) => "default".to_owned(),
            (None, None) => "not set".to_owned(),
        };
        if args.json {
            let line = json!({ "name": key.path, "value": value, "origin": origin });
            writeln!(out, "{line}").map_err(stdout)?;
            continue;
        }
        let (of, name) = key.path.rsplit_once('.').expect("every setting is in a table");
        if of != table {
            let gap = if table.is_empty() { "" } else { "\n" };
            writeln!(out, "{gap}[{of}]").map_err(stdout)?;
            of.clone_into(&mut table);
        }
        let setting = match value {
            Some(value) => format!("{name} = {value}"),
            None => format!("# {name}"),
        };
        writeln!(out, "{setting:<44} # {origin}").map_err(stdout)?;
    }
    for identity in &loaded.config.identity {
        if args.json {
            writeln!(out, "{}", json!({ "name": "identity", "value": identity }))
                .map_err(stdout)?;
        } else {
            let lines = toml::to_string(identity).expect("an identity is a table");
            writeln!(out, "\n[[identity]]\n{}", lines.trim_end()).map_err(stdout)?;
        }
    }
    Ok(())
}
