//! State tracking (Merrill, Petty and Sabharwal 2024): the product of the elements so far, at
//! every token. Groups that are not solvable (A5, S5) need more than constant depth; Z60 and
//! A4 x Z5, of the size of A5, do not.
//!
//! Elements are drawn evenly, with repeats; the new one stands on the right: `x1 x2 ... xt`.

use super::{Entry, Metric, Options, Part, Sample, Size, Task, TaskError, below};

const ANCHORS: &str = "Merrill, Petty and Sabharwal 2024: S5 and A5 are learned at a fixed depth \
                       by recurrent networks, not by Transformers or diagonal state-space models";

pub(super) const S3: Entry = Entry {
    name: "state-s3",
    about: "the product so far, of permutations of three",
    anchors: ANCHORS,
    open: |o| open(o, || permutations(3, false)),
};
pub(super) const A5: Entry = Entry {
    name: "state-a5",
    about: "the product so far, of even permutations of five",
    anchors: ANCHORS,
    open: |o| open(o, || permutations(5, true)),
};
pub(super) const S5: Entry = Entry {
    name: "state-s5",
    about: "the product so far, of permutations of five",
    anchors: ANCHORS,
    open: |o| open(o, || permutations(5, false)),
};
pub(super) const Z60: Entry = Entry {
    name: "state-z60",
    about: "the sum so far modulo 60",
    anchors: ANCHORS,
    open: |o| open(o, || cyclic(60)),
};
pub(super) const A4_Z5: Entry = Entry {
    name: "state-a4xz5",
    about: "the product so far in A4 x Z5: as large as A5, and solvable",
    anchors: ANCHORS,
    open: |o| open(o, || product(&permutations(4, true), &cyclic(5))),
};

/// A group by its table: `table[x][y] = x y`; element 0 is the identity.
type Table = Vec<Vec<usize>>;

fn open(o: &mut Options, table: fn() -> Table) -> Result<Task, TaskError> {
    let table = table();
    let order = table.len();
    let length = o.whole("length", 32)?;
    let test_length = o.whole("test_length", length)?;
    o.demand(length >= 1 && test_length >= 1, "`length` is 1 or more")?;
    let mut task = Task::new(order, length, move |part, _, stream| {
        let length = if part == Part::Test { test_length } else { length };
        let mut sample = Sample::default();
        let mut state = 0;
        for _ in 0..length {
            let x = below(stream, order);
            state = table[state][x];
            sample.tokens.push(x as i32);
            sample.targets.push(state as i32);
        }
        sample
    });
    task.test_length = test_length;
    task.metric = Metric::Accuracy;
    task.chance = 1.0 / order as f64;
    task.size = Size { rows: 64, steps: 1000, test: 256 };
    Ok(task)
}

fn cyclic(order: usize) -> Table {
    (0..order).map(|x| (0..order).map(|y| (x + y) % order).collect()).collect()
}

/// Permutations of `n` in lexical order, the identity first; the even ones alone where asked.
fn elements(n: usize, even: bool) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = vec![vec![]];
    for _ in 0..n {
        let longer = |p: &Vec<usize>| -> Vec<Vec<usize>> {
            let free = (0..n).filter(|x| !p.contains(x));
            free.map(|x| p.iter().copied().chain([x]).collect()).collect()
        };
        all = all.iter().flat_map(longer).collect();
    }
    let inversions = |p: &Vec<usize>| {
        (0..n)
            .flat_map(|i| (i + 1..n).map(move |j| (i, j)))
            .filter(|(i, j)| p[*i] > p[*j])
            .count()
    };
    all.retain(|p| !even || inversions(p) % 2 == 0);
    all
}

fn permutations(n: usize, even: bool) -> Table {
    let all = elements(n, even);
    let place = |p: &Vec<usize>| all.iter().position(|q| q == p).unwrap_or(0);
    let times = |p: &Vec<usize>, q: &Vec<usize>| -> Vec<usize> {
        (0..n).map(|i| q[p[i]]).collect()
    };
    all.iter().map(|p| all.iter().map(|q| place(&times(p, q))).collect()).collect()
}

fn product(a: &Table, b: &Table) -> Table {
    let (n, m) = (a.len(), b.len());
    let pair = |x: usize, y: usize| a[x / m][y / m] * m + b[x % m][y % m];
    (0..n * m).map(|x| (0..n * m).map(|y| pair(x, y)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{asked, each, solved};
    use super::*;

    #[test]
    fn tables_are_groups_of_the_right_kind() {
        let commutes =
            |t: &Table| (0..t.len()).all(|x| (0..t.len()).all(|y| t[x][y] == t[y][x]));
        let groups = [
            (permutations(3, false), 6, false),
            (permutations(5, true), 60, false),
            (permutations(5, false), 120, false),
            (cyclic(60), 60, true),
            (product(&permutations(4, true), &cyclic(5)), 60, false),
        ];
        for (t, order, abelian) in groups {
            assert_eq!((t.len(), commutes(&t)), (order, abelian));
            for x in 0..order {
                assert_eq!((t[0][x], t[x][0]), (x, x), "element 0 is the identity");
                let mut row = t[x].clone();
                row.sort_unstable();
                assert!(row.iter().copied().eq(0..order), "every element has an inverse");
                for (y, z) in [(1, 2), (order - 1, x), (x / 2, 3)] {
                    assert_eq!(t[t[x][y]][z], t[x][t[y][z]]);
                }
            }
        }
    }

    #[test]
    fn walking_solves_it() {
        for (text, n, even) in [
            ("state-s3", 3, false),
            ("state-a5", 5, true),
            ("state-s5:test_length=80", 5, false),
        ] {
            let all = elements(n, even);
            // By hand: apply each permutation to where every point is now.
            solved(text, |s| {
                let mut now: Vec<usize> = (0..n).collect();
                s.tokens
                    .iter()
                    .map(|t| {
                        now = now.iter().map(|i| all[*t as usize][*i]).collect();
                        all.iter().position(|p| *p == now).unwrap() as i32
                    })
                    .collect()
            });
        }
        solved("state-z60", |s| {
            let sum = |n: i32, t: &i32| (n + t) % 60;
            s.tokens
                .iter()
                .scan(0, |n, t| {
                    *n = sum(*n, t);
                    Some(*n)
                })
                .collect()
        });
        // Pairs of a permutation and a number, each walked by itself.
        let all = elements(4, true);
        solved("state-a4xz5", |s| {
            let (mut now, mut sum) = ((0..4).collect::<Vec<usize>>(), 0);
            let step = |t: &i32| {
                let (p, z) = (&all[*t as usize / 5], *t as usize % 5);
                now = now.iter().map(|i| p[*i]).collect();
                sum = (sum + z) % 5;
                (all.iter().position(|q| *q == now).unwrap() * 5 + sum) as i32
            };
            s.tokens.iter().map(step).collect()
        });
        each("state-a5:length=20", |_, s| assert_eq!(asked(s), 20));
    }
}
