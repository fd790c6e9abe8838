//! The drawing of the machine, from what it is made of.

use super::edge::Edge;
use super::states::TopState;
use super::tree::{Arrows, Node};

/// The machine as a mermaid diagram.
#[must_use]
pub fn diagram() -> String {
    let mut lines = vec!["stateDiagram-v2".to_owned()];
    lines.push(format!("    [*] --> {}", TopState::Init));
    for top in TopState::ALL {
        lines.push(String::new());
        draw(&top.node(), 1, &mut lines);
    }
    lines.push(String::new());
    for edge in Edge::ALL {
        let from = edge.from().map_or("any", TopState::name);
        lines.push(format!("    {from} --> {}: {}", edge.to(), edge.label()));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn draw(node: &Node, depth: usize, lines: &mut Vec<String>) {
    let indent = "    ".repeat(depth);
    if node.children.is_empty() {
        lines.push(format!("{indent}{}", node.name));
        return;
    }
    let title = if node.name == TopState::Pressure.name() {
        format!("\"{} (By Source)\" as {0}", node.name)
    } else {
        node.name.to_owned()
    };
    lines.push(format!("{indent}state {title} {{"));
    for (from, to) in arrows(node) {
        lines.push(format!("{indent}    {from} --> {to}"));
    }
    // What an arrow leads to needs no line of its own.
    let is_led_to = node.arrows == Arrows::Chain;
    for child in node.children.iter().filter(|it| !(is_led_to && it.children.is_empty())) {
        draw(child, depth + 1, lines);
    }
    lines.push(format!("{indent}}}"));
}

/// The arrows between the states that lie in one; `[*]` is where it begins.
pub(super) fn arrows(node: &Node) -> Vec<(&'static str, &'static str)> {
    let names = || node.children.iter().map(|child| child.name);
    match node.arrows {
        Arrows::Chain => std::iter::once("[*]").chain(names()).zip(names()).collect(),
        Arrows::First => names().take(1).map(|first| ("[*]", first)).collect(),
        Arrows::Each => names().map(|each| ("[*]", each)).collect(),
        Arrows::Absent => Vec::new(),
    }
}
