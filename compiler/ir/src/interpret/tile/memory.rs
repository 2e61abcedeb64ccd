//! Elements of places: where an access finds them, and who has touched them.

use super::Machine;
use crate::entity::Entity;
use crate::tile::{Access, Matrix, Place};

/// Which points of the grid have touched each element of a buffer: none, one, or `MANY`.
pub(super) struct Traces {
    writer: Vec<u32>,
    reader: Vec<u32>,
}

const NONE: u32 = 0;
const MANY: u32 = u32::MAX;

impl Traces {
    pub(super) fn new(elements: usize) -> Self {
        Self { writer: vec![NONE; elements], reader: vec![NONE; elements] }
    }
}

/// An access at this point of the grid: numbers instead of quantities.
pub(super) struct Spot {
    place: Place,
    origin: i64,
    strides: Vec<i64>,
    bounds: Vec<(i64, Vec<i64>, i64, i64)>,
    pad: f64,
}

impl Spot {
    /// The element at a point of the iteration space, where the bounds hold.
    pub(super) fn element(&self, point: &[usize]) -> Option<i64> {
        let moved = |strides: &[i64]| -> i64 {
            strides.iter().zip(point).map(|(s, i)| s * *i as i64).sum()
        };
        let inside = self.bounds.iter().all(|(offset, strides, low, high)| {
            let at = offset + moved(strides);
            *low <= at && at < *high
        });
        inside.then(|| self.origin + moved(&self.strides))
    }
}

impl Machine<'_> {
    pub(super) fn spot(&self, a: &Access) -> Spot {
        let bounds = a.bounds.iter().map(|b| {
            let [offset, low, high] = [&b.offset, &b.low, &b.high].map(|q| self.value(q));
            (offset, b.strides.to_vec(), low, high)
        });
        Spot {
            place: a.place,
            origin: self.value(&a.origin),
            strides: a.strides.iter().map(|s| self.value(s)).collect(),
            bounds: bounds.collect(),
            pad: a.pad,
        }
    }

    /// The element numbers of a matrix, row-major.
    pub(super) fn matrix(&self, x: &Matrix, rows: usize, columns: usize) -> Vec<i64> {
        let [origin, row, column] = [&x.origin, &x.row, &x.column].map(|q| self.value(q));
        let entries =
            (0..rows as i64).flat_map(|r| (0..columns as i64).map(move |c| (r, c)));
        entries.map(|(r, c)| origin + r * row + c * column).collect()
    }

    pub(super) fn load(&mut self, spot: &Spot, point: &[usize]) -> Result<f64, String> {
        match spot.element(point) {
            Some(element) => self.read(spot.place, element),
            None => Ok(spot.pad),
        }
    }

    pub(super) fn store(&mut self, spot: &Spot, point: &[usize], x: f64) -> super::Done {
        match spot.element(point) {
            Some(element) => self.write(spot.place, element, x),
            None => Ok(()),
        }
    }

    pub(super) fn read(&mut self, place: Place, element: i64) -> Result<f64, String> {
        let at = self.inside(place, element)?;
        match place {
            Place::Tile(t) => Ok(self.tiles[t.index()][at]),
            Place::Buffer(b) => {
                let Traces { writer, reader } = &mut self.traces[b.index()];
                if writer[at] != NONE && writer[at] != self.point {
                    return Err(format!(
                        "{place}[{at}] is read where another point wrote"
                    ));
                }
                let only = reader[at] == NONE || reader[at] == self.point;
                reader[at] = if only { self.point } else { MANY };
                Ok(self.buffers[b.index()][at])
            }
        }
    }

    pub(super) fn write(&mut self, place: Place, element: i64, x: f64) -> super::Done {
        let at = self.inside(place, element)?;
        match place {
            Place::Tile(t) => self.tiles[t.index()][at] = x,
            Place::Buffer(b) => {
                let Traces { writer, reader } = &mut self.traces[b.index()];
                if [writer[at], reader[at]].iter().any(|p| *p != NONE && *p != self.point)
                {
                    let what = "is written where another point reads or writes";
                    return Err(format!("{place}[{at}] {what}"));
                }
                writer[at] = self.point;
                self.buffers[b.index()][at] = x;
            }
        }
        Ok(())
    }

    fn inside(&self, place: Place, element: i64) -> Result<usize, String> {
        let count = match place {
            Place::Tile(t) => self.tiles[t.index()].len(),
            Place::Buffer(b) => self.buffers[b.index()].len(),
        };
        usize::try_from(element)
            .ok()
            .filter(|at| *at < count)
            .ok_or_else(|| format!("{place}[{element}] is outside its {count} elements"))
    }
}
