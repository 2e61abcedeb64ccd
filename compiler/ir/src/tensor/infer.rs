//! Types of results from types of operands: the one place that says what each op accepts.

use crate::dim::Dim;
use crate::tensor::ops::{Group, Op};
use crate::tensor::scan::{Axis, Feed, Scan, Stride, Yield};
use crate::ty::{Dims, Elem, Type};
use smallvec::{SmallVec, smallvec};
use thiserror::Error;

/// Operands that an op does not take.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{op}: {why}")]
pub struct TypeError {
    /// The op's name.
    pub op: &'static str,
    /// What is wrong.
    pub why: String,
}

/// The types of an op's results.
///
/// # Errors
/// Where the op does not take operands of these types.
pub fn infer(op: &Op, operands: &[&Type]) -> Result<SmallVec<[Type; 1]>, TypeError> {
    let info = op.info();
    let fail = |why: String| Err(TypeError { op: info.name, why });
    if let Some(arity) = info.arity
        && operands.len() != arity
    {
        return fail(format!("takes {arity} operands, not {}", operands.len()));
    }
    let result = match info.group {
        Group::Leaf => leaf(op),
        Group::Unary => unary(op, operands[0]),
        Group::Binary => binary(op, operands[0], operands[1]),
        Group::Select => select(operands),
        Group::Reduce | Group::Contract => contract(op, operands),
        Group::Move => moved(op, operands),
        Group::Index => indexed(op, operands),
        Group::Solve => solved(op, operands),
        Group::Control => return control(op, operands).or_else(fail),
        Group::Mark => marked(op, operands),
        Group::Token => return token(op, operands).or_else(fail),
    };
    match result {
        Ok(ty) => Ok(smallvec![ty]),
        Err(why) => fail(why),
    }
}

