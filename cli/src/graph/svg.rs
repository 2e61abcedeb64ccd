//! The level graph as a picture: frequency from top to bottom, the fastest level on top.
//!
//! Levels of one clock share a row. Rows go to the right like stairs, so that every level has a
//! strip that no row above it covers: arrows to faster levels rise straight through it.

use super::{Drawing, Edge, every, word};
use nestor_compiler::level::{Clock, FlowKind};
use std::fmt::Write as _;

/// Room for the names of clocks.
const LEFT: f64 = 132.0;
const TOP: f64 = 74.0;
const BOX: (f64, f64) = (264.0, 58.0);
/// From row to row.
const ROW: f64 = 112.0;
/// How far a row lies to the right of the one above.
const STAIR: f64 = 84.0;
const GAP: f64 = 28.0;
const MARGIN: f64 = 28.0;

/// Kinds of flow, each with its colour on a light and on a dark page, and its dashes.
const KINDS: [(FlowKind, &str, &str, &str); 4] = [
    (FlowKind::Value, "#2563a8", "#79b8ff", ""),
    (FlowKind::Gradient, "#b3404a", "#ff9aa2", "6 4"),
    (FlowKind::InitialState, "#2d7d46", "#7ee2a0", ""),
    (FlowKind::Weights, "#8250b0", "#d2a8ff", "2 3"),
];

struct Place {
    x: f64,
    y: f64,
    width: f64,
    row: usize,
}

/// The picture.
pub(super) fn draw(drawing: &Drawing) -> String {
    let places = places(drawing);
    let right = places.iter().map(|p| p.x + p.width).fold(640.0, f64::max);
    let rows = places.iter().map(|p| p.row + 1).max().unwrap_or(1);
    let width = right + MARGIN;
    let height = TOP + ROW * rows as f64 - (ROW - BOX.1) + 56.0;
    let mut out = head(width, height);
    let _ = writeln!(
        out,
        "<text x=\"16\" y=\"30\" font-size=\"17\" font-weight=\"600\">{}</text>\n\
         <text x=\"16\" y=\"50\" class=\"dim\" fill=\"#57606a\">the fastest level on top; what flows between levels</text>",
        escaped(&drawing.title)
    );
    let mut said: Option<Clock> = None;
    for (node, place) in drawing.nodes.iter().zip(&places) {
        if said == Some(node.clock) {
            continue;
        }
        said = Some(node.clock);
        let middle = place.y + BOX.1 / 2.0;
        let _ = writeln!(
            out,
            "<line class=\"grid\" stroke=\"#d0d7de\" x1=\"16\" x2=\"{}\" y1=\"{middle}\" y2=\"{middle}\"/>\n\
             <text x=\"16\" y=\"{}\" class=\"dim\" fill=\"#57606a\">{}</text>",
            width - 12.0,
            middle - 6.0,
            every(node.clock)
        );
    }
    for (n, edge) in drawing.edges.iter().enumerate() {
        let path = arrow(drawing, &places, n, edge);
        let (_, colour, _, dashes) = style(edge.kind);
        let kind = place_of(edge.kind);
        let _ = writeln!(
            out,
            "<path d=\"{path}\" fill=\"none\" class=\"k{kind}\" stroke=\"{colour}\" stroke-width=\"1.7\" \
             stroke-dasharray=\"{dashes}\" marker-end=\"url(#m{kind})\"/>"
        );
    }
    for (node, place) in drawing.nodes.iter().zip(&places) {
        let Place { x, y, width, .. } = place;
        let fill = if node.memory { "#eef4fb" } else { "#ffffff" };
        let class = if node.memory { "memory" } else { "level" };
        let online = if node.online && !node.memory { " · online" } else { "" };
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{}\" rx=\"9\" class=\"{class}\" \
             fill=\"{fill}\" stroke=\"#57606a\"/>\n\
             <text x=\"{}\" y=\"{}\" font-weight=\"600\">{}</text>\n\
             <text x=\"{}\" y=\"{}\" font-size=\"12\" class=\"dim\" fill=\"#57606a\">{}{online}</text>",
            BOX.1,
            x + 14.0,
            y + 25.0,
            escaped(&shortened(&node.title(), *width)),
            x + 14.0,
            y + 44.0,
            escaped(&node.facts())
        );
    }
    legend(&mut out, drawing, height - 20.0);
    out + "</svg>\n"
}

/// One row for each clock; a row of several levels shares its width among them.
fn places(drawing: &Drawing) -> Vec<Place> {
    let mut clocks: Vec<Clock> = drawing.nodes.iter().map(|n| n.clock).collect();
    clocks.dedup();
    let rows = clocks.len();
    // The top row is as wide as all the stairs below it, so that their arrows meet it.
    let whole = BOX.0 + STAIR * (rows.saturating_sub(1)) as f64;
    let mut out = Vec::new();
    for (row, clock) in clocks.iter().enumerate() {
        let count = drawing.nodes.iter().filter(|n| n.clock == *clock).count();
        let spare = GAP * (count - 1) as f64;
        let width = match row {
            0 => ((whole - spare) / count as f64).max(BOX.0),
            _ => BOX.0,
        };
        for k in 0..count {
            out.push(Place {
                x: LEFT + STAIR * row as f64 + (width + GAP) * k as f64,
                y: TOP + ROW * row as f64,
                width,
                row,
            });
        }
    }
    out
}

