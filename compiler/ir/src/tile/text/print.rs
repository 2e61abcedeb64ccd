//! A kernel as text. Equal kernels print alike, and the text says all of a kernel that is well
//! formed.

use super::affine::number;
use super::scalar::{Written, written};
use crate::entity::Entity;
use crate::tensor::Fold;
use crate::tile::{
    Access, Expr, ExprId, Extent, Index, Kernel, Part, Place, Shape, Sink, Stmt,
};
use crate::ty::Type;
use std::fmt::{self, Write};

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print(self))
    }
}

/// The text of a kernel.
pub fn print(kernel: &Kernel) -> String {
    let mut out = format!("kernel {:?} {{\n", kernel.name);
    for (b, data) in kernel.buffers.iter() {
        let ty = Type { elem: data.elem, dims: data.dims.clone() };
        let usage = usage_name(data.usage);
        put(&mut out, format_args!("  {b} {:?}: {ty} {usage}\n", data.name));
    }
    for (t, data) in kernel.tiles.iter() {
        let ty = Type { elem: data.elem, dims: data.dims.clone() };
        put(&mut out, format_args!("  {t} {:?}: {ty}\n", data.name));
    }
    if kernel.indices != told(kernel) {
        put(&mut out, format_args!("  indices {}\n", kernel.indices));
    }
    if !kernel.grid.is_empty() {
        let grid: Vec<String> =
            kernel.grid.iter().map(|(i, extent)| format!("{i} < {extent}")).collect();
        put(&mut out, format_args!("  grid {}\n", grid.join(", ")));
    }
    body(&mut out, kernel, &kernel.body, 1);
    out.push_str("}\n");
    out
}

/// How many indices the grid and the loops tell of.
pub(super) fn told(kernel: &Kernel) -> usize {
    fn loops(body: &[Stmt], top: &mut usize) {
        for stmt in body {
            if let Stmt::Loop { index, .. } = stmt {
                *top = (*top).max(index.index() + 1);
            }
            loops(stmt.inner(), top);
        }
    }
    let grid = |(i, _): &(Index, Extent)| i.index() + 1;
    let mut top = kernel.grid.iter().map(grid).max().unwrap_or(0);
    loops(&kernel.body, &mut top);
    top
}

fn body(out: &mut String, kernel: &Kernel, stmts: &[Stmt], depth: usize) {
    for stmt in stmts {
        statement(out, kernel, stmt, depth);
    }
}