fn need(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

fn same(a: &Type, b: &Type) -> Result<(), String> {
    need(a == b, || format!("operands differ: {a} and {b}"))
}

fn of(elem: Elem, ty: &Type) -> Result<(), String> {
    need(ty.elem == elem, || format!("takes {elem:?} elements, not {ty}"))
}

fn axis_of(ty: &Type, axis: usize) -> Result<Dim, String> {
    ty.dims.get(axis).copied().ok_or_else(|| format!("{ty} has no axis {axis}"))
}

fn fixed_axis(ty: &Type, axis: usize) -> Result<usize, String> {
    let dim = axis_of(ty, axis)?;
    dim.fixed().ok_or_else(|| format!("axis {axis} of {ty} is not fixed"))
}

fn leaf(op: &Op) -> Result<Type, String> {
    Ok(match op {
        Op::Input { ty, .. } | Op::Constant { ty, .. } => ty.clone(),
        Op::Iota { axis, dims } => {
            need(*axis < dims.len(), || format!("no axis {axis}"))?;
            Type::real(dims.iter().copied())
        }
        Op::Position { dims } => {
            need(dims.len() <= 1, || "one axis at most".into())?;
            Type::real(dims.iter().copied())
        }
        other => return Err(format!("{} is no leaf", other.info().name)),
    })
}

fn unary(op: &Op, a: &Type) -> Result<Type, String> {
    match op {
        Op::Not => of(Elem::Bool, a)?,
        Op::Real => return Ok(a.with(Elem::Real)),
        _ => of(Elem::Real, a)?,
    }
    Ok(a.clone())
}

fn binary(op: &Op, a: &Type, b: &Type) -> Result<Type, String> {
    same(a, b)?;
    match op {
        Op::And | Op::Or => of(Elem::Bool, a)?,
        Op::Less | Op::LessEqual => {
            of(Elem::Real, a)?;
            return Ok(a.with(Elem::Bool));
        }
        Op::Equal => {
            need(a.elem != Elem::Bool, || "of conditions".into())?;
            return Ok(a.with(Elem::Bool));
        }
        _ => of(Elem::Real, a)?,
    }
    Ok(a.clone())
}

fn select(t: &[&Type]) -> Result<Type, String> {
    of(Elem::Bool, t[0])?;
    same(t[1], t[2])?;
    need(t[0].dims == t[1].dims, || format!("condition {} for {}", t[0], t[1]))?;
    Ok(t[1].clone())
}

fn contract(op: &Op, t: &[&Type]) -> Result<Type, String> {
    match op {
        Op::Reduce { axes, .. } => {
            of(Elem::Real, t[0])?;
            need(axes.windows(2).all(|w| w[0] < w[1]), || "axes not ascending".into())?;
            need(axes.iter().all(|&a| a < t[0].rank()), || {
                format!("no such axis in {}", t[0])
            })?;
            let kept =
                (0..t[0].rank()).filter(|i| !axes.contains(i)).map(|i| t[0].dims[i]);
            Ok(Type::real(kept))
        }
        Op::Contract { batch, sum } => {
            of(Elem::Real, t[0])?;
            of(Elem::Real, t[1])?;
            for &(l, r) in batch.iter().chain(sum) {
                let (a, b) = (axis_of(t[0], l)?, axis_of(t[1], r)?);
                need(a == b, || {
                    format!("axis {l} of {} meets axis {r} of {}", t[0], t[1])
                })?;
            }
            let used = |side: usize, i: usize| {
                batch
                    .iter()
                    .chain(sum)
                    .any(|&(l, r)| if side == 0 { l == i } else { r == i })
            };
            let mut dims: Dims = batch.iter().map(|&(l, _)| t[0].dims[l]).collect();
            for (side, ty) in t.iter().enumerate() {
                dims.extend(
                    (0..ty.rank()).filter(|&i| !used(side, i)).map(|i| ty.dims[i]),
                );
            }
            let pairs = batch.len() + sum.len();
            need(
                dims.len() + 2 * pairs == t[0].rank() + t[1].rank() + batch.len(),
                || "an axis is paired twice".into(),
            )?;
            Ok(Type::real(dims))
        }
        other => Err(format!("{} is no reduction", other.info().name)),
    }
}

fn moved(op: &Op, t: &[&Type]) -> Result<Type, String> {
    let a = t.first().copied().ok_or("takes an operand")?;
    let mut ty = a.clone();
    match op {
        Op::Reshape { dims } => {
            let split = |dims: &[Dim]| {
                let fixed: usize = dims.iter().filter_map(|d| d.fixed()).product();
                let run = dims.iter().filter(|d| d.fixed().is_none());
                let run: Vec<Dim> = run
                    .flat_map(|d| match d {
                        Dim::Samples => vec![Dim::Batch, Dim::Time],
                        other => vec![*other],
                    })
                    .collect();
                (fixed, run)
            };
            need(split(&a.dims) == split(dims), || {
                format!(
                    "{a} does not hold as many as {}",
                    Type::real(dims.iter().copied())
                )
            })?;
            ty.dims.clone_from(dims);
        }
        Op::Transpose { order } => {
            let mut seen = order.clone();
            seen.sort_unstable();
            need(seen.iter().copied().eq(0..a.rank()), || {
                format!("{order:?} is no order of {a}")
            })?;
            ty.dims = order.iter().map(|&i| a.dims[i]).collect();
        }
        Op::Broadcast { dims, axes } => {
            need(axes.len() == a.rank(), || format!("{} axes for {a}", axes.len()))?;
            need(axes.windows(2).all(|w| w[0] < w[1]), || "axes not ascending".into())?;
            for (i, &to) in axes.iter().enumerate() {
                need(dims.get(to) == Some(&a.dims[i]), || {
                    format!(
                        "axis {i} of {a} is not axis {to} of {}",
                        Type::real(dims.iter().copied())
                    )
                })?;
            }
            ty.dims.clone_from(dims);
        }
        Op::Slice { axis, start, size } => {
            let n = fixed_axis(a, *axis)?;
            need(start + size <= n, || format!("{start} + {size} of {n}"))?;
            ty.dims[*axis] = Dim::Fixed(*size);
        }
        Op::Pad { axis, before, after } => {
            of(Elem::Real, a)?;
            ty.dims[*axis] = Dim::Fixed(fixed_axis(a, *axis)? + before + after);
        }
        Op::Fit { axis, size } => {
            axis_of(a, *axis)?;
            ty.dims[*axis] = *size;
        }
        Op::Concat { axis } => {
            for other in t {
                let mut like = a.clone();
                axis_of(a, *axis)?;
                axis_of(other, *axis)?;
                like.dims[*axis] = other.dims[*axis];
                same(&like, other)?;
            }
            ty.dims[*axis] = joined(t, *axis)?;
        }
        Op::Shift { axis, .. } => {
            axis_of(a, *axis)?;
        }
        Op::Window { axis, size } => {
            if let (true, (Dim::Whole, every)) =
                (axis_of(a, *axis)? == *size, size.of_tokens())
            {
                ty.dims[*axis] = Dim::time(every);
            }
            ty.dims.insert(axis + 1, *size);
        }
        other => return Err(format!("{} moves nothing", other.info().name)),
    }
    Ok(ty)
}

/// How many entries there are one after another.
fn joined(parts: &[&Type], axis: usize) -> Result<Dim, String> {
    let dims: Dims = parts.iter().map(|ty| ty.dims[axis]).collect();
    if let [before, now] = dims[..]
        && let Some(every) = now.ticks_of()
        && before == Dim::past(every)
    {
        return Ok(Dim::whole(every));
    }
    let all: Result<Vec<usize>, String> =
        parts.iter().map(|ty| fixed_axis(ty, axis)).collect();
    Ok(Dim::Fixed(all?.iter().sum()))
}

fn indexed(op: &Op, t: &[&Type]) -> Result<Type, String> {
    of(Elem::Int, t[1])?;
    match op {
        Op::Gather => {
            need(t[0].rank() > 0, || "a scalar has no rows".into())?;
            let dims = t[1].dims.iter().chain(&t[0].dims[1..]).copied().collect();
            Ok(Type { elem: t[0].elem, dims })
        }
        Op::ScatterAdd { rows } => {
            let lead = t[1].rank();
            need(t[0].dims.get(..lead) == Some(&t[1].dims[..]), || {
                format!("values {} for indices {}", t[0], t[1])
            })?;
            let row = t[0].dims[lead..].iter().copied();
            Ok(Type::real(std::iter::once(Dim::Fixed(*rows)).chain(row)))
        }
        other => Err(format!("{} takes no index", other.info().name)),
    }
}

fn solved(op: &Op, t: &[&Type]) -> Result<Type, String> {
    let a = t[0];
    let n = a.rank();
    need(n >= 2 && a.dims[n - 1] == a.dims[n - 2], || format!("{a} is not square"))?;
    of(Elem::Real, a)?;
    match op {
        Op::SolveUnitLower { .. } | Op::Solve => {
            let x = t[1];
            need(x.rank() == n && x.dims[..n - 1] == a.dims[..n - 1], || {
                format!("{a} with {x}")
            })?;
            Ok(x.clone())
        }
        Op::InverseRoot { .. } | Op::Eigenvectors => Ok(a.clone()),
        other => Err(format!("{} solves nothing", other.info().name)),
    }
}

fn marked(op: &Op, t: &[&Type]) -> Result<Type, String> {
    match op {
        Op::Stop | Op::Anchor => Ok(t[0].clone()),
        Op::Gradient => {
            need(t[0].rank() == 0, || {
                format!("the objective is {}, not a scalar", t[0])
            })?;
            Ok(t[1].clone())
        }
        other => Err(format!("{} is no mark", other.info().name)),
    }
}

fn control(op: &Op, t: &[&Type]) -> Result<SmallVec<[Type; 1]>, String> {
    match op {
        Op::LinearScan { .. } => {
            let (a, b, init) = (t[0], t[1], t[2]);
            let n = b.rank();
            need(n >= 3 && a.rank() == n && init.rank() == n - 1, || {
                format!("{a}, {b}, {init}")
            })?;
            let square = a.dims[n - 1] == a.dims[n - 2] && a.dims[n - 1] == b.dims[n - 2];
            let lead = a.dims[..n - 2] == b.dims[..n - 2]
                && b.dims[..n - 3] == init.dims[..n - 3];
            need(square && lead && init.dims[n - 3..] == b.dims[n - 2..], || {
                format!("{a}, {b}, {init}")
            })?;
            Ok(smallvec![b.clone()])
        }
        Op::Scan { scan } => scanned(scan, t),
        other => Err(format!("{} has no control", other.info().name)),
    }
}

/// What the body sees of an operand.
pub fn seen_by_body(scan: &Scan, feed: Feed, layout: &[Axis], ty: &Type) -> Type {
    let mut dims: Dims = SmallVec::new();
    if let (Feed::Stream, Stride::Chunk(c)) = (feed, scan.stride) {
        dims.push(Dim::Fixed(c));
    }
    let body =
        layout.iter().zip(&ty.dims).filter(|(a, _)| **a == Axis::Body).map(|(_, d)| *d);
    dims.extend(body);
    Type { elem: ty.elem, dims }
}

/// The dimension that a `Step` feed or yield has along time.
pub fn steps_of(scan: &Scan) -> Result<Dim, String> {
    match (scan.time, scan.stride) {
        (time, Stride::Token) => Ok(time),
        (Dim::Fixed(n), Stride::Chunk(c)) if n % c == 0 => Ok(Dim::Fixed(n / c)),
        (time, Stride::Chunk(c)) => {
            time.chunks(c).ok_or_else(|| format!("{time} is not walked by chunks of {c}"))
        }
    }
}

fn scanned(scan: &Scan, t: &[&Type]) -> Result<SmallVec<[Type; 1]>, String> {
    need(scan.feeds.len() == t.len(), || {
        format!("{} feeds for {} operands", scan.feeds.len(), t.len())
    })?;
    let steps = steps_of(scan)?;
    let mut expected = Vec::new();
    for ((feed, layout), ty) in scan.feeds.iter().zip(t) {
        need(layout.len() == ty.rank(), || {
            format!("a layout of {} axes for {ty}", layout.len())
        })?;
        for (axis, dim) in layout.iter().zip(&ty.dims) {
            let wanted = match (axis, feed) {
                (Axis::Body, _) => *dim,
                (Axis::Map(i), _) => {
                    *scan.map.get(*i).ok_or("no such mapped dimension")?
                }
                (Axis::Time, Feed::Stream | Feed::Mask) => scan.time,
                (Axis::Time, Feed::Step) => steps,
                (Axis::Time, Feed::Shared | Feed::Initial | Feed::Reach(_)) => {
                    return Err("a shared operand has no time".into());
                }
            };
            need(wanted == *dim, || {
                format!("{dim} where the walk has {wanted}, in {ty}")
            })?;
        }
        if let Feed::Reach(_) = feed {
            let rows = match scan.stride {
                Stride::Chunk(c) => Type::real([Dim::Fixed(c)]),
                Stride::Token => Type::real([]),
            };
            need(**ty == rows, || format!("a walk by {rows} beside {ty}"))?;
        }
        if !feed.is_of_steps() {
            expected.push(seen_by_body(scan, *feed, layout, ty));
        }
    }
    let rows = match scan.stride {
        Stride::Token => Dims::new(),
        Stride::Chunk(c) => smallvec![Dim::Fixed(c)],
    };
    expected.push(Type::bool(rows.iter().copied()));
    expected.push(Type::real(rows.iter().copied()));
    need(scan.body.inputs.len() == expected.len(), || {
        format!(
            "the body has {} inputs, {} are fed",
            scan.body.inputs.len(),
            expected.len()
        )
    })?;
    for (input, wanted) in scan.body.inputs.iter().zip(&expected) {
        let found = scan.body.ty(input.value);
        need(found == wanted, || {
            format!("body input {} is {found}, fed {wanted}", input.name)
        })?;
    }
    let states: Vec<usize> = scan.states().collect();
    need(scan.body.outputs.len() == states.len() + scan.yields.len(), || {
        format!("the body has {} outputs", scan.body.outputs.len())
    })?;
    let mut results: SmallVec<[Type; 1]> = SmallVec::new();
    for (&state, output) in states.iter().zip(&scan.body.outputs) {
        let (feed, layout) = &scan.feeds[state];
        let wanted = seen_by_body(scan, *feed, layout, t[state]);
        let found = scan.body.ty(output.value);
        need(*found == wanted, || {
            format!("state {} is {wanted}, next {found}", output.name)
        })?;
        let dims = scan.map.iter().chain(&found.dims).copied().collect();
        results.push(Type { elem: found.elem, dims });
    }
    for ((kind, layout), output) in
        scan.yields.iter().zip(&scan.body.outputs[states.len()..])
    {
        let found = scan.body.ty(output.value);
        let mut body = found.dims.iter().copied();
        if let (Yield::Stream, Stride::Chunk(c)) = (kind, scan.stride) {
            need(body.next() == Some(Dim::Fixed(c)), || {
                format!("{found} is no chunk of {c}")
            })?;
        }
        let mut dims = Dims::new();
        for axis in layout {
            dims.push(match axis {
                Axis::Map(i) => *scan.map.get(*i).ok_or("no such mapped dimension")?,
                Axis::Time if *kind == Yield::Stream => scan.time,
                Axis::Time => steps,
                Axis::Body => {
                    body.next().ok_or_else(|| format!("{found} has fewer axes"))?
                }
            });
        }
        need(body.next().is_none(), || format!("{found} has more axes than its layout"))?;
        let maps = layout.iter().filter(|a| matches!(a, Axis::Map(_))).count();
        let times = layout.iter().filter(|a| **a == Axis::Time).count();
        need(maps == scan.map.len() && times == 1, || {
            "a yield has all mapped axes and time".into()
        })?;
        results.push(Type { elem: found.elem, dims });
    }
    Ok(results)
}

fn token(op: &Op, t: &[&Type]) -> Result<SmallVec<[Type; 1]>, String> {
    Ok(match op {
        Op::Read { ty, .. } => smallvec![ty.clone()],
        Op::Write { .. } => smallvec![],
        Op::Recent { size } => {
            let mut ty = t[0].clone();
            ty.dims.insert(0, *size);
            smallvec![ty]
        }
        Op::Block { size } => {
            let mut ty = t[0].clone();
            ty.dims.insert(0, Dim::Fixed(*size));
            smallvec![ty]
        }
        Op::Next { .. } | Op::Held { .. } => smallvec![t[0].clone()],
        Op::Gathered { size, .. } => {
            let mut ty = t[0].clone();
            ty.dims.insert(0, *size);
            smallvec![ty]
        }
        Op::Tick { .. } => smallvec![Type::real([])],
        Op::Exists { size, .. } => smallvec![Type::bool([*size])],
        Op::When => {
            need(t[1].elem == Elem::Bool && t[1].rank() == 0, || {
                format!("when {}", t[1])
            })?;
            smallvec![t[0].clone()]
        }
        other => return Err(format!("{} is not of a level program", other.info().name)),
    })
}
