//! Maps over the same points as one, where that saves reading or writing.
//!
//! ```text
//! before   map [64, 256] t4 = t0 + t1;  product t5 = x @ t4;  map [64, 256] t0 = t4 * a;  map [64, 256] b0 = t1
//! after    map [64, 256] { t4 = t0 + t1, t0 = (t0 + t1) * a, b0 = t1 };  product t5 = x @ t4
//! ```
//!
//! Two maps become one where the first may wait for the second, or the second come as early as the first: nothing in
//! between writes what the moved one touches, or reads what it writes. What the first stores and the second loads, or the
//! first loads and the second stores, must be the same element at every point. What nobody reads any more is not stored.

use nestor_ir::entity::Entity;
use nestor_ir::tile::reads::{Touches, touches};
use nestor_ir::tile::{
    Access, Expr, ExprId, Extent, Kernel, Place, Scalar, ScalarOp, Sink, Stmt, Use,
};
use smallvec::SmallVec;
use std::ops::Range;

/// Scalars of a map, transcendental ones counted as what they are made of, beyond which registers would not suffice.
const MOST_SCALARS: usize = 56;
/// Scalars that a transcendental one is made of.
const TRANSCENDENTAL: usize = 24;
/// Accesses beyond which addresses would not stay in registers.
const MOST_ACCESSES: usize = 16;

/// Which maps are joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Joining {
    /// Copies in loops from buffers that are only read stay by themselves: those of the next turn are made while this one
    /// is worked on.
    pub copies_apart: bool,
    /// Points from which a map is worth joining to another.
    pub least: usize,
}

impl Joining {
    /// For a core, to which a map costs nothing but its points.
    pub const CORES: Self = Self { copies_apart: false, least: 512 };
    /// For blocks of warps, whose threads wait for one another after every map.
    pub const WARPS: Self = Self { copies_apart: true, least: 128 };
}

/// The kernel with maps joined.
#[must_use]
pub fn merged(mut kernel: Kernel, how: Joining) -> Kernel {
    let mut body = std::mem::take(&mut kernel.body);
    let ahead = |stmt: &Stmt| how.copies_apart && is_copy(stmt, &kernel);
    within(&mut body, how.least, &|_| false, &ahead);
    let mut read = Vec::new();
    body.iter().for_each(|s| read.extend(touches(s).reads));
    forget(&mut body, &read);
    kernel.body = body;
    kernel
}

/// A map's parts.
#[derive(Clone, Copy)]
struct Parts<'s> {
    space: &'s SmallVec<[Extent; 4]>,
    expr: &'s Expr,
    loads: &'s [Access],
    sinks: &'s [(ExprId, Sink)],
}

fn parts(stmt: &Stmt) -> Option<Parts<'_>> {
    let Stmt::Map { space, expr, loads, sinks } = stmt else { return None };
    Some(Parts { space, expr, loads, sinks })
}

/// Whether a map does nothing but copy a buffer that is only read.
fn is_copy(stmt: &Stmt, kernel: &Kernel) -> bool {
    let Some(map) = parts(stmt) else { return false };
    let ([from], [(root, Sink::Store(to))]) = (map.loads, map.sinks) else {
        return false;
    };
    let read = |place: Place| match place {
        Place::Buffer(b) => kernel.buffers[b].usage == Use::Read,
        Place::Tile(_) => false,
    };
    let tile = matches!(to.place, Place::Tile(_));
    tile && read(from.place) && matches!(map.expr.scalars[*root].op, ScalarOp::Load(_))
}

/// Which statements stay by themselves.
type Alone<'a> = &'a dyn Fn(&Stmt) -> bool;

/// Joins the maps of a body, and of those that it holds; some stay by themselves, of this body and of loops.
fn within(body: &mut Vec<Stmt>, least: usize, here: Alone<'_>, in_loops: Alone<'_>) {
    for stmt in body.iter_mut() {
        match stmt {
            Stmt::Loop { body, .. } => within(body, least, in_loops, in_loops),
            Stmt::When { body, .. } => within(body, least, here, in_loops),
            _ => {}
        }
    }
    body.retain(|s| !changes_nothing(s));
    let mut touched: Vec<Touches> = body.iter().map(touches).collect();
    let mut at = 1;
    while at < body.len() {
        if parts(&body[at]).is_none() || here(&body[at]) {
            at += 1;
            continue;
        }
        // Whether the second may come as early as behind the first: nothing in between minds.
        let mut early = true;
        let found = (0..at).rev().find_map(|first| {
            let suits = !here(&body[first]) && suit(&body[first], &body[at], least);
            let found = match suits {
                true if early => Some((first, first)),
                true if apart(&touched, first, first + 1..at) => Some((first, at - 1)),
                _ => None,
            };
            early = early && touched[first].apart(&touched[at]);
            found
        });
        let Some((first, place)) = found else {
            at += 1;
            continue;
        };
        let joined = join(&body[first], &body[at]);
        for gone in [at, first] {
            body.remove(gone);
            touched.remove(gone);
        }
        touched.insert(place, touches(&joined));
        body.insert(place, joined);
        at = place.max(1);
    }
}

