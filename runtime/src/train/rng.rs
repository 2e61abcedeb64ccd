//! Random numbers that depend on nothing but a seed, a name and a count.
//!
//! SplitMix64 (Steele, Lea and Flood 2014) used as a counter: number `i` of a stream is
//! `mix(key + (i + 1) * GAMMA)`, so that any number can be had without the ones before it and a
//! resumed run needs no generator state. The key of a stream is the start of
//! SHA-256(seed, name): two parameters never share numbers, and adding a parameter to a model
//! leaves the initial values of the others as they were. Logarithm and cosine come from `libm`,
//! so that initial values are the same on every machine.

use nestor_ir::level;
use sha2::{Digest, Sha256};

/// A sequence of numbers, addressed by count.
#[derive(Clone, Debug)]
pub struct Stream {
    key: u64,
    next: u64,
}

/// How a parameter starts.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Initial {
    /// The same number everywhere.
    Constant(f64),
    /// Mean zero, this standard deviation.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Evenly from `[-bound, bound)`.
    Uniform {
        /// Half the width.
        bound: f64,
    },
    /// Orthonormal rows or columns (whichever are fewer) of the last two dimensions, times `gain`;
    /// leading dimensions count independent matrices. A vector is drawn as one row.
    Orthogonal {
        /// Length of a row.
        gain: f64,
    },
}

impl Initial {
    /// How a weight is drawn that a program says is; nothing where its numbers are said, or are another weight's.
    pub fn of(said: &level::Initial) -> Option<Self> {
        match *said {
            level::Initial::Normal(std) => Some(Self::Normal { std }),
            level::Initial::Uniform(bound) => Some(Self::Uniform { bound }),
            level::Initial::Orthogonal(gain) => Some(Self::Orthogonal { gain }),
            level::Initial::Values(_) | level::Initial::From(_) => None,
        }
    }
}

/// The initial values of the parameter at `path`, row-major; they depend on seed, path, shape
/// and kind alone.
pub fn initial_values(kind: Initial, dims: &[usize], seed: u64, path: &str) -> Vec<f64> {
    let count = dims.iter().product();
    let mut stream = Stream::new(seed, path);
    match kind {
        Initial::Constant(value) => vec![value; count],
        Initial::Normal { std } => (0..count).map(|_| std * stream.normal()).collect(),
        Initial::Uniform { bound } => {
            (0..count).map(|_| bound * (2.0 * stream.uniform() - 1.0)).collect()
        }
        Initial::Orthogonal { gain } => {
            let columns = dims.last().copied().unwrap_or(1);
            let rows = if dims.len() < 2 { 1 } else { dims[dims.len() - 2] };
            let mut out = Vec::with_capacity(count);
            while out.len() < count {
                out.extend(orthogonal(rows, columns, gain, &mut stream));
            }
            out
        }
    }
}

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

impl Stream {
    /// The stream of a seed and a name.
    pub fn new(seed: u64, name: &str) -> Self {
        let digest = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(name);
        let bytes = digest.finalize();
        let mut key = [0; 8];
        key.copy_from_slice(&bytes[..8]);
        Self { key: u64::from_le_bytes(key), next: 0 }
    }

    /// An independent stream for each index.
    pub fn fork(&self, index: u64) -> Self {
        Self { key: mix(self.at(index) ^ !self.key), next: 0 }
    }

    /// Number `index`.
    pub fn at(&self, index: u64) -> u64 {
        mix(self.key.wrapping_add(index.wrapping_add(1).wrapping_mul(GAMMA)))
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        let value = self.at(self.next);
        self.next += 1;
        value
    }

    /// A number in `[0, 1)` of 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// A number of the standard normal distribution (Box and Muller 1958; two draws a number).
    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.uniform()));
        radius * libm::cos(std::f64::consts::TAU * self.uniform())
    }

    /// A whole number below `bound`, which is at least one.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Gram and Schmidt on normal vectors, each projected twice (once leaves errors of the size of
/// the condition number). With positive lengths this is the Haar measure.
fn orthogonal(rows: usize, columns: usize, gain: f64, stream: &mut Stream) -> Vec<f64> {
    let (count, length) = (rows.min(columns), rows.max(columns));
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(count);
    while basis.len() < count {
        let mut vector: Vec<f64> = (0..length).map(|_| stream.normal()).collect();
        for _ in 0..2 {
            for earlier in &basis {
                let along = dot(earlier, &vector);
                vector.iter_mut().zip(earlier).for_each(|(v, e)| *v -= along * e);
            }
        }
        let norm = libm::sqrt(dot(&vector, &vector));
        if norm > 1e-8 {
            vector.iter_mut().for_each(|v| *v /= norm);
            basis.push(vector);
        }
    }
    let at = |r: usize, c: usize| if rows <= columns { basis[r][c] } else { basis[c][r] };
    (0..rows * columns).map(|i| gain * at(i / columns, i % columns)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_splitmix64() {
        // The reference implementation started at state 1234567 gives these numbers first.
        let stream = Stream { key: 1_234_567, next: 0 };
        let first = [stream.at(0), stream.at(1), stream.at(2)];
        let reference = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!(first, reference);
    }

    #[test]
    fn has_the_moments_it_claims() {
        let normal = initial_values(Initial::Normal { std: 0.5 }, &[200, 200], 7, "w");
        let n = normal.len() as f64;
        let mean = normal.iter().sum::<f64>() / n;
        let square = dot(&normal, &normal) / n;
        let fourth =
            normal.iter().map(|x| x.powi(4)).sum::<f64>() / n / (square * square);
        assert!(mean.abs() < 0.01, "{mean}");
        assert!((square - 0.25).abs() < 0.005, "{square}");
        assert!((fourth - 3.0).abs() < 0.1, "{fourth}");
        let uniform = initial_values(Initial::Uniform { bound: 2.0 }, &[40_000], 7, "u");
        assert!(uniform.iter().all(|x| (-2.0..2.0).contains(x)));
        let square = dot(&uniform, &uniform) / n;
        assert!((square - 4.0 / 3.0).abs() < 0.03, "{square}");
    }

    #[test]
    fn seed_and_path_decide() {
        let values =
            |seed, path| initial_values(Initial::Normal { std: 1.0 }, &[4], seed, path);
        assert_eq!(values(1, "a"), values(1, "a"));
        assert_ne!(values(1, "a"), values(2, "a"));
        assert_ne!(values(1, "a"), values(1, "b"));
        let stream = Stream::new(1, "a");
        assert_ne!(stream.fork(0).at(0), stream.fork(1).at(0));
    }

    #[test]
    fn orthogonal_is_orthogonal() {
        for (rows, columns) in [(8, 8), (5, 12), (12, 5)] {
            let dims = [3, rows, columns];
            let all = initial_values(Initial::Orthogonal { gain: 2.0 }, &dims, 3, "w");
            assert_eq!(all.len(), 3 * rows * columns);
            for w in all.chunks(rows * columns) {
                let short = rows.min(columns);
                let line = |i: usize| -> Vec<f64> {
                    if rows <= columns {
                        w[i * columns..][..columns].to_vec()
                    } else {
                        (0..rows).map(|r| w[r * columns + i]).collect()
                    }
                };
                for i in 0..short {
                    for j in 0..short {
                        let want = if i == j { 4.0 } else { 0.0 };
                        assert!((dot(&line(i), &line(j)) - want).abs() < 1e-12);
                    }
                }
            }
        }
    }
}
