//! The level graph in the language of Graphviz; levels of one clock stand in one row.

use super::{Drawing, every, word};
use nestor_compiler::level::FlowKind;
use std::fmt::Write as _;

/// The graph as text.
pub(super) fn draw(drawing: &Drawing) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "digraph {:?} {{\n  rankdir = TB\n  node [shape = box, style = rounded, fontname = \"sans-serif\"]\n  \
         edge [fontname = \"sans-serif\", fontsize = 10]",
        drawing.title
    );
    for (n, node) in drawing.nodes.iter().enumerate() {
        let label = format!("{}\n{}\n{}", node.title(), every(node.clock), node.facts());
        let _ = writeln!(out, "  n{n} [label = {label:?}]");
    }
    let mut clocks: Vec<_> = drawing.nodes.iter().map(|n| n.clock).collect();
    clocks.dedup();
    for clock in &clocks {
        let row: Vec<String> = (0..drawing.nodes.len())
            .filter(|&n| drawing.nodes[n].clock == *clock)
            .map(|n| format!("n{n}"))
            .collect();
        let _ = writeln!(out, "  {{ rank = same; {} }}", row.join("; "));
    }
    // Rows stand below one another, whatever flows.
    let first = |clock| drawing.nodes.iter().position(|n| n.clock == clock).unwrap_or(0);
    for pair in clocks.windows(2) {
        let (a, b) = (first(pair[0]), first(pair[1]));
        let _ = writeln!(out, "  n{a} -> n{b} [style = invis]");
    }
    for edge in &drawing.edges {
        let style = match edge.kind {
            FlowKind::Value => "solid",
            FlowKind::Gradient => "dashed",
            FlowKind::InitialState | FlowKind::Weights => "bold",
        };
        let _ = writeln!(
            out,
            "  n{} -> n{} [label = {:?}, style = {style}, constraint = false]",
            edge.from,
            edge.to,
            word(edge.kind)
        );
    }
    out + "}\n"
}
