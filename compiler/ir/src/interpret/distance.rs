//! How far results are from what they should be: the one measure of every check.

use super::array::{Array, Data};
use indexmap::IndexMap;

/// Distances are relative to the norm of what is expected, or to this where that is smaller.
pub const FLOOR: f64 = 1e-6;

/// `|found - expected| / max(|expected|, floor)`, Frobenius norms. Infinite where shapes or kinds differ or something is
/// not a number; what is not real is the same or infinitely far.
pub fn distance(found: &Array, expected: &Array, floor: f64) -> f64 {
    let (Data::Real(x), Data::Real(y)) = (&found.data, &expected.data) else {
        return if found == expected { 0.0 } else { f64::INFINITY };
    };
    if found.dims != expected.dims {
        return f64::INFINITY;
    }
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let off = norm(&mut x.iter().zip(y).map(|(x, y)| x - y));
    let ratio = off / norm(&mut y.iter().copied()).max(floor);
    if ratio.is_finite() { ratio } else { f64::INFINITY }
}

/// The distance of every expected tensor, above [`FLOOR`]; infinite where it is missing.
pub fn distances(
    found: &IndexMap<String, Array>,
    expected: &IndexMap<String, Array>,
) -> IndexMap<String, f64> {
    let one = |(name, expected): (&String, &Array)| {
        let off = found.get(name).map_or(f64::INFINITY, |f| distance(f, expected, FLOOR));
        (name.clone(), off)
    };
    expected.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[f64]) -> Array {
        Array::real(vec![values.len()], values.to_vec())
    }

    #[test]
    fn relative_to_what_is_expected() {
        assert_eq!(distance(&row(&[3.0, 5.0]), &row(&[3.0, 4.0]), FLOOR), 0.2);
        assert_eq!(distance(&row(&[1e-6]), &row(&[0.0]), FLOOR), 1.0);
    }

    #[test]
    fn what_cannot_be_compared_is_infinitely_far() {
        assert_eq!(distance(&row(&[1.0]), &row(&[1.0, 1.0]), FLOOR), f64::INFINITY);
        assert_eq!(distance(&row(&[f64::NAN]), &row(&[1.0]), FLOOR), f64::INFINITY);
        let missing =
            distances(&IndexMap::new(), &IndexMap::from([("y".into(), row(&[1.0]))]));
        assert_eq!(missing["y"], f64::INFINITY);
    }
}
