//! Maps over columns being put together: rows are written out.

use crate::merge::{once, place_of};
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tile::{
    Access, Affine, Bound, Expr, ExprId, Place, Scalar, ScalarKind, ScalarOp, Sink, Stmt,
    Tile,
};
use smallvec::{SmallVec, smallvec};
use std::collections::BTreeMap;

/// Rows of a map, of which a thread has all in its registers.
const MOST_ROWS: usize = 16;
/// Scalars of all rows, at most: more take long to compile.
const MOST_SCALARS: usize = 2048;

/// A program for one column, being put together.
#[derive(Default)]
pub(super) struct Columns {
    /// How many columns there must be.
    least: usize,
    /// Of how many lanes each has its columns: as many equal parts of all rows, one after the other.
    lanes: usize,
    /// How many there are; zero before the first map.
    width: usize,
    expr: Expr,
    loads: Vec<Access>,
    /// What rows of tiles hold that these maps have written, by where they begin in the first lane.
    rows: BTreeMap<(Tile, i64), ExprId>,
    /// How far the lanes of these tiles are from one another.
    apart: BTreeMap<Tile, i64>,
    /// What goes to memory.
    stores: Vec<(ExprId, Access)>,
    /// What is loaded as it was before.
    before: Vec<Place>,
}

impl Columns {
    /// Of so many columns at least, in so many lanes.
    pub(super) fn of(least: usize, lanes: usize) -> Self {
        Self { least, lanes, ..Self::default() }
    }

    /// Whether a statement's points are rows of the same columns.
    pub(super) fn suit(&self, stmt: &Stmt) -> bool {
        self.rows_of(stmt).is_some()
    }

    /// The dimensions of a lane's rows, and how many columns there are.
    fn rows_of(&self, stmt: &Stmt) -> Option<(Vec<usize>, usize)> {
        let Stmt::Map { space, .. } = stmt else { return None };
        let (width, outer) = space.split_last()?;
        let width = width.fixed().filter(|n| *n >= self.least)?;
        let mut outer: Vec<usize> =
            outer.iter().map(|d| d.fixed()).collect::<Option<_>>()?;
        if self.lanes > 1 {
            let first = outer.first_mut().filter(|n| n.is_multiple_of(self.lanes))?;
            *first /= self.lanes;
        }
        let same = self.width == 0 || self.width == width;
        let few = (1..=MOST_ROWS).contains(&outer.iter().product());
        (same && few).then_some((outer, width))
    }

    /// Takes in a statement; nothing where it is none that could be, and nothing of this is of use then.
    pub(super) fn add(&mut self, stmt: &Stmt) -> Option<()> {
        let Stmt::Map { expr, loads, sinks, .. } = stmt else { return None };
        let (outer, width) = self.rows_of(stmt)?;
        let rows: usize = outer.iter().product();
        self.width = width;
        let mut stored = Vec::new();
        for row in 0..rows {
            let lane = outer.first().copied().filter(|_| self.lanes > 1);
            let point = Point { row: point(&outer, row), lane };
            let mut values: Vec<ExprId> = Vec::with_capacity(expr.scalars.len());
            for scalar in expr.scalars.values() {
                let value = match scalar.op {
                    ScalarOp::Load(n) => self.load(&loads[n], &point, scalar.kind)?,
                    ScalarOp::Index(d, n) => self.index(d, &expr.offsets[n], &point),
                    _ => {
                        let operands = scalar.operands.iter().map(|o| values[o.index()]);
                        self.scalar(scalar.op, operands.collect(), scalar.kind)
                    }
                };
                values.push(value);
            }
            for (root, sink) in sinks {
                let Sink::Store(to) = sink else { return None };
                if let Some(to) = point.of(to) {
                    stored.push((values[root.index()], to));
                }
            }
        }
        for (value, to) in stored {
            self.store(value, to)?;
        }
        // What one statement puts to memory, later ones neither read nor write.
        let written: Vec<Place> = self.stores.iter().map(|(_, to)| to.place).collect();
        for place in written {
            place_of(&mut self.before, &place);
        }
        (self.expr.scalars.len() <= MOST_SCALARS).then_some(())
    }

    /// The most numbers that a column has at a time, where rows of these tiles are looked at later.
    pub(super) fn held(&self, wanted: impl Fn(Tile) -> bool) -> usize {
        let rows = self.rows.iter().filter(|((tile, _), _)| wanted(*tile));
        let stored = self.stores.iter().map(|(v, _)| *v);
        self.expr.held(rows.map(|(_, v)| *v).chain(stored))
    }