/// The way of one flow. Arrows of one pair lie beside one another.
fn arrow(drawing: &Drawing, places: &[Place], n: usize, edge: &Edge) -> String {
    let pair = |e: &Edge| (e.from.min(e.to), e.from.max(e.to));
    let beside = drawing.edges[..n].iter().filter(|e| pair(e) == pair(edge)).count();
    let (from, to) = (&places[edge.from], &places[edge.to]);
    if from.row == to.row {
        let y = from.y + BOX.1 * (0.3 + 0.2 * beside as f64);
        let (start, end) = match from.x < to.x {
            true => (from.x + from.width, to.x - 2.0),
            false => (from.x, to.x + to.width + 2.0),
        };
        return format!("M{start} {y} L{end} {y}");
    }
    let (low, high) = if from.row > to.row { (from, to) } else { (to, from) };
    if edge.kind == FlowKind::Weights {
        // Whole weights go round the left side.
        let (a, b) = (low.y + BOX.1 / 2.0, high.y + BOX.1 / 2.0);
        let (start, end) =
            if from.row > to.row { ((low, a), (high, b)) } else { ((high, b), (low, a)) };
        let out = (start.0.x.min(end.0.x)) - 46.0;
        return format!(
            "M{} {} C{out} {} {out} {} {} {}",
            start.0.x,
            start.1,
            start.1,
            end.1,
            end.0.x - 2.0,
            end.1
        );
    }
    // The strip at the right end of the lower box, which no box between the two covers.
    let x = low.x + low.width - STAIR + 16.0 + 22.0 * beside as f64;
    let reach = x.clamp(high.x + 14.0, high.x + high.width - 14.0);
    let reach = if (reach - x).abs() < 1e-9 { x } else { reach - 12.0 * beside as f64 };
    let (bottom, top) = (low.y, high.y + BOX.1);
    let middle = (bottom + top) / 2.0;
    match from.row > to.row {
        true => {
            format!("M{x} {bottom} C{x} {middle} {reach} {middle} {reach} {}", top + 3.0)
        }
        false => {
            format!("M{reach} {top} C{reach} {middle} {x} {middle} {x} {}", bottom - 3.0)
        }
    }
}

fn legend(out: &mut String, drawing: &Drawing, y: f64) {
    let mut x = 16.0;
    for (kind, colour, _, dashes) in KINDS {
        if !drawing.edges.iter().any(|e| e.kind == kind) {
            continue;
        }
        let n = place_of(kind);
        let _ = writeln!(
            out,
            "<path d=\"M{x} {} L{} {}\" class=\"k{n}\" stroke=\"{colour}\" stroke-width=\"1.7\" \
             stroke-dasharray=\"{dashes}\" marker-end=\"url(#m{n})\"/>\n\
             <text x=\"{}\" y=\"{y}\" font-size=\"12\">{}</text>",
            y - 4.0,
            x + 26.0,
            y - 4.0,
            x + 36.0,
            word(kind)
        );
        x += 56.0 + 7.0 * word(kind).len() as f64 + 16.0;
    }
}

fn head(width: f64, height: f64) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"system-ui, sans-serif\" font-size=\"14\" fill=\"#1f2328\">\n<style>\n\
         @media (prefers-color-scheme: dark) {{\n.page {{ fill: #0d1117 }} text {{ fill: #e6edf3 }} .dim {{ fill: #9da7b1 }}\n\
         .grid {{ stroke: #30363d }} .level {{ fill: #161b22 }} .memory {{ fill: #14233a }}\n"
    );
    for (n, (_, _, dark, _)) in KINDS.iter().enumerate() {
        let _ = writeln!(out, ".k{n} {{ stroke: {dark} }} #m{n} path {{ fill: {dark} }}");
    }
    out += "}\n</style>\n<defs>\n";
    for (n, (_, light, _, _)) in KINDS.iter().enumerate() {
        let _ = writeln!(
            out,
            "<marker id=\"m{n}\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
             orient=\"auto\"><path d=\"M0 0 L8 4 L0 8 z\" fill=\"{light}\"/></marker>"
        );
    }
    out + "</defs>\n<rect class=\"page\" width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
}

fn place_of(kind: FlowKind) -> usize {
    KINDS.iter().position(|k| k.0 == kind).unwrap_or(0)
}

fn style(kind: FlowKind) -> (FlowKind, &'static str, &'static str, &'static str) {
    KINDS[place_of(kind)]
}

/// The end of a name that is too long for its box: the beginning says less.
fn shortened(text: &str, width: f64) -> String {
    let most = ((width - 28.0) / 8.2) as usize;
    let count = text.chars().count();
    match count > most {
        true => format!("…{}", text.chars().skip(count - most + 1).collect::<String>()),
        false => text.to_owned(),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
