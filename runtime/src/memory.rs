//! The memory planner: tensors that do not live at the same time share bytes of one arena.

/// A tensor that needs memory from its first to its last launch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Need {
    /// How much.
    pub bytes: usize,
    /// First launch that touches it.
    pub first: usize,
    /// Last launch that touches it.
    pub last: usize,
}

/// Offsets on cache lines, and the bytes of the whole arena. Largest first, each at the lowest
/// place where nothing that lives at the same time is.
pub fn place(needs: &[Need]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..needs.len()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(needs[*i].bytes), *i));
    let mut offsets = vec![0; needs.len()];
    let mut total = 0;
    // Placed tensors by offset: (offset, end, first, last).
    let mut placed: Vec<(usize, usize, usize, usize)> = Vec::new();
    for i in order {
        let need = needs[i];
        let bytes = need.bytes.next_multiple_of(64);
        let mut at = 0;
        for (offset, end, first, last) in &placed {
            let together = *first <= need.last && need.first <= *last;
            if together && at + bytes > *offset {
                at = at.max(*end);
            }
        }
        offsets[i] = at;
        total = total.max(at + bytes);
        let entry = (at, at + bytes, need.first, need.last);
        let position = placed.partition_point(|p| *p < entry);
        placed.insert(position, entry);
    }
    (offsets, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_lives_together_overlaps() {
        let mut seed = 1_u64;
        let mut below = |n: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((seed >> 33) as usize) % n
        };
        let needs: Vec<Need> = (0..200)
            .map(|_| {
                let first = below(50);
                Need { bytes: 1 + below(1000), first, last: first + below(6) }
            })
            .collect();
        let (offsets, total) = place(&needs);
        for (i, a) in needs.iter().enumerate() {
            assert_eq!(offsets[i] % 64, 0);
            assert!(offsets[i] + a.bytes <= total);
            for (j, b) in needs.iter().enumerate().skip(i + 1) {
                let together = a.first <= b.last && b.first <= a.last;
                let apart = offsets[i] + a.bytes <= offsets[j]
                    || offsets[j] + b.bytes <= offsets[i];
                assert!(!together || apart, "{i} and {j}");
            }
        }
        let all: usize = needs.iter().map(|n| n.bytes).sum();
        assert!(total < all / 2, "lifetimes are used: {total} of {all}");
    }
}