fn statement(out: &mut String, kernel: &Kernel, stmt: &Stmt, depth: usize) {
    let pad = "  ".repeat(depth);
    let name = |place| name(kernel, place);
    match stmt {
        Stmt::Map { space, expr, loads, sinks } => {
            map(out, kernel, space, expr, loads, sinks, depth);
        }
        Stmt::Product { m, n, k, alpha, left, right, out: to, accumulate, shape } => {
            let sign = assignment(*accumulate);
            let alpha = if alpha.to_bits() == 1f64.to_bits() {
                String::new()
            } else {
                format!("{} * ", number(*alpha))
            };
            let shape = behind(*shape);
            let [o, l, r] = [to, left, right].map(|matrix| name(matrix.place));
            put(
                out,
                format_args!(
                    "{pad}product [{m}, {n}, {k}] {to} {sign} {alpha}{left} @ {right}{shape}  // {o} {sign} {l} @ {r}\n"
                ),
            );
        }
        Stmt::SolveUnitLower { lower, x, n, m, transpose } => {
            let transposed = if *transpose { " transposed" } else { "" };
            let (l, r) = (name(Place::Tile(*lower)), name(Place::Tile(*x)));
            put(
                out,
                format_args!(
                    "{pad}solve [{n}, {m}] {x} by {lower}{transposed}  // {r} by {l}\n"
                ),
            );
        }
        Stmt::Eliminate { a, x, n, m } => {
            let (l, r) = (name(Place::Tile(*a)), name(Place::Tile(*x)));
            put(
                out,
                format_args!("{pad}eliminate [{n}, {m}] {x} by {a}  // {r} by {l}\n"),
            );
        }
        Stmt::InverseRoot { a, basis, n, p } if p.is_infinite() => {
            let l = name(Place::Tile(*a));
            put(out, format_args!("{pad}eigenvectors [{n}] {a} in {basis}  // {l}\n"));
        }
        Stmt::InverseRoot { a, basis, n, p } => {
            let (p, l) = (number(*p), name(Place::Tile(*a)));
            put(
                out,
                format_args!("{pad}inverse_root [{n}] {a} of {p} in {basis}  // {l}\n"),
            );
        }
        Stmt::LinearScan { a, b, init, y, extent: (steps, n, m), reverse } => {
            let reverse = if *reverse { " reverse" } else { "" };
            let [ya, aa, ba, ia] = [y, a, b, init].map(|t| name(Place::Tile(*t)));
            put(
                out,
                format_args!(
                    "{pad}linear_scan [{steps}, {n}, {m}] {y} = {a} * last + {b} from {init}{reverse}  // {ya} = {aa} * last + {ba} from {ia}\n"
                ),
            );
        }
        Stmt::Gather { table, rows, index, count, width, out: to } => {
            let [t, i] = [Place::Buffer(*table), index.place].map(name);
            let o = name(to.place);
            put(
                out,
                format_args!(
                    "{pad}gather [{count}, {width}] {to} = {table}({rows}) at {index}  // {o} = {t} at {i}\n"
                ),
            );
        }
        Stmt::ScatterAdd { table, rows, index, count, width, values, share } => {
            let [t, i] = [Place::Buffer(*table), index.place].map(name);
            let v = name(values.place);
            let own = share.map_or(String::new(), |(i, n)| format!(" only {i} of {n}"));
            put(
                out,
                format_args!(
                    "{pad}scatter_add [{count}, {width}] {table}({rows}) at {index} += {values}{own}  // {t} at {i} += {v}\n"
                ),
            );
        }
        Stmt::Total { tiles } => {
            let all: Vec<String> = tiles.iter().map(ToString::to_string).collect();
            let names: Vec<String> =
                tiles.iter().map(|t| name(Place::Tile(*t))).collect();
            let (all, names) = (all.join(", "), names.join(", "));
            put(out, format_args!("{pad}total {all}  // {names}\n"));
        }
        Stmt::Loop { index, extent, part, reverse, body: inner } => {
            let reverse = if *reverse { " reverse" } else { "" };
            let part = match part {
                Part::All => String::new(),
                Part::Before(other) => format!(" before {other}"),
                Part::After(other) => format!(" after {other}"),
            };
            put(out, format_args!("{pad}loop {index} < {extent}{part}{reverse} {{\n"));
            body(out, kernel, inner, depth + 1);
            put(out, format_args!("{pad}}}\n"));
        }
        Stmt::When { value, low, high, body: inner } => {
            put(out, format_args!("{pad}when {low} <= {value} < {high} {{\n"));
            body(out, kernel, inner, depth + 1);
            put(out, format_args!("{pad}}}\n"));
        }
        Stmt::Together { body: inner } => {
            put(out, format_args!("{pad}together {{\n"));
            body(out, kernel, inner, depth + 1);
            put(out, format_args!("{pad}}}\n"));
        }
    }
}

