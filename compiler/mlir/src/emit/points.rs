//! Points of spaces by their numbers, and how threads share them.

use super::Emit;
use super::number::Num;
use nestor_ir::tile::Extent;

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// A number as a point of a space, the last dimension fastest.
    pub(super) fn unravelled(
        &mut self,
        n: Num<'c, 'a>,
        extents: &[Num<'c, 'a>],
    ) -> Vec<Num<'c, 'a>> {
        let mut rest = n;
        let mut point = Vec::with_capacity(extents.len());
        for (d, extent) in extents.iter().enumerate().rev() {
            match (d, extent) {
                (_, Num::Known(1)) => point.push(Num::Known(0)),
                (0, _) => point.push(rest),
                _ => {
                    point.push(self.rem(rest, *extent));
                    rest = self.div(rest, *extent);
                }
            }
        }
        point.reverse();
        point
    }

    /// The points of a space at so many numbers from one on: where whole lines lie between them, they have all but a known number of those in
    /// common.
    pub(super) fn unravelled_from(
        &mut self,
        first: Num<'c, 'a>,
        further: impl Iterator<Item = i64>,
        extents: &[Num<'c, 'a>],
    ) -> Vec<Vec<Num<'c, 'a>>> {
        let known = |n: &Num<'c, 'a>| if let Num::Known(n) = n { *n } else { 0 };
        // The outermost dimension: nothing is carried over from it.
        let outer = extents.iter().position(|n| known(n) != 1).unwrap_or(0);
        let line: i64 = extents.iter().skip(outer + 1).map(known).product();
        let point = self.unravelled(first, extents);
        let one = |by: i64| match line > 0 && by % line == 0 && !point.is_empty() {
            true => {
                let mut point = point.clone();
                point[outer] = self.add(point[outer], Num::Known(by / line));
                point
            }
            false => {
                let n = self.add(first, Num::Known(by));
                self.unravelled(n, extents)
            }
        };
        further.map(one).collect()
    }

    /// The points of a space, shared among the threads.
    pub(super) fn shared(
        &mut self,
        space: &[Extent],
        body: impl FnOnce(&mut Self, &[Num<'c, 'a>]),
    ) {
        let own = [Num::Run(self.thread), Num::Known(i64::from(self.about.threads))];
        self.strided(space, own, body);
    }

    /// The points of a space from one number on, so far apart.
    pub(super) fn strided(
        &mut self,
        space: &[Extent],
        [from, apart]: [Num<'c, 'a>; 2],
        body: impl FnOnce(&mut Self, &[Num<'c, 'a>]),
    ) {
        let extents: Vec<Num<'c, 'a>> = space.iter().map(|d| self.extent(*d)).collect();
        let mut total = Num::Known(1);
        for extent in &extents {
            total = self.mul(total, *extent);
        }
        let bounds = [from, total, apart].map(|n| self.value(n));
        let (opened, n, _) = self.b.open_for(bounds, &[]);
        let point = self.unravelled(Num::Run(n), &extents);
        body(self, &point);
        self.b.close(opened, &[]);
    }
}
