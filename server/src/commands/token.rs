//! `tapstone token`

use std::io::{self, Write};

use serde_json::json;

use crate::access::Token;
use crate::cli::TokenArgs;
use crate::exit::{COMPLETE, Failure, stdout};
use crate::text;

/// What goes to the standard output can be appended to the configuration as it is, even where that
/// does not end with a line's end; the token, which must not get there, goes to the standard error.
pub(crate) fn run(args: &TokenArgs) -> Result<u8, Failure> {
    let token = Token::random()?;
    let (name, hash, roles) = (&args.name, token.hash().to_string(), &args.roles);
    if args.json {
        let line = json!({ "name": name, "token": token.text(), "hash": hash, "roles": roles });
        writeln!(io::stdout(), "{line}").map_err(stdout)?;
        return Ok(COMPLETE);
    }
    let roles: Vec<String> = roles.iter().map(|role| format!("\"{role}\"")).collect();
    let roles = roles.join(", ");
    writeln!(
        io::stdout(),
        "\n[[identity]]\nname = \"{name}\"\ntoken = \"{hash}\"\nroles = [{roles}]"
    )
    .map_err(stdout)?;
    text::say(&format_args!(
        "\nThese lines belong into the server's configuration. The token itself is shown this once, \
         and kept nowhere; give it to {name}:\n\n{}",
        token.text()
    ));
    Ok(COMPLETE)
}
