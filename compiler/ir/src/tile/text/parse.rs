//! Text back to a kernel.

use super::print::{behind, fold_name, told, usage_name};
use super::program::{Elements, Program};
use super::quantity::{access, affine, matrix};
use crate::entity::{Arena, Entity};
use crate::tensor::Fold;
use crate::text::{ParseError, Read, Reader};
use crate::tile::expr::kind_of;
use crate::tile::{
    BufferParam, ExprId, Index, Kernel, Part, Place, Shape, Sink, Stmt, Tile, TileData,
    Use,
};

/// Reads a kernel.
///
/// # Errors
/// Where the text is no kernel: the line, what was expected and what was found.
pub fn parse(text: &str) -> Result<Kernel, ParseError> {
    Reader::whole(text, kernel)
}

/// Reads kernels one after another.
///
/// # Errors
/// As [`parse`].
pub fn parse_all(text: &str) -> Result<Vec<Kernel>, ParseError> {
    Reader::whole(text, |r| {
        let mut out = Vec::new();
        while !r.peek().is_empty() {
            out.push(kernel(r)?);
        }
        Ok(out)
    })
}

fn kernel(r: &mut Reader) -> Read<Kernel> {
    r.need("kernel")?;
    let mut kernel = Kernel {
        name: r.string()?,
        buffers: Arena::default(),
        tiles: Arena::default(),
        indices: 0,
        grid: vec![],
        body: vec![],
    };
    r.need("{")?;
    // A declaration has a quoted name behind its id.
    while r.ahead(1).starts_with('"') {
        let is_buffer = r.peek().starts_with('b');
        if is_buffer {
            r.declared(crate::tile::Buffer::new(kernel.buffers.len()))?;
        } else {
            r.declared(Tile::new(kernel.tiles.len()))?;
        }
        let name = r.string()?;
        r.need(":")?;
        let crate::ty::Type { elem, dims } = r.ty()?;
        if is_buffer {
            let usage = r.one_of(
                "`read`, `write` or `update`",
                &[Use::Read, Use::Write, Use::Update],
                usage_name,
            )?;
            let _: crate::tile::Buffer =
                kernel.buffers.push(BufferParam { name, elem, dims, usage });
        } else {
            let _: Tile = kernel.tiles.push(TileData { name, elem, dims });
        }
    }
    let indices = if r.eat("indices") { Some(r.count()?) } else { None };
    if r.eat("grid") {
        kernel.grid = r.some(|r| {
            let index = index(r)?;
            r.need("<")?;
            Ok((index, r.dim()?))
        })?;
    }
    let elements = |place| {
        let elem = match place {
            Place::Buffer(b) => kernel.buffers.get(b)?.elem,
            Place::Tile(t) => kernel.tiles.get(t)?.elem,
        };
        Some(kind_of(elem))
    };
    let body = body(r, &elements)?;
    kernel.body = body;
    kernel.indices = indices.unwrap_or_else(|| told(&kernel));
    Ok(kernel)
}

fn index(r: &mut Reader) -> Read<Index> {
    r.id("an index", 'i')
}

fn tile(r: &mut Reader) -> Read<Tile> {
    r.id("a tile", 't')
}

/// Statements up to the closing brace.
fn body(r: &mut Reader, elements: Elements<'_>) -> Read<Vec<Stmt>> {
    let mut out = Vec::new();
    while !r.eat("}") {
        out.push(statement(r, elements)?);
    }
    Ok(out)
}

fn statement(r: &mut Reader, elements: Elements<'_>) -> Read<Stmt> {
    let at = r.peek().to_owned();
    let read = match at.as_str() {
        "product" => product,
        "solve" => solve,
        "eliminate" => eliminate,
        "inverse_root" => inverse_root,
        "eigenvectors" => eigenvectors,
        "linear_scan" => linear_scan,
        "gather" => gather,
        "scatter_add" => scatter_add,
        "total" => total,
        "map" | "loop" | "when" | "together" => {
            r.next();
            return match at.as_str() {
                "map" => map(r, elements),
                "loop" => repeat(r, elements),
                "when" => when(r, elements),
                _ => together(r, elements),
            };
        }
        _ => return Err(r.expected("a statement or `}`")),
    };
    r.next();
    read(r)
}

