//! RULER's variable tracking (Hsieh et al. 2024): one chain of assignments hidden in noise; every
//! variable of it is asked for, in order.
//!
//! A token is a byte. A chain has `hops` steps, so that `hops + 1` names are asked; the score is
//! RULER's, the share of them that are found.

use super::haystack::{NOISE, among_lines};
use super::{
    Entry, IGNORE, Metric, Options, Part, Sample, Size, Task, TaskError, Words, below,
    padded,
};
use crate::train::rng::Stream;

pub(super) const ENTRY: Entry = Entry {
    name: "variable-tracking",
    about: "every variable that a chain of assignments gives a value",
    anchors: "RULER (Hsieh et al. 2024) has it for large models alone",
    open,
};

fn open(o: &mut Options) -> Result<Task, TaskError> {
    let length = o.whole("length", 1024)?;
    let test_length = o.whole("test_length", length)?;
    let hops = o.whole("hops", 4)?;
    let least = 520 + 40 * hops;
    o.demand(
        length.min(test_length) >= least,
        format!("`length` is {least} bytes or more: the question alone takes as many"),
    )?;
    let mut task = Task::new(256, length, move |part, _, stream| {
        let room = if part == Part::Test { test_length } else { length };
        padded(draw(hops, room, stream), room, 0)
    });
    task.test_length = test_length;
    task.metric = Metric::Answers;
    task.words = Words::Bytes;
    task.size = Size { rows: 8, steps: 2000, test: 100 };
    Ok(task)
}

fn names(stream: &mut Stream, count: usize) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    while out.len() < count {
        let name: String =
            (0..5).map(|_| char::from(b'A' + below(stream, 26) as u8)).collect();
        if !out.contains(&name) {
            out.push(name);
        }
    }
    out
}

fn draw(hops: usize, length: usize, stream: &mut Stream) -> Sample {
    let names = names(stream, hops + 1);
    let value = 10_000 + below(stream, 90_000);
    let mut chain = vec![format!("VAR {} = {value}", names[0])];
    chain.extend(names.windows(2).map(|w| format!("VAR {} = VAR {} ", w[1], w[0])));
    let before = "Memorize and track the chain(s) of variable assignment hidden in the \
                  following text.\n\n";
    let after = format!(
        "\nQuestion: Find all variables that are assigned the value {value} in the text above. \
         Answer: According to the chain(s) of variable assignment in the text above, {} \
         variables are assigned the value {value}, they are: ",
        names.len()
    );
    let answer = names.join(", ");
    let seed = stream.next_u64();
    let text = |n: usize| {
        let mut places = Stream::new(seed, "context");
        let context = among_lines(&mut places, vec![NOISE.to_owned(); n], &chain);
        format!("{before}{context}{after}{answer}")
    };
    let mut lines = 0;
    while text(lines + 1).len() <= length {
        lines += 1;
    }
    let text = text(lines);
    let tokens: Vec<i32> = text.bytes().map(i32::from).collect();
    let mut targets = vec![IGNORE; tokens.len()];
    let first = text.len() - answer.len();
    for place in first..text.len() {
        if text.as_bytes()[place].is_ascii_uppercase() {
            targets[place - 1] = tokens[place];
        }
    }
    Sample { tokens, targets }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{asked, each, laid, solved, text_of};

    #[test]
    fn following_the_chain_solves_it() {
        for text in ["variable-tracking", "variable-tracking:hops=7,length=1400"] {
            solved(text, |s| {
                let text = text_of(s);
                let body = text.split("\nQuestion").next().unwrap();
                let value =
                    text.split("assigned the value ").nth(1).unwrap().split(' ').next();
                // Lines name what they give a value to, then from what.
                let lines: Vec<(&str, &str)> = body
                    .lines()
                    .filter_map(|l| l.strip_prefix("VAR ")?.split_once(" = "))
                    .map(|(name, from)| (name, from.trim_start_matches("VAR ").trim()))
                    .collect();
                let mut known = vec![value.unwrap()];
                while let Some(next) =
                    lines.iter().find(|l| l.1 == *known.last().unwrap())
                {
                    known.push(next.0);
                }
                let start = text.find("they are: ").unwrap() + 10;
                laid(s, start, &known[1..].join(", "))
            });
        }
    }

    #[test]
    fn the_chain_stands_in_order_and_its_names_are_asked() {
        each("variable-tracking", |_, s| {
            let text = text_of(s);
            let text = text.trim_end_matches('\0');
            assert_eq!(asked(s), 25);
            let body = text.split("\nQuestion").next().unwrap();
            let answer = text.rsplit("they are: ").next().unwrap();
            let names: Vec<&str> = answer.split(", ").collect();
            // Followed by hand from the value on.
            let value = text
                .split("assigned the value ")
                .nth(1)
                .unwrap()
                .split(' ')
                .next()
                .unwrap();
            let mut at = body.find(&format!("VAR {} = {value}", names[0])).unwrap();
            for pair in names.windows(2) {
                let line = format!("VAR {} = VAR {} ", pair[1], pair[0]);
                let next = body.find(&line).unwrap();
                assert!(next > at, "the chain stands in order");
                at = next;
            }
            assert_eq!(body.matches("VAR ").count(), 9);
        });
    }
}
