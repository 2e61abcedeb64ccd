//! Selective copying: some tokens among others, then all of them again, in order.
//!
//! MAD's (Poli et al. 2024): of `V` tokens `V - 2` is blank and `V - 1` says copy. `copy` random
//! tokens with `T - 2 copy - 1` blanks among them, none after the last, the copy token, `copy`
//! blanks at which the tokens are asked. Mamba's (Gu and Dao 2023): 16 of `V` tokens at random
//! places among noise tokens, then as many markers, at which they are asked.

use super::{Entry, IGNORE, Options, Sample, Size, Task, TaskError, below, distinct};

pub(super) const MAD: Entry = Entry {
    name: "mad-copying",
    about: "tokens among blanks, copied in order at the end",
    anchors: "Nested Learning, table 4: Hope 99.7, Titans 99.4",
    open: mad,
};

pub(super) const MAMBA: Entry = Entry {
    name: "selective-copying",
    about: "tokens among noise, copied in order at the end",
    anchors: "Mamba (Gu and Dao 2023), T=4096: S6 99.7, S4 18.3, Hyena 28.4",
    open: mamba,
};

fn mad(o: &mut Options) -> Result<Task, TaskError> {
    let vocabulary = o.whole("vocab", 16)?;
    let length = o.whole("length", 256)?;
    let copy = o.whole("copy", 16)?;
    o.demand(vocabulary >= 4, "`vocab` is 4 or more")?;
    o.demand(copy >= 1 && length > 2 * copy, "`length` is more than twice `copy`")?;
    let (blank, mark) = (vocabulary as i32 - 2, vocabulary as i32 - 1);
    // The last of the tokens stands right before the copy token.
    let front = length - copy - 1;
    let mut task = Task::new(vocabulary, length, move |_, _, stream| {
        let mut places = distinct(stream, front - 1, copy - 1);
        places.push(front - 1);
        places.sort_unstable();
        let mut tokens = vec![blank; length];
        let mut targets = vec![IGNORE; length];
        tokens[front] = mark;
        for (n, place) in places.into_iter().enumerate() {
            let token = below(stream, vocabulary - 2) as i32;
            tokens[place] = token;
            targets[front + 1 + n] = token;
        }
        Sample { tokens, targets }
    });
    task.chance = 1.0 / (vocabulary - 2) as f64;
    task.size = Size { rows: 16, steps: 1500, test: 128 };
    Ok(task)
}

fn mamba(o: &mut Options) -> Result<Task, TaskError> {
    let kinds = o.whole("vocab", 16)?;
    let length = o.whole("length", 256)?;
    let copy = o.whole("copy", 16)?;
    o.demand(kinds >= 2, "`vocab` is 2 or more")?;
    o.demand(copy >= 1 && length >= 2 * copy, "`length` is twice `copy` or more")?;
    let (noise, mark) = (kinds as i32, kinds as i32 + 1);
    let front = length - copy;
    let mut task = Task::new(kinds + 2, length, move |_, _, stream| {
        let mut places = distinct(stream, front, copy);
        places.sort_unstable();
        let mut tokens = vec![noise; front];
        tokens.resize(length, mark);
        let mut targets = vec![IGNORE; length];
        for (n, place) in places.into_iter().enumerate() {
            let token = below(stream, kinds) as i32;
            tokens[place] = token;
            targets[front + n] = token;
        }
        Sample { tokens, targets }
    });
    task.chance = 1.0 / kinds as f64;
    task.size = Size { rows: 16, steps: 1500, test: 128 };
    Ok(task)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{asked, each, solved};
    use super::*;

    /// Tokens below `kinds`, in order, at the end.
    fn copied(s: &Sample, kinds: i32) -> Vec<i32> {
        let data: Vec<i32> = s.tokens.iter().copied().filter(|t| *t < kinds).collect();
        let mut out = vec![0; s.tokens.len() - data.len()];
        out.extend(data);
        out
    }

    #[test]
    fn copying_in_order_solves_both() {
        solved("mad-copying", |s| copied(s, 14));
        solved("selective-copying", |s| copied(s, 16));
    }

    #[test]
    fn counts_and_places_are_those_of_the_definitions() {
        each("mad-copying", |_, s| {
            let count = |t: i32| s.tokens.iter().filter(|x| **x == t).count();
            assert_eq!((count(14), count(15), asked(s)), (256 - 33 + 16, 1, 16));
            assert_eq!(s.tokens[239], 15);
            assert!(s.tokens[238] < 14, "no blank after the last token");
        });
        each("selective-copying", |_, s| {
            let count = |t: i32| s.tokens.iter().filter(|x| **x == t).count();
            assert_eq!((count(16), count(17), asked(s)), (256 - 32, 16, 16));
        });
    }
}