/// Whether a map puts every element where it has it from.
fn changes_nothing(stmt: &Stmt) -> bool {
    let Some(map) = parts(stmt) else { return false };
    let stays = |(root, sink): &(ExprId, Sink)| match (&map.expr.scalars[*root].op, sink)
    {
        (ScalarOp::Load(n), Sink::Store(to)) => same(&map.loads[*n], to),
        _ => false,
    };
    map.sinks.iter().all(stays)
}

/// The same elements, all of them there.
fn same(a: &Access, b: &Access) -> bool {
    let whole = a.bounds.is_empty() && b.bounds.is_empty();
    whole && (a.place, &a.origin, &a.strides) == (b.place, &b.origin, &b.strides)
}

/// Whether two statements are maps that would better be one.
fn suit(first: &Stmt, second: &Stmt, least: usize) -> bool {
    let (Some(a), Some(b)) = (parts(first), parts(second)) else { return false };
    a.space == b.space
        && large(a.space, least)
        && saves(a, b)
        && point_by_point(a, b)
        && fits(a, b)
}

/// Whether a statement may change places with all of some others.
fn apart(touched: &[Touches], one: usize, others: Range<usize>) -> bool {
    touched[others].iter().all(|t| t.apart(&touched[one]))
}

/// Whether a map has points enough that reading and writing is what it costs; small ones should not wait for others.
fn large(space: &[Extent], least: usize) -> bool {
    let points: Option<usize> = space.iter().map(|n| n.fixed()).product();
    points.is_none_or(|n| n >= least)
}

/// Whether one of them reads what the other has at hand.
fn saves(a: Parts<'_>, b: Parts<'_>) -> bool {
    let wide = |x: &Access| {
        let moves = x.strides.iter().zip(a.space.iter());
        moves
            .filter(|(_, n)| **n != Extent::Fixed(1))
            .all(|(s, _)| s.as_number() != Some(0))
    };
    let stored = |sinks: &[(ExprId, Sink)], x: &Access| {
        sinks.iter().any(|(_, s)| matches!(s, Sink::Store(to) if same(to, x)))
    };
    b.loads.iter().any(|x| (a.loads.contains(x) || stored(a.sinks, x)) && wide(x))
        || a.loads.iter().any(|x| stored(b.sinks, x) && wide(x))
}

/// Whether what one writes and the other touches is the same element at every point, and another at every other.
fn point_by_point(a: Parts<'_>, b: Parts<'_>) -> bool {
    let held = |writer: Parts<'_>, reader: Parts<'_>| {
        writer.sinks.iter().all(|(_, sink)| {
            let to = sink.to();
            let of_reader = reader.loads.iter().filter(|x| x.place == to.place);
            let stored = matches!(sink, Sink::Store(_)) && one_each(to, a.space);
            let mut of_reader = of_reader;
            of_reader.all(|x| stored && same(to, x))
        })
    };
    let places = |of: Parts<'_>| -> Vec<Place> {
        of.sinks.iter().map(|(_, s)| s.to().place).collect()
    };
    let both = places(a).iter().any(|p| places(b).contains(p));
    !both && held(a, b) && held(b, a)
}

/// Whether an access names another element at every point.
fn one_each(access: &Access, space: &[Extent]) -> bool {
    let each = access.strides.iter().zip(space);
    let each = each.filter(|(_, n)| **n != Extent::Fixed(1));
    let known: Option<Vec<(i64, i64)>> = each
        .map(|(s, n)| Some((s.as_number()?, i64::try_from(n.fixed()?).ok()?)))
        .collect();
    let Some(mut known) = known else { return false };
    known.sort_unstable();
    let mut beyond = 1;
    known.into_iter().all(|(stride, n)| {
        let free = stride >= beyond;
        beyond = stride * n;
        free
    })
}

/// Whether registers suffice for both, and one order of loops suits their folds.
fn fits(a: Parts<'_>, b: Parts<'_>) -> bool {
    let folded = |of: Parts<'_>| -> Option<usize> {
        of.sinks
            .iter()
            .filter_map(|(_, s)| match s {
                Sink::Fold { axes, .. } => Some(*axes),
                Sink::Store(_) => None,
            })
            .max()
    };
    let alike = match (folded(a), folded(b)) {
        (Some(x), Some(y)) => x == y,
        _ => true,
    };
    let weight = |of: Parts<'_>| -> usize {
        let one = |op: ScalarOp| if op.is_transcendental() { TRANSCENDENTAL } else { 1 };
        of.expr.scalars.values().map(|s| one(s.op)).sum()
    };
    let mut accesses: Vec<&Access> = Vec::new();
    for of in [a, b] {
        for x in of.loads.iter().chain(of.sinks.iter().map(|(_, s)| s.to())) {
            if !accesses.iter().any(|y| *y == x || same(x, y)) {
                accesses.push(x);
            }
        }
    }
    alike && weight(a) + weight(b) <= MOST_SCALARS && accesses.len() <= MOST_ACCESSES
}