    /// The map; rows of tiles are stored where they are wanted.
    pub(super) fn stmt(self, wanted: impl Fn(Tile) -> bool) -> Stmt {
        let row = |((tile, origin), value): ((Tile, i64), ExprId)| {
            let to = Access {
                place: Place::Tile(tile),
                origin: Affine::number(origin),
                strides: smallvec![Affine::number(self.apart[&tile]), Affine::number(1)],
                bounds: SmallVec::new(),
                pad: 0.0,
            };
            (value, to)
        };
        let rows = self.rows.into_iter().filter(|((tile, _), _)| wanted(*tile)).map(row);
        let all: Vec<(ExprId, Access)> = rows.chain(self.stores).collect();
        let (expr, loads, roots) = needed(&self.expr, &self.loads, &all);
        let to = all.into_iter().map(|(_, to)| Sink::Store(to));
        Stmt::Map {
            space: smallvec![Dim::Fixed(self.lanes), Dim::Fixed(self.width)],
            expr,
            loads,
            sinks: roots.into_iter().zip(to).collect(),
        }
    }

    fn load(&mut self, from: &Access, point: &Point, kind: ScalarKind) -> Option<ExprId> {
        let Some(from) = point.of(from) else {
            let pad = ScalarOp::Constant(from.pad);
            let is_number = kind == ScalarKind::Real;
            return is_number.then(|| self.scalar(pad, SmallVec::new(), kind));
        };
        if let Place::Tile(tile) = from.place
            && let Some(&apart) = self.apart.get(&tile)
        {
            let row = self.row(&from).filter(|row| row.1 == apart)?.0;
            return self.rows.get(&(tile, row)).copied();
        }
        if self.stores.iter().any(|(_, to)| to.place == from.place) {
            return None;
        }
        place_of(&mut self.before, &from.place);
        let n = place_of(&mut self.loads, &from);
        Some(self.scalar(ScalarOp::Load(n), SmallVec::new(), kind))
    }

    fn store(&mut self, value: ExprId, to: Access) -> Option<()> {
        if self.before.contains(&to.place) {
            return None;
        }
        match to.place {
            Place::Tile(tile) => {
                let (row, apart) = self.row(&to)?;
                if *self.apart.entry(tile).or_insert(apart) != apart {
                    return None;
                }
                self.rows.insert((tile, row), value);
            }
            Place::Buffer(_) => self.stores.push((value, to)),
        }
        Some(())
    }

    /// Where the row begins in the first lane that is all that an access names, column by column, and how far lanes are
    /// apart; nothing where those meet.
    fn row(&self, a: &Access) -> Option<(i64, i64)> {
        let origin = a.origin.as_number()?;
        let columns = a.strides.last()?.as_number()? == 1;
        let whole = a.bounds.is_empty() && origin % self.width as i64 == 0;
        let apart = a.strides[0].as_number()?;
        let within = 0 <= origin && origin + self.width as i64 <= apart;
        (columns && whole && (self.lanes == 1 || within)).then_some((origin, apart))
    }

    /// An index of a row as a number, where it is one.
    fn index(&mut self, d: usize, offset: &Affine, point: &Point) -> ExprId {
        let real = ScalarKind::Real;
        let Some(p) = point.row.get(d) else {
            let n = place_of(&mut self.expr.offsets, offset);
            return self.scalar(ScalarOp::Index(1, n), SmallVec::new(), real);
        };
        let offset = offset.clone().plus(&Affine::number(*p as i64));
        let rows = point.lane.filter(|_| d == 0);
        if let (None, Some(n)) = (rows, offset.as_number()) {
            return self.scalar(ScalarOp::Constant(n as f64), SmallVec::new(), real);
        }
        let in_lane = |columns: &mut Self, offset: &Affine| {
            let n = place_of(&mut columns.expr.offsets, offset);
            columns.scalar(ScalarOp::Index(0, n), SmallVec::new(), real)
        };
        let found = in_lane(self, &offset);
        let Some(rows) = rows.filter(|rows| *rows > 1) else { return found };
        // Lane l begins with row `rows l`.
        let lane = in_lane(self, &Affine::default());
        let others = ScalarOp::Constant(rows as f64 - 1.0);
        let others = self.scalar(others, SmallVec::new(), real);
        let before = self.scalar(ScalarOp::Mul, smallvec![lane, others], real);
        self.scalar(ScalarOp::Add, smallvec![found, before], real)
    }

