//! A graph as text. Values are numbered in order, so that equal graphs print alike.

use super::attribute;
use crate::tensor::{Axis, Feed, Graph, Op, Reach, Scan, Stride, Value, Yield};
use std::fmt::Write;

/// The text of a graph.
pub fn print(graph: &Graph) -> String {
    let mut out = String::from("graph {\n");
    body(&mut out, graph, 1);
    out.push_str("}\n");
    out
}

fn body(out: &mut String, graph: &Graph, depth: usize) {
    let pad = "  ".repeat(depth);
    for node in graph.nodes.values() {
        out.push_str(&pad);
        for (i, &value) in node.results.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            let data = &graph.values[value];
            let name = data.name.as_ref().map(|n| format!(" {n:?}")).unwrap_or_default();
            put(out, format_args!("{comma}{value}{name}: {}", data.ty));
        }
        if !node.results.is_empty() {
            out.push_str(" = ");
        }
        out.push_str(node.op.info().name);
        if let Op::Scan { scan } = &node.op {
            scanned(out, scan, &node.operands, depth);
            continue;
        }
        let attributes = attribute::of(&node.op);
        if !attributes.is_empty() {
            let all: Vec<String> =
                attributes.iter().map(|(n, a)| format!("{n}={a}")).collect();
            put(out, format_args!("{{{}}}", all.join(", ")));
        }
        let operands: Vec<String> =
            node.operands.iter().map(ToString::to_string).collect();
        if !operands.is_empty() {
            put(out, format_args!(" {}", operands.join(", ")));
        }
        out.push('\n');
    }
    for output in &graph.outputs {
        put(out, format_args!("{pad}output {:?} {}\n", output.name, output.value));
    }
}

fn scanned(out: &mut String, scan: &Scan, operands: &[Value], depth: usize) {
    let map: Vec<String> = scan.map.iter().map(ToString::to_string).collect();
    put(out, format_args!("{{map=[{}], time={}", map.join(", "), scan.time));
    if let Stride::Chunk(c) = scan.stride {
        put(out, format_args!(", chunk={c}"));
    }
    if scan.reverse {
        out.push_str(", reverse=yes");
    }
    out.push('}');
    let pad = "  ".repeat(depth + 2);
    for ((feed, axes), value) in scan.feeds.iter().zip(operands) {
        put(out, format_args!("\n{pad}{}{} {value}", feed_name(*feed), layout(axes)));
    }
    for (kind, axes) in &scan.yields {
        put(out, format_args!("\n{pad}yield {}{}", yield_name(*kind), layout(axes)));
    }
    out.push_str(" {\n");
    body(out, &scan.body, depth + 1);
    put(out, format_args!("{}}}\n", "  ".repeat(depth)));
}

/// The name of a feed in text.
pub(super) fn feed_name(feed: Feed) -> &'static str {
    match feed {
        Feed::Shared => "shared",
        Feed::Stream => "stream",
        Feed::Step => "step",
        Feed::Initial => "initial",
        Feed::Mask => "mask",
        Feed::Reach(Reach::Before) => "before",
        Feed::Reach(Reach::At) => "at",
        Feed::Reach(Reach::After) => "after",
    }
}

/// The name of a yield in text.
pub(super) fn yield_name(kind: Yield) -> &'static str {
    match kind {
        Yield::Stream => "stream",
        Yield::Step => "step",
    }
}

fn layout(axes: &[Axis]) -> String {
    let words: Vec<String> = axes
        .iter()
        .map(|axis| match axis {
            Axis::Map(i) => format!("m{i}"),
            Axis::Time => "t".into(),
            Axis::Body => ".".into(),
        })
        .collect();
    format!("({})", words.join(" "))
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a string does not fail");
}