fn map(
    out: &mut String,
    kernel: &Kernel,
    space: &[Extent],
    expr: &Expr,
    loads: &[Access],
    sinks: &[(ExprId, Sink)],
    depth: usize,
) {
    let roots: Vec<ExprId> = sinks.iter().map(|(root, _)| *root).collect();
    let Written { loads: load_lines, offsets, lines, roots } =
        written(expr, loads, &roots);
    let dims: Vec<String> = space.iter().map(ToString::to_string).collect();
    let outer = "  ".repeat(depth);
    put(out, format_args!("{outer}map [{}] ", dims.join(", ")));
    let sunk: Vec<String> = sinks
        .iter()
        .zip(&roots)
        .map(|((_, sink), root)| sink_text(sink, space.len(), root))
        .collect();
    let from = if load_lines { &[][..] } else { loads };
    let alone = !load_lines && !offsets && lines.is_empty() && sunk.len() == 1;
    if alone {
        let told = named(kernel, &sinks[0].1, from);
        put(out, format_args!("{}  // {told}\n", sunk[0]));
        return;
    }
    out.push_str("{\n");
    let pad = "  ".repeat(depth + 1);
    if load_lines {
        for (n, load) in loads.iter().enumerate() {
            let told = name(kernel, load.place);
            put(out, format_args!("{pad}l{n} = {load}  // {told}\n"));
        }
    }
    if offsets {
        for (n, offset) in expr.offsets.iter().enumerate() {
            put(out, format_args!("{pad}o{n} = {offset}\n"));
        }
    }
    for (e, text) in lines {
        put(out, format_args!("{pad}{e} = {text}\n"));
    }
    for ((_, sink), text) in sinks.iter().zip(sunk) {
        let told = named(kernel, sink, &[]);
        put(out, format_args!("{pad}{text}  // {told}\n"));
    }
    put(out, format_args!("{outer}}}\n"));
}

fn sink_text(sink: &Sink, rank: usize, root: &str) -> String {
    match sink {
        Sink::Store(to) => format!("{to} = {root}"),
        Sink::Fold { fold, axes, to, accumulate } => {
            let over: Vec<String> =
                (rank.saturating_sub(*axes)..rank).map(|d| format!("p{d}")).collect();
            let over =
                if over.is_empty() { "nothing".to_owned() } else { over.join(", ") };
            let (sign, fold) = (assignment(*accumulate), fold_name(*fold));
            format!("{to} {sign} {fold} over {over} of {root}")
        }
    }
}

/// The names of what a sink writes and of what it is made of.
fn named(kernel: &Kernel, sink: &Sink, from: &[Access]) -> String {
    let from: Vec<String> = from.iter().map(|l| name(kernel, l.place)).collect();
    let to = name(kernel, sink.to().place);
    if from.is_empty() { to } else { format!("{to} = {}", from.join(", ")) }
}

fn name(kernel: &Kernel, place: Place) -> String {
    let name = match place {
        Place::Buffer(b) => kernel.buffers.get(b).map(|b| &b.name),
        Place::Tile(t) => kernel.tiles.get(t).map(|t| &t.name),
    };
    name.map_or_else(String::new, |n| n.escape_debug().to_string())
}

fn assignment(accumulate: bool) -> &'static str {
    if accumulate { "+=" } else { "=" }
}

/// The name of a use in text.
pub(super) fn usage_name(usage: crate::tile::Use) -> &'static str {
    match usage {
        crate::tile::Use::Read => "read",
        crate::tile::Use::Write => "write",
        crate::tile::Use::Update => "update",
    }
}

/// The name of a fold in text.
pub(super) fn fold_name(fold: Fold) -> &'static str {
    match fold {
        Fold::Sum => "sum",
        Fold::Max => "max",
        Fold::Min => "min",
    }
}

/// A product's shape behind its operands.
pub(crate) fn behind(shape: Shape) -> String {
    match shape {
        Shape::Full => String::new(),
        other => format!(", {}", shape_name(other)),
    }
}

/// The name of a product's shape in text.
fn shape_name(shape: Shape) -> &'static str {
    match shape {
        Shape::Full => "full",
        Shape::OutputLower => "output lower",
        Shape::LeftLower => "left lower",
        Shape::LeftUpper => "left upper",
    }
}

fn put(out: &mut String, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a string does not fail");
}
