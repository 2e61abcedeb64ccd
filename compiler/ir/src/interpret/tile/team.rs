//! The points of a team, statement by statement: what each of them does before any does the next.

use super::{Done, Machine};
use crate::entity::Entity;
use crate::tile::{Kernel, Stmt, Tile};

/// What a point has for itself.
struct Member {
    tiles: Vec<Vec<f64>>,
    indices: Vec<i64>,
    point: u32,
}

impl Machine<'_> {
    /// Runs all points of a kernel whose teams are the points along its grid's last index.
    pub(super) fn teams(&mut self, kernel: &Kernel, grid: &[usize]) -> Done {
        let mut members = Vec::new();
        for point in crate::interpret::array::indices(grid) {
            self.begin(kernel, &point);
            members.push(Member {
                tiles: self.tiles.clone(),
                indices: self.indices.clone(),
                point: self.point,
            });
            if members.len() == kernel.team() {
                self.together(&kernel.body, &mut members)?;
                members.clear();
            }
        }
        Ok(())
    }

    fn together(&mut self, body: &[Stmt], members: &mut [Member]) -> Done {
        for stmt in body {
            match stmt {
                Stmt::Total { tiles } => tiles.iter().for_each(|t| total(*t, members)),
                Stmt::Loop { index, extent, part, reverse, body } if stmt.meets() => {
                    let n = self.size(*extent) as i64;
                    // Members differ in the grid's last index alone, which is no walk's.
                    let (first, n) = part.range(n, |i| members[0].indices[i.index()]);
                    for i in 0..n {
                        let turn = first + if *reverse { n - 1 - i } else { i };
                        members.iter_mut().for_each(|m| m.indices[index.index()] = turn);
                        self.together(body, members)?;
                    }
                }
                Stmt::When { value, low, high, body } if stmt.meets() => {
                    let mut held = Vec::new();
                    for member in &mut *members {
                        self.as_member(member, |m| {
                            let v = m.value(value);
                            held.push(m.value(low) <= v && v < m.value(high));
                            Ok(())
                        })?;
                    }
                    if held.iter().any(|h| *h != held[0]) {
                        return Err("a team parts where it is to meet".to_owned());
                    }
                    if held[0] {
                        self.together(body, members)?;
                    }
                }
                stmt => {
                    for member in &mut *members {
                        self.as_member(member, |m| m.stmt(stmt))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn as_member(
        &mut self,
        member: &mut Member,
        act: impl FnOnce(&mut Self) -> Done,
    ) -> Done {
        let mut change = |machine: &mut Self| {
            std::mem::swap(&mut machine.tiles, &mut member.tiles);
            std::mem::swap(&mut machine.indices, &mut member.indices);
            std::mem::swap(&mut machine.point, &mut member.point);
        };
        change(self);
        let done = act(self);
        change(self);
        done
    }
}

/// Every member's tile becomes the sum of all.
fn total(tile: Tile, members: &mut [Member]) {
    let n = tile.index();
    let mut sum = members[0].tiles[n].clone();
    for member in &members[1..] {
        sum.iter_mut().zip(&member.tiles[n]).for_each(|(s, x)| *s += x);
    }
    members.iter_mut().for_each(|m| m.tiles[n].clone_from(&sum));
}