/// Two maps as one; the second takes what the first stores from the first.
fn join(first: &Stmt, second: &Stmt) -> Stmt {
    let (Some(a), Some(b)) = (parts(first), parts(second)) else {
        unreachable!("both are maps");
    };
    let mut whole = Whole::default();
    let mut sinks = whole.add(a, &[], |_| true);
    let given: Vec<(Access, ExprId)> = sinks
        .iter()
        .filter_map(|(root, sink)| match sink {
            Sink::Store(to) => Some((to.clone(), *root)),
            Sink::Fold { .. } => None,
        })
        .collect();
    sinks.extend(whole.add(b, &given, |_| true));
    let Whole { expr, loads } = whole;
    Stmt::Map { space: a.space.clone(), expr, loads, sinks }
}

/// A map's program in the making: operands before users, in the order of the roots, each scalar and load once.
#[derive(Default)]
struct Whole {
    expr: Expr,
    loads: Vec<Access>,
}

impl Whole {
    /// Adds what sinks of a map take; loads of what is given are that.
    fn add(
        &mut self,
        map: Parts<'_>,
        given: &[(Access, ExprId)],
        wanted: impl Fn(&Sink) -> bool,
    ) -> Vec<(ExprId, Sink)> {
        let mut known = vec![None; map.expr.scalars.len()];
        let wanted = map.sinks.iter().filter(|(_, s)| wanted(s));
        wanted
            .map(|(r, s)| (self.scalar(map, *r, &mut known, given), s.clone()))
            .collect()
    }

    fn scalar(
        &mut self,
        map: Parts<'_>,
        id: ExprId,
        known: &mut [Option<ExprId>],
        given: &[(Access, ExprId)],
    ) -> ExprId {
        if let Some(found) = known[id.index()] {
            return found;
        }
        let scalar = &map.expr.scalars[id];
        let mut operands: SmallVec<[ExprId; 3]> = SmallVec::new();
        for o in &scalar.operands {
            operands.push(self.scalar(map, *o, known, given));
        }
        #[allow(clippy::wildcard_enum_match_arm, reason = "others stay as they are")]
        let op = match scalar.op {
            ScalarOp::Load(n) => {
                let from = &map.loads[n];
                if let Some((_, value)) = given.iter().find(|(to, _)| same(to, from)) {
                    known[id.index()] = Some(*value);
                    return *value;
                }
                ScalarOp::Load(place_of(&mut self.loads, from))
            }
            ScalarOp::Index(d, n) => {
                let offset = &map.expr.offsets[n];
                ScalarOp::Index(d, place_of(&mut self.expr.offsets, offset))
            }
            op => op,
        };
        let found = once(&mut self.expr, Scalar { op, operands, kind: scalar.kind });
        known[id.index()] = Some(found);
        found
    }
}

/// A scalar of a program, added where it was not there.
pub(crate) fn once(expr: &mut Expr, scalar: Scalar) -> ExprId {
    let there = expr.scalars.iter().find(|(_, s)| **s == scalar).map(|(id, _)| id);
    there.unwrap_or_else(|| expr.scalars.push(scalar))
}

/// Where a thing stands in a list, at its end where it did not.
pub(crate) fn place_of<A: PartialEq + Clone>(list: &mut Vec<A>, thing: &A) -> usize {
    list.iter().position(|x| x == thing).unwrap_or_else(|| {
        list.push(thing.clone());
        list.len() - 1
    })
}

/// Leaves out what maps store in tiles that nothing reads.
fn forget(body: &mut Vec<Stmt>, read: &[Place]) {
    for stmt in body.iter_mut() {
        if let Stmt::Loop { body, .. } | Stmt::When { body, .. } = stmt {
            forget(body, read);
            continue;
        }
        let Some(map) = parts(stmt) else { continue };
        let asked = |sink: &Sink| match sink.to().place {
            place @ Place::Tile(_) => read.contains(&place),
            Place::Buffer(_) => true,
        };
        if map.sinks.iter().all(|(_, s)| asked(s)) {
            continue;
        }
        let mut whole = Whole::default();
        let sinks = whole.add(map, &[], asked);
        let Whole { expr, loads } = whole;
        *stmt = Stmt::Map { space: map.space.clone(), expr, loads, sinks };
    }
    body.retain(|s| !parts(s).is_some_and(|m| m.sinks.is_empty()));
}