fn repeat(r: &mut Reader, elements: Elements<'_>) -> Read<Stmt> {
    let index = index(r)?;
    r.need("<")?;
    let extent = r.dim()?;
    let part = match () {
        () if r.eat("before") => Part::Before(self::index(r)?),
        () if r.eat("after") => Part::After(self::index(r)?),
        () => Part::All,
    };
    let reverse = r.eat("reverse");
    r.need("{")?;
    Ok(Stmt::Loop { index, extent, part, reverse, body: body(r, elements)? })
}

fn when(r: &mut Reader, elements: Elements<'_>) -> Read<Stmt> {
    let low = affine(r)?;
    r.need("<=")?;
    let value = affine(r)?;
    r.need("<")?;
    let high = affine(r)?;
    r.need("{")?;
    Ok(Stmt::When { value, low, high, body: body(r, elements)? })
}

fn together(r: &mut Reader, elements: Elements<'_>) -> Read<Stmt> {
    r.need("{")?;
    Ok(Stmt::Together { body: body(r, elements)? })
}

/// `=`, or `+=` for what starts from what is there.
fn assignment(r: &mut Reader) -> Read<bool> {
    match (r.eat("+="), r.eat("=")) {
        (false, false) => Err(r.expected("`=` or `+=`")),
        (accumulate, _) => Ok(accumulate),
    }
}

fn counts<const N: usize>(r: &mut Reader) -> Read<[usize; N]> {
    r.need("[")?;
    let all = r.list("]", Reader::count)?;
    all.try_into().map_err(|_| format!("{N} counts expected"))
}

fn product(r: &mut Reader) -> Read<Stmt> {
    let dims = r.dims()?;
    let [m, n, k] = dims[..] else {
        return Err("rows, columns and depth expected".to_owned());
    };
    let out = matrix(r)?;
    let accumulate = assignment(r)?;
    let alpha = if r.ahead(1) == "*" {
        let alpha = r.number()?;
        r.need("*")?;
        alpha
    } else {
        1.0
    };
    let left = matrix(r)?;
    r.need("@")?;
    let right = matrix(r)?;
    let shape = if r.eat(",") { shape(r)? } else { Shape::Full };
    Ok(Stmt::Product { m, n, k, alpha, left, right, out, accumulate, shape })
}

/// The shape of a product behind its operands.
pub(crate) fn shape(r: &mut Reader) -> Read<Shape> {
    let said = format!("{} {}", r.next(), r.next());
    let all = [Shape::OutputLower, Shape::LeftLower, Shape::LeftUpper];
    let found = all.into_iter().find(|s| behind(*s) == format!(", {said}"));
    found.ok_or_else(|| format!("the shape of a product expected, not `{said}`"))
}

fn solve(r: &mut Reader) -> Read<Stmt> {
    let [n, m] = counts(r)?;
    let x = tile(r)?;
    r.need("by")?;
    let lower = tile(r)?;
    Ok(Stmt::SolveUnitLower { lower, x, n, m, transpose: r.eat("transposed") })
}

fn eliminate(r: &mut Reader) -> Read<Stmt> {
    let [n, m] = counts(r)?;
    let x = tile(r)?;
    r.need("by")?;
    Ok(Stmt::Eliminate { a: tile(r)?, x, n, m })
}

fn inverse_root(r: &mut Reader) -> Read<Stmt> {
    let [n] = counts(r)?;
    let a = tile(r)?;
    r.need("of")?;
    let p = r.number()?;
    r.need("in")?;
    Ok(Stmt::InverseRoot { a, basis: tile(r)?, n, p })
}

fn eigenvectors(r: &mut Reader) -> Read<Stmt> {
    let [n] = counts(r)?;
    let a = tile(r)?;
    r.need("in")?;
    Ok(Stmt::InverseRoot { a, basis: tile(r)?, n, p: f64::INFINITY })
}

