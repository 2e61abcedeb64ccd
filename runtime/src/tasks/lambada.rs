//! LAMBADA (Paperno et al. 2016): the last word of a passage that only its wider context gives.
//! Learned from running text, every next byte asked; held out are the passages, the last word's
//! bytes asked, each after the true ones before it. A passage longer than `length` keeps its end.

use super::text::window;
use super::{
    Entry, IGNORE, Metric, Options, Part, Sample, Size, Task, TaskError, Words, ask,
    data, padded,
};

pub(super) const ENTRY: Entry = Entry {
    name: "lambada",
    about: "the last word of a passage",
    anchors: "Titans, table 1, perplexity at 340M parameters: Transformer++ 41.1, Gated DeltaNet 30.9, \
              Titans LMM 30.0",
    open,
};

fn open(o: &mut Options) -> Result<Task, TaskError> {
    let length = o.whole("length", 512)?;
    let what = "LAMBADA's test passages, {\"text\": ...} a line";
    let lines = data::file(o, "lambada/lambada_test.jsonl", what)?;
    let passages: Vec<Vec<u8>> = lines
        .lines()
        .filter_map(|l| {
            let value: serde_json::Value = serde_json::from_str(l).ok()?;
            Some(value["text"].as_str()?.trim().as_bytes().to_vec())
        })
        .collect();
    let text = data::text(o, Part::Train)?.into_bytes();
    o.demand(!passages.is_empty(), "the file has no passage")?;
    o.demand(text.len() > length, "the text has more than `length` bytes")?;
    let count = passages.len();
    let mut task = Task::new(256, length, move |part, index, stream| match part {
        Part::Train => window(&text, length, stream),
        Part::Test => {
            let passage = &passages[index % passages.len()];
            let kept = &passage[passage.len().saturating_sub(length)..];
            let tokens: Vec<i32> = kept.iter().map(|b| i32::from(*b)).collect();
            let word =
                kept.iter().rposition(|b| b.is_ascii_whitespace()).map_or(1, |p| p + 1);
            let mut targets = vec![IGNORE; tokens.len()];
            ask(&mut targets, &tokens, word..tokens.len());
            padded(Sample { tokens, targets }, length, 0)
        }
    });
    task.metric = Metric::Sequences;
    task.words = Words::Bytes;
    task.size = Size { rows: 8, steps: 2000, test: count.min(500) };
    Ok(task)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{asked, each_in, text_of};

    #[test]
    fn the_last_word_is_asked() {
        let book = "It was a dark night. ".repeat(30);
        let files = [
            (
                "lambada/lambada_test.jsonl",
                "{\"text\": \"He opened the door\"}\n{\"text\": \"She said no\"}\n",
            ),
            ("books/train/a.txt", &book),
        ];
        each_in("lambada:length=12", &files, |_, s| {
            let text = text_of(s);
            let expected = if text.contains("door") { 4 } else { 2 };
            assert_eq!(asked(s), expected, "{text}");
            assert!(text == "ned the door" || text == "She said no\0", "{text}");
        });
    }
}
