//! The text of a state, and the state of a text.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use super::State;

/// Between the names of a state path.
const SEPARATOR: &str = " / ";

/// A text that is not the state path of an innermost state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a state: its whole path is needed, as in `INIT / ConfigValidation`")]
pub struct ParseStateError;

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(SEPARATOR))
    }
}

impl FromStr for State {
    type Err = ParseStateError;

    fn from_str(text: &str) -> Result<State, ParseStateError> {
        static STATES: LazyLock<HashMap<String, State>> =
            LazyLock::new(|| State::all().into_iter().map(|it| (it.to_string(), it)).collect());
        STATES.get(text).copied().ok_or(ParseStateError)
    }
}

impl From<State> for String {
    fn from(state: State) -> String {
        state.to_string()
    }
}

impl TryFrom<String> for State {
    type Error = ParseStateError;

    fn try_from(text: String) -> Result<State, ParseStateError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NVMeControl, Pressure, StoragePressure};
    use super::*;

    #[test]
    fn a_state_survives_its_text() {
        let all = State::all();
        assert_eq!(all.len(), 61);
        for state in all {
            assert_eq!(state.to_string().parse(), Ok(state));
            let json = serde_json::to_string(&state).unwrap();
            assert_eq!(json, format!("\"{state}\""));
            assert_eq!(serde_json::from_str::<State>(&json).unwrap(), state);
        }
        let control = StoragePressure::NVMeControl(NVMeControl::AdjustWriteRate);
        let state = State::Pressure(Pressure::StoragePressure(control));
        assert_eq!(state.to_string(), "PRESSURE / StoragePressure / NVMeControl / AdjustWriteRate");
        assert_eq!(state.name(), "AdjustWriteRate");
    }

    #[test]
    fn what_is_no_innermost_state_is_refused() {
        for text in
            ["", "INIT", "INIT / ResourceCheck", "ConfigValidation", "INIT/ConfigValidation"]
        {
            assert_eq!(text.parse::<State>(), Err(ParseStateError), "{text}");
        }
    }
}
