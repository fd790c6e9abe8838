//! What is drawn in the specification is what the machine is made of: all of it, nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::super::diagram::diagram;
use super::super::states::{State, TopState};

/// The specification, where ../shared is not beside the checkout.
const COPY: &str = include_str!("specification.mermaid");

/// An arrow: the states that it lies in, from, to, and its label.
type Arrow = (Vec<String>, String, String, String);

/// What a mermaid diagram says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Drawing {
    /// Every state, with those that it lies in.
    pub(super) states: BTreeSet<Vec<String>>,
    pub(super) arrows: BTreeSet<Arrow>,
    /// Those that are shown under another name.
    titles: BTreeSet<(String, String)>,
}

impl Drawing {
    pub(super) fn of(mermaid: &str) -> Drawing {
        let mut drawing = Drawing::default();
        let mut inside: Vec<String> = Vec::new();
        let mut is_note = false;
        for line in mermaid.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            is_note |= words[0] == "note";
            match words[..] {
                ["end", "note"] => is_note = false,
                _ if is_note => {}
                ["stateDiagram-v2"] => {}
                ["}"] => drop(inside.pop().expect("a state is closed that was opened")),
                ["state", .., "{"] => {
                    let name = words[words.len() - 2];
                    if let Some((title, _)) = line[6..].trim().split_once(" as ") {
                        drawing.titles.insert((title.to_owned(), name.to_owned()));
                    }
                    drawing.state(&inside, name);
                    inside.push(name.to_owned());
                }
                [_, "-->", ..] => drawing.arrow(&inside, line),
                [name] => drawing.state(&inside, name),
                _ => panic!("what is this? {line}"),
            }
        }
        assert_eq!(inside, Vec::<String>::new(), "every state is closed");
        drawing
    }

    fn state(&mut self, inside: &[String], name: &str) {
        if name != "[*]" && name != "any" {
            self.states.insert([inside, &[name.to_owned()]].concat());
        }
    }

    fn arrow(&mut self, inside: &[String], line: &str) {
        let (ends, label) = line.split_once(':').unwrap_or((line, ""));
        let (from, to) = ends.split_once("-->").unwrap();
        let [from, to, label] = [from, to, label].map(|it| it.trim().to_owned());
        self.state(inside, &from);
        self.state(inside, &to);
        assert!(self.arrows.insert((inside.to_vec(), from, to, label)), "{line} is there twice");
    }
}

/// The specification beside the checkout.
fn shared() -> Option<String> {
    let path = "../../shared/reference/storage-state-diagram.md";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = std::fs::read_to_string(&path).ok();
    if text.is_none() {
        eprintln!("SKIPPED the_copy_is_the_specification: none at {}", path.display());
    }
    text
}

fn mermaid(markdown: &str) -> &str {
    let (_, rest) = markdown.split_once("```mermaid\n").expect("there is a diagram");
    rest.split_once("```").map_or(rest, |(diagram, _)| diagram)
}

#[test]
fn the_copy_is_the_specification() {
    if let Some(shared) = shared() {
        assert_eq!(Drawing::of(mermaid(&shared)), Drawing::of(COPY));
    }
}

#[test]
fn every_state_and_every_arrow_is_there_and_nothing_else_is() {
    let (specified, drawn) = (Drawing::of(COPY), Drawing::of(&diagram()));
    let lacks: Vec<_> = specified.states.difference(&drawn.states).collect();
    let invents: Vec<_> = drawn.states.difference(&specified.states).collect();
    assert!(lacks.is_empty() && invents.is_empty(), "states: lacks {lacks:?}, has {invents:?}");
    let lacks: Vec<_> = specified.arrows.difference(&drawn.arrows).collect();
    let invents: Vec<_> = drawn.arrows.difference(&specified.arrows).collect();
    assert!(lacks.is_empty() && invents.is_empty(), "arrows: lacks {lacks:?}, has {invents:?}");
    assert_eq!(specified, drawn);
    assert_eq!((drawn.states.len(), drawn.arrows.len()), (91, 35));
}

/// The types themselves, not what is drawn of them.
#[test]
fn the_innermost_states_of_the_specification_are_the_values_of_the_type() {
    let specified = Drawing::of(COPY);
    let is_inner = |state: &&Vec<String>| {
        !specified.states.iter().any(|it| it.len() > state.len() && it.starts_with(state))
    };
    let innermost: BTreeSet<String> =
        specified.states.iter().filter(is_inner).map(|names| names.join(" / ")).collect();
    let all: BTreeSet<String> = State::all().iter().map(ToString::to_string).collect();
    assert_eq!(all, innermost);
    let top: BTreeSet<Vec<String>> =
        TopState::ALL.iter().map(|it| vec![it.name().to_owned()]).collect();
    assert_eq!(top, specified.states.iter().filter(|it| it.len() == 1).cloned().collect());
}

/// To draw it anew, run with `TAPSTONE_FREEZE=1` and commit docs/state-machine.md.
#[test]
fn the_documentation_shows_the_machine_as_it_is() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/state-machine.md");
    let mut text = std::fs::read_to_string(&path).unwrap();
    if std::env::var_os("TAPSTONE_FREEZE").is_some() {
        text = text.replace(mermaid(&text), &diagram());
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(mermaid(&text), diagram());
}
