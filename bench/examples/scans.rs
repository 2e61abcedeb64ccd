//! A recurrence number by number, `y_t = a_t y_(t-1) + b_t` for `d` entries, written by hand in two ways: in the order of its
//! tokens, workers sharing the entries, and associatively, workers sharing the tokens.
//!
//! ```text
//! in order       every worker its entries, up to 64 of them in registers, 32 tokens at a time
//! associative    one part more than workers: each its part, the first as it is, the others from zero with their
//!                gates multiplied up; what parts begin with follows; each worker the next part as it is
//! ```
//!
//! `RUSTFLAGS='-C target-cpu=native' cargo run --release -p nestor-bench --example scans -- [TOKENS [WORKERS [ROUNDS]]]` prints
//! nanoseconds a token, the least of all rounds, which take both ways in turn, and how far the results are apart.

#![allow(clippy::print_stdout, reason = "it is a command")]

use std::ops::Range;
use std::sync::{Barrier, Mutex};
use std::time::Instant;

/// Tokens after which the next entries are taken, so that rows stay in a cache.
const CHUNK: usize = 32;

/// Gates and terms, `[tokens, d]`.
#[derive(Clone, Copy)]
struct Given<'a> {
    a: &'a [f32],
    b: &'a [f32],
    d: usize,
}

/// `N` entries from `at` on over these tokens; `put` takes every row of results.
fn walk<const N: usize>(
    given: Given<'_>,
    tokens: Range<usize>,
    at: usize,
    state: &mut [f32],
    mut put: impl FnMut(usize, &[f32; N]),
) {
    let mut own = [0.0; N];
    own.copy_from_slice(state);
    for t in tokens {
        let row = t * given.d + at;
        let (a, b) = (&given.a[row..row + N], &given.b[row..row + N]);
        for i in 0..N {
            own[i] = a[i] * own[i] + b[i];
        }
        put(t, &own);
    }
    state.copy_from_slice(&own);
}

/// What `N` entries from `at` on are multiplied by over these tokens, and what they are where they begin with zero.
fn moved<const N: usize>(
    given: Given<'_>,
    tokens: Range<usize>,
    at: usize,
    gates: &mut [f32],
    ends: &mut [f32],
) {
    let (mut product, mut own) = ([0.0; N], [0.0; N]);
    product.copy_from_slice(gates);
    own.copy_from_slice(ends);
    for t in tokens {
        let row = t * given.d + at;
        let (a, b) = (&given.a[row..row + N], &given.b[row..row + N]);
        for i in 0..N {
            own[i] = a[i] * own[i] + b[i];
            product[i] *= a[i];
        }
    }
    gates.copy_from_slice(&product);
    ends.copy_from_slice(&own);
}

/// All tokens in order, for entries `from..` as many as `state` has; `y` is `[tokens, entries]`.
fn in_order<const N: usize>(
    given: Given<'_>,
    tokens: Range<usize>,
    from: usize,
    state: &mut [f32],
    y: &mut [f32],
) {
    let (first, width) = (tokens.start, state.len());
    for chunk in tokens.clone().step_by(CHUNK) {
        let rows = chunk..(chunk + CHUNK).min(tokens.end);
        for (n, own) in state.chunks_mut(N).enumerate() {
            walk::<N>(given, rows.clone(), from + n * N, own, |t, row| {
                let to = (t - first) * width + n * N;
                y[to..to + N].copy_from_slice(row);
            });
        }
    }
}

/// What these tokens make of a state, all entries: what it is multiplied by, and what is added.
fn from_zero<const N: usize>(
    given: Given<'_>,
    tokens: Range<usize>,
    gates: &mut [f32],
    ends: &mut [f32],
) {
    for chunk in tokens.clone().step_by(CHUNK) {
        let rows = chunk..(chunk + CHUNK).min(tokens.end);
        let both = gates.chunks_mut(N).zip(ends.chunks_mut(N));
        for (n, (gates, ends)) in both.enumerate() {
            moved::<N>(given, rows.clone(), n * N, gates, ends);
        }
    }
}

/// A worker's time from the moment when all are there, of which the longest counts.
fn timed(barrier: &Barrier, longest: &Mutex<f64>, work: impl FnOnce()) {
    barrier.wait();
    let begun = Instant::now();
    work();
    let mut longest = longest.lock().expect("nobody panics");
    *longest = longest.max(begun.elapsed().as_secs_f64());
}

/// Seconds of a call whose workers share the entries; each has results `[tokens, entries]` of its own.
fn by_entries<const N: usize>(given: Given<'_>, ys: &mut [Vec<f32>]) -> f64 {
    let (barrier, longest) = (Barrier::new(ys.len()), Mutex::new(0.0));
    let (share, time) = (given.d / ys.len(), given.a.len() / given.d);
    std::thread::scope(|scope| {
        for (w, y) in ys.iter_mut().enumerate() {
            let (barrier, longest) = (&barrier, &longest);
            scope.spawn(move || {
                let mut state = vec![0.0; share];
                timed(barrier, longest, || {
                    in_order::<N>(given, 0..time, w * share, &mut state, y);
                });
            });
        }
    });
    longest.into_inner().expect("nobody panics")
}

