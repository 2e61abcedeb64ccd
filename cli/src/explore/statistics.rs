//! What scores say, with how sure: means with intervals, main effects and interactions.
//!
//! Spread is pooled: with two or three seeds a combination, the spread within combinations is
//! taken as one number for all of a round, as in an analysis of variance. An interval is the mean
//! and Student's t at 95 %.

/// Scores of one combination, one for each seed.
pub(crate) type Scores = Vec<f64>;

/// The mean.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The spread within groups, and its degrees of freedom.
pub(crate) fn pooled(groups: &[Scores]) -> (f64, usize) {
    let square = |g: &Scores| {
        let m = mean(g);
        g.iter().map(|x| (x - m) * (x - m)).sum::<f64>()
    };
    let freedom: usize = groups.iter().map(|g| g.len().saturating_sub(1)).sum();
    let total: f64 = groups.iter().map(square).sum();
    ((total / freedom.max(1) as f64).sqrt(), freedom)
}

/// Half the width of a mean's interval at 95 %; nothing where no spread is known.
pub(crate) fn half_width(spread: f64, freedom: usize, count: usize) -> Option<f64> {
    (freedom > 0 && count > 0).then(|| student(freedom) * spread / (count as f64).sqrt())
}

/// Student's t, two-sided at 95 %.
pub(crate) fn student(freedom: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201,
        2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074,
        2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
    ];
    match freedom {
        0 => f64::INFINITY,
        n if n <= 30 => TABLE[n - 1],
        // The first terms of the expansion for large n (Fisher and Cornish).
        n => 1.959_964 + 2.372_27 / n as f64 + 2.822_5 / (n as f64 * n as f64),
    }
}

/// The mean score of one choice of an axis, over all combinations that have it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Effect {
    /// The mean.
    pub(crate) mean: f64,
    /// How many combinations.
    pub(crate) count: usize,
    /// Half the interval, from the spread between those combinations.
    pub(crate) half: Option<f64>,
}

/// The main effect of every choice of an axis; nothing for a choice without a scored combination.
pub(crate) fn effects(
    rows: &[(Vec<usize>, f64)],
    axis: usize,
    choices: usize,
) -> Vec<Option<Effect>> {
    (0..choices)
        .map(|choice| {
            let of = rows.iter().filter(|(c, _)| c[axis] == choice);
            let scores: Scores = of.map(|(_, s)| *s).collect();
            let (spread, freedom) = pooled(std::slice::from_ref(&scores));
            (!scores.is_empty()).then(|| Effect {
                mean: mean(&scores),
                count: scores.len(),
                half: half_width(spread, freedom, scores.len()),
            })
        })
        .collect()
}

/// Mean scores of every pair of choices of two axes.
pub(crate) fn cells(
    rows: &[(Vec<usize>, f64)],
    axes: (usize, usize),
    counts: (usize, usize),
) -> Vec<Vec<Option<f64>>> {
    let cell = |i: usize, j: usize| {
        let of = rows.iter().filter(|(c, _)| c[axes.0] == i && c[axes.1] == j);
        let scores: Scores = of.map(|(_, s)| *s).collect();
        (!scores.is_empty()).then(|| mean(&scores))
    };
    (0..counts.0).map(|i| (0..counts.1).map(|j| cell(i, j)).collect()).collect()
}

/// How far cells are from the sum of their rows' and columns' effects: the root of the mean square
/// of what a sum cannot say. Rows and columns are fitted to the cells that are there, in turn.
pub(crate) fn interaction(cells: &[Vec<Option<f64>>]) -> f64 {
    let known: Vec<(usize, usize, f64)> = cells
        .iter()
        .enumerate()
        .flat_map(|(i, row)| {
            row.iter().enumerate().filter_map(move |(j, c)| Some((i, j, (*c)?)))
        })
        .collect();
    let columns = cells.first().map_or(0, Vec::len);
    let (mut a, mut b) = (vec![0.0; cells.len()], vec![0.0; columns]);
    for _ in 0..60 {
        for (i, value) in a.iter_mut().enumerate() {
            let left: Scores =
                known.iter().filter(|k| k.0 == i).map(|k| k.2 - b[k.1]).collect();
            *value = mean(&left);
        }
        for (j, value) in b.iter_mut().enumerate() {
            let left: Scores =
                known.iter().filter(|k| k.1 == j).map(|k| k.2 - a[k.0]).collect();
            *value = mean(&left);
        }
    }
    let off: Scores = known.iter().map(|(i, j, x)| (x - a[*i] - b[*j]).powi(2)).collect();
    mean(&off).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_students() {
        let groups = vec![vec![1.0, 3.0], vec![5.0, 5.0]];
        let (spread, freedom) = pooled(&groups);
        assert!((spread - 1.0).abs() < 1e-12 && freedom == 2);
        let half = half_width(spread, freedom, 2).unwrap();
        assert!((half - 4.303 / 2f64.sqrt()).abs() < 1e-9);
        assert_eq!(half_width(spread, 0, 2), None);
        assert!((student(30) - student(31)).abs() < 0.004);
        assert!((student(100_000) - 1.96).abs() < 1e-3);
    }

    #[test]
    fn sums_have_no_interaction() {
        let rows: Vec<(Vec<usize>, f64)> = (0..12)
            .map(|n| (vec![n / 4, n % 4], (n / 4) as f64 + 0.1 * (n % 4) as f64))
            .collect();
        let sum = cells(&rows, (0, 1), (3, 4));
        assert!(interaction(&sum) < 1e-9);
        // Also where cells are missing.
        let mut few = sum.clone();
        few[1][2] = None;
        assert!(interaction(&few) < 1e-6);
        let mut odd = sum;
        odd[0][0] = Some(5.0);
        assert!(interaction(&odd) > 0.5);
        let of = effects(&rows, 0, 4);
        assert!((of[1].as_ref().unwrap().mean - 1.15).abs() < 1e-12);
        assert_eq!((of[1].as_ref().unwrap().count, of[3].clone()), (4, None));
    }
}