fn total(r: &mut Reader) -> Read<Stmt> {
    Ok(Stmt::Total { tiles: r.some(tile)? })
}

fn linear_scan(r: &mut Reader) -> Read<Stmt> {
    let [steps, n, m] = counts(r)?;
    let y = tile(r)?;
    r.need("=")?;
    let a = tile(r)?;
    r.need("* last +")?;
    let b = tile(r)?;
    r.need("from")?;
    let init = tile(r)?;
    let reverse = r.eat("reverse");
    Ok(Stmt::LinearScan { a, b, init, y, extent: (steps, n, m), reverse })
}

/// `[count, width]`.
fn rows(r: &mut Reader) -> Read<(crate::dim::Dim, usize)> {
    r.need("[")?;
    let count = r.dim()?;
    r.need(",")?;
    let width = r.count()?;
    r.need("]")?;
    Ok((count, width))
}

/// `b0(256)`.
fn table(r: &mut Reader) -> Read<(crate::tile::Buffer, usize)> {
    let table = r.id("a buffer", 'b')?;
    r.need("(")?;
    let rows = r.count()?;
    r.need(")")?;
    Ok((table, rows))
}

fn gather(r: &mut Reader) -> Read<Stmt> {
    let (count, width) = rows(r)?;
    let out = access(r, None)?;
    r.need("=")?;
    let (table, rows) = table(r)?;
    r.need("at")?;
    let index = access(r, None)?;
    Ok(Stmt::Gather { table, rows, index, count, width, out })
}

fn scatter_add(r: &mut Reader) -> Read<Stmt> {
    let (count, width) = rows(r)?;
    let (table, rows) = table(r)?;
    r.need("at")?;
    let index = access(r, None)?;
    r.need("+=")?;
    let values = access(r, None)?;
    let share = match r.eat("only") {
        false => None,
        true => {
            let own = self::index(r)?;
            r.need("of")?;
            Some((own, r.count()?))
        }
    };
    Ok(Stmt::ScatterAdd { table, rows, index, count, width, values, share })
}

fn map(r: &mut Reader, elements: Elements<'_>) -> Read<Stmt> {
    let space = r.dims()?;
    let mut program = Program::new(elements);
    let mut sinks = Vec::new();
    if r.eat("{") {
        while !r.eat("}") {
            match (r.peek().chars().next(), r.ahead(1)) {
                (Some('l'), "=") => program.load_line(r)?,
                (Some('o'), "=") => program.offset_line(r)?,
                (Some('e'), "=") => program.scalar_line(r)?,
                _ => sinks.push(sink(r, space.len(), &mut program)?),
            }
        }
    } else {
        sinks.push(sink(r, space.len(), &mut program)?);
    }
    let Program { expr, loads, .. } = program;
    Ok(Stmt::Map { space: space.into_iter().collect(), expr, loads, sinks })
}

fn sink(r: &mut Reader, rank: usize, program: &mut Program<'_>) -> Read<(ExprId, Sink)> {
    let to = access(r, None)?;
    let accumulate = assignment(r)?;
    let folds = [Fold::Sum, Fold::Max, Fold::Min];
    if r.ahead(1) != "over" {
        if accumulate {
            return Err(r.expected("a fold"));
        }
        return Ok((program.scalar(r)?, Sink::Store(to)));
    }
    let fold = r.one_of("`sum`, `max` or `min`", &folds, fold_name)?;
    r.need("over")?;
    let mut axes = 0;
    if !r.eat("nothing") {
        r.some(|r| {
            r.take("a dimension of the map, `p0`", |w| w.strip_prefix('p')?.parse().ok())
                .map(|_: usize| axes += 1)
        })?;
    }
    r.need("of")?;
    if axes > rank {
        return Err(format!("{axes} dimensions are folded, there are {rank}"));
    }
    Ok((program.scalar(r)?, Sink::Fold { fold, axes, to, accumulate }))
}