/// Seconds of a call whose workers share the tokens; every part has results `[tokens, d]` of its own.
fn by_tokens<const N: usize>(
    given: Given<'_>,
    parts: &[Range<usize>],
    ys: &mut [Vec<f32>],
) -> f64 {
    let d = given.d;
    let workers = parts.len() - 1;
    let (barrier, longest) = (Barrier::new(workers), Mutex::new(0.0));
    // What every part makes of a state: factors and terms.
    let made: Vec<Mutex<(Vec<f32>, Vec<f32>)>> =
        (0..workers).map(|_| Mutex::new((vec![1.0; d], vec![0.0; d]))).collect();
    let (first, others) = ys.split_at_mut(1);
    let mut first = first.first_mut();
    std::thread::scope(|scope| {
        for (w, y) in others.iter_mut().enumerate() {
            let (barrier, longest, made) = (&barrier, &longest, &made);
            let first = first.take();
            scope.spawn(move || {
                let mut state = vec![0.0; d];
                timed(barrier, longest, || {
                    let part = parts[w].clone();
                    let mut own = made[w].lock().expect("nobody panics");
                    let (gates, ends) = &mut *own;
                    match first {
                        Some(first) => in_order::<N>(given, part, 0, ends, first),
                        None => from_zero::<N>(given, part, gates, ends),
                    }
                    drop(own);
                    barrier.wait();
                    for before in &made[..=w] {
                        let before = before.lock().expect("nobody panics");
                        for (i, s) in state.iter_mut().enumerate() {
                            *s = before.0[i] * *s + before.1[i];
                        }
                    }
                    in_order::<N>(given, parts[w + 1].clone(), 0, &mut state, y);
                });
            });
        }
    });
    longest.into_inner().expect("nobody panics")
}

/// Both ways at one size, and how far they are apart.
fn measured<const N: usize>(
    d: usize,
    time: usize,
    workers: usize,
    rounds: usize,
) -> ([f64; 2], f32) {
    // Any numbers will do; gates below 1.
    let number =
        |i: usize| (i.wrapping_mul(2_654_435_761) >> 7 & 0xffff) as f32 / 65536.0;
    let a: Vec<f32> = (0..time * d).map(|i| 0.998 + 0.002 * number(i)).collect();
    let b: Vec<f32> = (0..time * d).map(|i| number(i + 7) - 0.5).collect();
    let given = Given { a: &a, b: &b, d };
    let cut = |w: usize| w * time / (workers + 1);
    let parts: Vec<Range<usize>> = (0..=workers).map(|w| cut(w)..cut(w + 1)).collect();
    let share = d / workers;
    let mut entries: Vec<Vec<f32>> = vec![vec![0.0; time * share]; workers];
    let mut tokens: Vec<Vec<f32>> =
        parts.iter().map(|p| vec![0.0; p.len() * d]).collect();
    let mut least = [f64::INFINITY; 2];
    for _ in 0..rounds {
        let found = [
            by_entries::<N>(given, &mut entries),
            by_tokens::<N>(given, &parts, &mut tokens),
        ];
        least.iter_mut().zip(found).for_each(|(least, found)| *least = least.min(found));
    }
    let rows = tokens.iter().flat_map(|y| y.chunks(d)).enumerate();
    let apart = rows.flat_map(|(t, row)| {
        let own = move |i: usize| entries_at(t, i, share);
        row.iter().enumerate().map(move |(i, y)| (own(i), *y))
    });
    let apart = apart.map(|((w, at), y)| (entries[w][at] - y).abs());
    (least.map(|seconds| seconds * 1e9 / time as f64), apart.fold(0.0, f32::max))
}

/// Which worker has an entry of a token, and where.
fn entries_at(t: usize, i: usize, share: usize) -> (usize, usize) {
    (i / share, t * share + i % share)
}

fn main() {
    let given: Vec<usize> =
        std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let of = |n: usize, otherwise| given.get(n).copied().unwrap_or(otherwise);
    let (time, workers, rounds) = (of(0, 8192), of(1, 2), of(2, 50));
    println!("{time} tokens, {workers} workers; nanoseconds a token");
    println!("entries of a worker\tin order\tassociative\tapart");
    let line = |each: usize, ([order, parts], apart): ([f64; 2], f32)| {
        println!("{each}\t{order:.2}\t{parts:.2}\t{apart:.1e}");
    };
    line(8, measured::<8>(8 * workers, time, workers, rounds));
    line(16, measured::<16>(16 * workers, time, workers, rounds));
    for each in [64, 128, 512, 2048] {
        line(each, measured::<64>(each * workers, time, workers, rounds));
    }
}
