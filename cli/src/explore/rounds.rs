//! Successive halving (Jamieson and Talwalkar 2016): all combinations train a little, the better
//! ones on. Who goes on depends on scores alone, so that an exploration that was killed chooses
//! as one that was not.

use super::statistics::{Scores, half_width, mean, pooled};

/// The steps that each round ends after: the last one `steps`, each before it one of `keep` parts.
pub(crate) fn budgets(steps: u64, rounds: u32, keep: u64) -> Vec<u64> {
    let mut out: Vec<u64> =
        (0..rounds).rev().map(|r| (steps / keep.max(2).pow(r)).max(1)).collect();
    out.dedup();
    out
}

/// A combination that was measured in a round.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Standing {
    /// The combination.
    pub(crate) combination: usize,
    /// Its scores, one for each seed.
    pub(crate) scores: Scores,
    /// Their mean.
    pub(crate) mean: f64,
    /// Half the interval of the mean; nothing where there is one seed alone.
    pub(crate) half: Option<f64>,
}

/// A round's combinations, the best first; ties by number.
pub(crate) fn ranked(
    measured: Vec<(usize, Scores)>,
    more_is_better: bool,
) -> Vec<Standing> {
    let groups: Vec<Scores> = measured.iter().map(|(_, s)| s.clone()).collect();
    let (spread, freedom) = pooled(&groups);
    let mut out: Vec<Standing> = measured
        .into_iter()
        .map(|(combination, scores)| {
            let half = half_width(spread, freedom, scores.len());
            Standing { combination, mean: mean(&scores), scores, half }
        })
        .collect();
    let sign = if more_is_better { -1.0 } else { 1.0 };
    out.sort_by(|a, b| {
        let order = (sign * a.mean).total_cmp(&(sign * b.mean));
        order.then(a.combination.cmp(&b.combination))
    });
    out
}

/// How many of a ranking go on: one of `keep`, and those after them whose interval reaches the
/// mean of the last of these, up to as many again.
pub(crate) fn survivors(ranking: &[Standing], keep: u64, more_is_better: bool) -> usize {
    let first = ranking.len().div_ceil(keep.max(2) as usize);
    let Some(last) = first.checked_sub(1).and_then(|n| ranking.get(n)) else { return 0 };
    let reaches = |s: &Standing| {
        let half = s.half.unwrap_or(0.0);
        if more_is_better {
            s.mean + half >= last.mean
        } else {
            s.mean - half <= last.mean
        }
    };
    let more = ranking[first..].iter().take(first).take_while(|s| reaches(s)).count();
    first + more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_train_longer_and_longer() {
        assert_eq!(budgets(450, 3, 3), [50, 150, 450]);
        assert_eq!(budgets(2, 3, 3), [1, 2]);
        assert_eq!(budgets(7, 1, 3), [7]);
    }

    #[test]
    fn the_better_third_goes_on_with_what_cannot_be_told_from_it() {
        let scores = |values: &[f64]| -> Vec<(usize, Scores)> {
            values
                .iter()
                .enumerate()
                .map(|(n, v)| (n, vec![v - 0.01, v + 0.01]))
                .collect()
        };
        let ranking = ranked(scores(&[0.1, 0.9, 0.5, 0.89, 0.2, 0.3]), true);
        let order: Vec<usize> = ranking.iter().map(|s| s.combination).collect();
        assert_eq!(order, [1, 3, 2, 5, 4, 0]);
        assert_eq!(survivors(&ranking, 3, true), 2);
        let close = ranked(scores(&[0.9, 0.9, 0.899, 0.89, 0.2, 0.3]), true);
        assert_eq!(survivors(&close, 3, true), 4);
        let less = ranked(scores(&[3.0, 1.0, 2.0]), false);
        assert_eq!(less[0].combination, 1);
        assert_eq!(survivors(&[], 3, true), 0);
    }
}
