//! A kernel's statements in an order in which less is kept at a time.
//!
//! ```text
//! before   t0 = ..  t1 = ..  b0 = f(t1)  b1 = g(t0)       two tiles live together
//! after    t1 = ..  b0 = f(t1)  t0 = ..  b1 = g(t0)       one after the other
//! ```
//!
//! To find the least of all orders takes too long; the best is taken of a few that are found one statement at a time, from the first to the last or
//! from the last to the first, or several side by side (`several`).

mod several;

use nestor_ir::entity::Entity;
use nestor_ir::tile::reads::{Touches, touches};
use nestor_ir::tile::{Kernel, Place, Tile};

/// The kernel in the best of some orders; `bytes` are those of a tile, `room` those that all of a kernel's take.
pub fn by_room(
    kernel: &Kernel,
    bytes: &dyn Fn(Tile) -> i64,
    room: &dyn Fn(&Kernel) -> i64,
) -> Kernel {
    let work = Work::of(kernel, bytes);
    let mut backwards = work.turned().least();
    backwards.reverse();
    let orders = [work.least(), backwards, work.in_depth(), several::found(&work)];
    let ordered = |order: Vec<usize>| {
        let body = order.into_iter().map(|n| kernel.body[n].clone()).collect();
        Kernel { body, ..kernel.clone() }
    };
    let all = std::iter::once(kernel.clone()).chain(orders.map(ordered));
    all.min_by_key(|kernel| room(kernel)).expect("there are some")
}

/// Statements, by number.
struct Work {
    /// Those that must come before each, and those that must come behind it.
    before: Vec<Vec<usize>>,
    behind: Vec<Vec<usize>>,
    /// The tiles that each touches, with their bytes.
    tiles: Vec<Vec<(usize, i64)>>,
    /// How many touch each tile.
    touched: Vec<usize>,
}

impl Work {
    fn of(kernel: &Kernel, bytes: &dyn Fn(Tile) -> i64) -> Self {
        let all: Vec<Touches> = kernel.body.iter().map(touches).collect();
        let mut before = vec![Vec::new(); all.len()];
        let mut behind = before.clone();
        for (n, own) in all.iter().enumerate() {
            for other in (0..n).filter(|other| !own.apart(&all[*other])) {
                before[n].push(other);
                behind[other].push(n);
            }
        }
        let tiles: Vec<Vec<(usize, i64)>> =
            all.iter().map(|touched| tiles(touched, bytes)).collect();
        let mut touched = vec![0; kernel.tiles.len()];
        tiles.iter().flatten().for_each(|(t, _)| touched[*t] += 1);
        Self { before, behind, tiles, touched }
    }

    /// The same from the last to the first.
    fn turned(&self) -> Self {
        let (before, behind) = (self.behind.clone(), self.before.clone());
        let (tiles, touched) = (self.tiles.clone(), self.touched.clone());
        Self { before, behind, tiles, touched }
    }

    /// Next comes what leaves the least behind, of what nothing stands in the way of.
    fn least(&self) -> Vec<usize> {
        let mut live = Live::new(self);
        let mut out = Vec::new();
        let mut open: Vec<usize> = (0..self.tiles.len()).collect();
        while !open.is_empty() {
            let ready = open
                .iter()
                .filter(|n| self.before[**n].iter().all(|other| !open.contains(other)));
            let next = *ready.min_by_key(|n| live.grows(**n)).expect("one is ready");
            live.add(next);
            out.push(next);
            open.retain(|n| *n != next);
        }
        out
    }

    /// Each statement that nothing follows, with all that must come before it, one after the other.
    fn in_depth(&self) -> Vec<usize> {
        let mut out = Vec::new();
        (0..self.before.len()).for_each(|n| {
            if !self.before.iter().any(|others| others.contains(&n)) {
                self.with_all_before(n, &mut out);
            }
        });
        out
    }

    fn with_all_before(&self, n: usize, out: &mut Vec<usize>) {
        if out.contains(&n) {
            return;
        }
        for other in &self.before[n] {
            self.with_all_before(*other, out);
        }
        out.push(n);
    }
}

/// What lives while statements follow one another.
#[derive(Clone)]
struct Live<'w> {
    work: &'w Work,
    /// How many have yet to touch each tile.
    left: Vec<usize>,
    bytes: i64,
}

impl<'w> Live<'w> {
    fn new(work: &'w Work) -> Self {
        Self { work, left: work.touched.clone(), bytes: 0 }
    }

    /// What comes with a statement, and what goes behind it.
    fn changes(&self, n: usize) -> [i64; 2] {
        let of = |holds: &dyn Fn(usize) -> bool| {
            let own = self.work.tiles[n].iter();
            own.filter(|(t, _)| holds(*t)).map(|(_, bytes)| bytes).sum()
        };
        [of(&|t| self.left[t] == self.work.touched[t]), of(&|t| self.left[t] == 1)]
    }

    fn grows(&self, n: usize) -> i64 {
        let [comes, goes] = self.changes(n);
        comes - goes
    }

    /// Adds a statement; gives what lives while it is worked on.
    fn add(&mut self, n: usize) -> i64 {
        let [comes, goes] = self.changes(n);
        let here = self.bytes + comes;
        self.bytes = here - goes;
        self.work.tiles[n].iter().for_each(|(t, _)| self.left[*t] -= 1);
        here
    }
}

/// The tiles that a statement touches, each once.
fn tiles(touched: &Touches, bytes: &dyn Fn(Tile) -> i64) -> Vec<(usize, i64)> {
    let mut out: Vec<(usize, i64)> = Vec::new();
    for place in touched.reads.iter().chain(&touched.writes) {
        if let Place::Tile(tile) = place
            && !out.iter().any(|(t, _)| *t == tile.index())
        {
            out.push((tile.index(), bytes(*tile)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::by_room;
    use nestor_ir::tile::lifetimes::{LINE, Turn, shared_of};
    use nestor_ir::tile::text::parse;
    use nestor_ir::tile::{Kernel, Tile};

    #[test]
    fn what_is_done_with_a_tile_follows_it() {
        let text = r#"kernel "two" {
  b0 "a": [64] read
  b1 "b": [64] write
  b2 "c": [64] write
  t0 "x": [64]
  t1 "y": [64]
  indices 1
  grid i0 < 1
  map [64] t0[0; 1] = b0[0; 1]
  map [64] t1[0; 1] = exp(b0[0; 1])
  map [64] b1[0; 1] = neg(t1[0; 1])
  map [64] b2[0; 1] = neg(t0[0; 1])
}
"#;
        let kernel = parse(text).expect("a kernel");
        let room = |kernel: &Kernel| {
            let all: Vec<Tile> = kernel.tiles.keys().collect();
            shared_of(kernel, &|_| 4, &all, (LINE, Turn::ByBegin)).bytes
        };
        let found = by_room(&kernel, &|_| 256, &room);
        assert_eq!(found.body, [0, 3, 1, 2].map(|n| kernel.body[n].clone()));
    }
}