    /// A scalar, each once; what is added outside of bounds, and factors of one, are left out.
    fn scalar(
        &mut self,
        op: ScalarOp,
        operands: SmallVec<[ExprId; 3]>,
        kind: ScalarKind,
    ) -> ExprId {
        let number = |id: ExprId| match self.expr.scalars[id].op {
            ScalarOp::Constant(c) => Some(c),
            _ => None,
        };
        let neutral = match op {
            ScalarOp::Add => 0.0,
            ScalarOp::Mul => 1.0,
            _ => f64::NAN,
        };
        if let [a, b] = operands[..] {
            let both = match (op, number(a), number(b)) {
                (ScalarOp::Add, Some(a), Some(b)) => Some(a + b),
                (ScalarOp::Mul, Some(a), Some(b)) => Some(a * b),
                (_, Some(a), _) if a == neutral => return b,
                (_, _, Some(b)) if b == neutral => return a,
                _ => None,
            };
            if let Some(n) = both {
                return self.scalar(ScalarOp::Constant(n), SmallVec::new(), kind);
            }
        }
        once(&mut self.expr, Scalar { op, operands, kind })
    }
}

/// A row's point.
fn point(outer: &[usize], mut row: usize) -> Vec<usize> {
    let mut point = vec![0; outer.len()];
    for (p, n) in point.iter_mut().zip(outer).rev() {
        (*p, row) = (row % n, row / n);
    }
    point
}

/// A row of every lane.
struct Point {
    /// Its place in the first lane, by dimensions.
    row: Vec<usize>,
    /// How many of the first dimension a lane has, where there is more than one.
    lane: Option<usize>,
}

impl Point {
    /// An access there: what is left is along lanes and columns. Nothing where the row is outside of its bounds.
    fn of(&self, a: &Access) -> Option<Access> {
        let moved = |from: &Affine, strides: &[Affine]| {
            self.row.iter().zip(strides).fold(from.clone(), |at, (p, stride)| {
                at.plus(&stride.clone().scaled(*p as i64))
            })
        };
        let rows = self.lane.unwrap_or_default() as i64;
        let mut bounds: SmallVec<[Bound; 1]> = SmallVec::new();
        for bound in &a.bounds {
            let strides: Vec<Affine> =
                bound.strides.iter().map(|s| Affine::number(*s)).collect();
            let offset = moved(&bound.offset, &strides);
            let along = bound.strides.last().copied().unwrap_or(0);
            let lane = bound.strides.first().map_or(0, |s| s * rows);
            let known = [&offset, &bound.low, &bound.high].map(Affine::as_number);
            match (known, lane, along) {
                ([Some(n), Some(low), Some(high)], 0, 0) if low <= n && n < high => {}
                ([Some(_), Some(_), Some(_)], 0, 0) => return None,
                _ => bounds.push(Bound {
                    offset,
                    strides: smallvec![lane, along],
                    ..bound.clone()
                }),
            }
        }
        let along = a.strides.last().cloned().unwrap_or_default();
        let lane = a.strides.first().map(|s| s.clone().scaled(rows)).unwrap_or_default();
        Some(Access {
            origin: moved(&a.origin, &a.strides),
            strides: smallvec![lane, along],
            bounds,
            ..a.clone()
        })
    }
}

/// What some scalars need of a program and its loads, and which they are there.
fn needed(
    expr: &Expr,
    loads: &[Access],
    roots: &[(ExprId, Access)],
) -> (Expr, Vec<Access>, Vec<ExprId>) {
    let mut wanted = vec![false; expr.scalars.len()];
    roots.iter().for_each(|(root, _)| wanted[root.index()] = true);
    let mut ids: Vec<(ExprId, &Scalar)> = expr.scalars.iter().collect();
    for (id, scalar) in ids.iter().rev() {
        if wanted[id.index()] {
            scalar.operands.iter().for_each(|o| wanted[o.index()] = true);
        }
    }
    ids.retain(|(id, _)| wanted[id.index()]);
    let mut out = Expr { offsets: expr.offsets.clone(), ..Expr::default() };
    let (mut kept, mut place) = (Vec::new(), vec![None; expr.scalars.len()]);
    for (id, scalar) in ids {
        let mut scalar = scalar.clone();
        if let ScalarOp::Load(n) = &mut scalar.op {
            kept.push(loads[*n].clone());
            *n = kept.len() - 1;
        }
        for operand in &mut scalar.operands {
            *operand = place[operand.index()].expect("operands come first");
        }
        place[id.index()] = Some(out.scalars.push(scalar));
    }
    let roots = roots.iter().filter_map(|(root, _)| place[root.index()]).collect();
    (out, kept, roots)
}
