//! Induction heads (Olsson et al. 2022; as set up by Gu and Dao 2023): a special token stands once
//! somewhere, a random token after it; the sequence ends with the special token, and the token
//! that followed it is asked.

use super::{Entry, IGNORE, Options, Part, Sample, Size, Task, TaskError, below};

pub(super) const ENTRY: Entry = Entry {
    name: "induction",
    about: "what followed the special token the first time",
    anchors: "Mamba (Gu and Dao 2023): learned at T=256, Mamba keeps 1.00 up to a million tokens, \
              attention fails beyond twice its length",
    open,
};

fn open(o: &mut Options) -> Result<Task, TaskError> {
    let kinds = o.whole("vocab", 16)?;
    let length = o.whole("length", 64)?;
    let test_length = o.whole("test_length", length)?;
    o.demand(kinds >= 2, "`vocab` is 2 or more")?;
    o.demand(length >= 3 && test_length >= 3, "`length` is 3 or more")?;
    let special = kinds as i32;
    let mut task = Task::new(kinds + 1, length, move |part, _, stream| {
        let length = if part == Part::Test { test_length } else { length };
        let mut tokens: Vec<i32> =
            (0..length).map(|_| below(stream, kinds) as i32).collect();
        let at = below(stream, length - 2);
        tokens[at] = special;
        tokens[length - 1] = special;
        let mut targets = vec![IGNORE; length];
        targets[length - 1] = tokens[at + 1];
        Sample { tokens, targets }
    });
    task.test_length = test_length;
    task.chance = 1.0 / kinds as f64;
    task.size = Size { rows: 64, steps: 1000, test: 512 };
    Ok(task)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{asked, each, solved};

    #[test]
    fn the_token_after_the_special_one_is_asked_at_the_end() {
        each("induction", |_, s| {
            assert_eq!(s.tokens.iter().filter(|t| **t == 16).count(), 2);
            assert_eq!((s.tokens[63], asked(s)), (16, 1));
        });
        solved("induction:length=20,test_length=50", |s| {
            let at = s.tokens.iter().position(|t| *t == 16).unwrap();
            vec![s.tokens[at + 1]; s.tokens.len()]
        });
    }
}
