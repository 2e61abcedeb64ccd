//! Multiple choice: the likeliest of the given answers to a question, by the sum of log
//! probabilities of its bytes. Every answer of a question is a held-out row; learned is running
//! text, every next byte asked.

use super::text::window;
use super::{
    Entry, IGNORE, Metric, Options, Part, Sample, Size, Task, TaskError, Words, ask,
    data, padded,
};
use serde_json::Value;

macro_rules! set {
    ($constant:ident, $name:literal, $about:literal, $file:literal, $chance:expr, $anchors:literal) => {
        pub(super) const $constant: Entry = Entry {
            name: $name,
            about: $about,
            anchors: $anchors,
            open: |o| open(o, $file, $chance),
        };
    };
}

set!(
    PIQA,
    "piqa",
    "which of two ways does it",
    "piqa_val",
    0.5,
    "MIRAS, 1.3B parameters: Moneta 73.2, Yaad 72.8, Memora 73.1"
);
set!(
    HELLASWAG,
    "hellaswag",
    "which of four ends follows",
    "hellaswag_val1000",
    0.25,
    "MIRAS, 1.3B parameters: Moneta 56.1, Yaad 56.5, Memora 56.0"
);
set!(
    ARC_EASY,
    "arc-easy",
    "school science, one of four",
    "arc_easy_test",
    0.25,
    "MIRAS, 1.3B parameters: Moneta 72.5, Yaad 71.9, Memora 71.6"
);
set!(
    ARC_CHALLENGE,
    "arc-challenge",
    "harder school science, one of four",
    "arc_challenge_test",
    0.25,
    "MIRAS, 1.3B parameters: Moneta 40.3, Yaad 40.1, Memora 37.9"
);
set!(
    WINOGRANDE,
    "winogrande",
    "whom a pronoun means, one of two",
    "winogrande_val",
    0.5,
    "MIRAS, 1.3B parameters: Moneta 59.1, Yaad 57.4, Memora 57.4"
);
set!(
    SIQA,
    "siqa",
    "what people do and feel, one of three",
    "socialiqa_val",
    1.0 / 3.0,
    "MIRAS, 1.3B parameters: Moneta 41.9, Yaad 40.7, Memora 40.2"
);
set!(
    COPA,
    "copa",
    "cause or effect, one of two",
    "copa_val",
    0.5,
    "none published at this size"
);

/// What stands before an answer, and the answer.
type Row = (String, String);

fn open(o: &mut Options, file: &str, chance: f64) -> Result<Task, TaskError> {
    let length = o.whole("length", 512)?;
    let what = "questions, {\"query\", \"choices\", \"gold\"} a line";
    let lines = data::file(o, &format!("commonsense/{file}.jsonl"), what)?;
    let (mut rows, mut known) = (Vec::<Row>::new(), Vec::new());
    for (question, line) in lines.lines().enumerate() {
        let value: Option<Value> = serde_json::from_str(line).ok();
        let Some((answers, gold)) = value.as_ref().and_then(answers) else {
            return Err(
                o.wrong(format!("line {} of {file}.jsonl is no question", question + 1))
            );
        };
        for (n, answer) in answers.into_iter().enumerate() {
            rows.push(answer);
            known.push((question, n == gold));
        }
    }
    let text = data::text(o, Part::Train)?.into_bytes();
    o.demand(!rows.is_empty(), "the file has no question")?;
    o.demand(text.len() > length, "the text has more than `length` bytes")?;
    let count = rows.len();
    let mut task = Task::new(256, length, move |part, index, stream| match part {
        Part::Train => window(&text, length, stream),
        Part::Test => sample(&rows[index % rows.len()], length),
    });
    task.metric = Metric::Choice { rows: known };
    task.chance = chance;
    task.words = Words::Bytes;
    task.size = Size { rows: 8, steps: 2000, test: count };
    Ok(task)
}

/// Every answer of a question with what stands before it, and the number of the right one.
fn answers(value: &Value) -> Option<(Vec<Row>, usize)> {
    if let (Some(query), Some(choices)) =
        (value["query"].as_str(), value["choices"].as_array())
    {
        let rows =
            choices.iter().map(|c| Some((query.to_owned(), format!(" {}", c.as_str()?))));
        return Some((rows.collect::<Option<_>>()?, value["gold"].as_u64()? as usize));
    }
    // The options stand for `_`; what follows is scored.
    let (before, after) = value["sentence"].as_str()?.split_once('_')?;
    let row = |option: &str| {
        Some((format!("{before}{}", value[option].as_str()?), after.to_owned()))
    };
    let gold = value["answer"].as_str()?.parse::<usize>().ok()?.checked_sub(1)?;
    Some((vec![row("option1")?, row("option2")?], gold))
}

/// A row whose answer is asked; what is too long loses its beginning.
fn sample((before, answer): &Row, length: usize) -> Sample {
    let text = format!("{before}{answer}").into_bytes();
    let dropped = text.len().saturating_sub(length);
    let tokens: Vec<i32> = text[dropped..].iter().map(|b| i32::from(*b)).collect();
    let mut targets = vec![IGNORE; tokens.len()];
    ask(&mut targets, &tokens, before.len().saturating_sub(dropped)..tokens.len());
    padded(Sample { tokens, targets }, length, 0)
}

#[cfg(test)]
mod tests {
    use super::super::tests::opened_in;
    use super::*;
    use crate::train::RowTally;
    use crate::train::rng::Stream;

    #[test]
    fn every_answer_is_a_row_and_the_likeliest_counts() {
        let book = "It was a dark night. ".repeat(30);
        let two = "{\"query\": \"Q:\", \"choices\": [\"yes\", \"no\", \"so\"], \"gold\": 1}\n{\"query\": \"R:\", \"choices\": [\"a\", \"b\"], \"gold\": 0}\n";
        let files = [
            ("commonsense/piqa_val.jsonl", two),
            ("books/train/a.txt", &book),
            (
                "commonsense/winogrande_val.jsonl",
                "{\"sentence\": \"Ann saw Bea so _ left.\", \"option1\": \"Ann\", \"option2\": \"Bea\", \"answer\": \"2\"}",
            ),
        ];
        let task = opened_in("piqa:length=20", &files);
        assert_eq!(task.size.test, 5);
        let s = task.sample(Part::Test, 0, &mut Stream::new(0, ""));
        let asked: String = s
            .targets
            .iter()
            .filter(|t| **t != IGNORE)
            .map(|t| char::from(*t as u8))
            .collect();
        assert_eq!(asked, " yes");
        let rows =
            |nats: [f64; 5]| nats.map(|nats| RowTally { nats, ..RowTally::default() });
        assert_eq!(task.score(&rows([3.0, 1.0, 2.0, 5.0, 6.0])), 1.0);
        assert_eq!(task.score(&rows([3.0, 4.0, 2.0, 5.0, 6.0])), 0.5);
        let task = opened_in("winogrande:length=30", &files);
        let s = task.sample(Part::Test, 1, &mut Stream::new(0, ""));
        let asked: String = s
            .targets
            .iter()
            .filter(|t| **t != IGNORE)
            .map(|t| char::from(*t as u8))
            .collect();
        assert_eq!(
            (asked.as_str(), task.metric),
            (" left.", Metric::Choice { rows: vec![(0, false), (0, true)] })
        );
    }
}
