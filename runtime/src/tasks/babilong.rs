//! BABILong (Kuratov et al. 2024): the facts of a bAbI story in order, hidden between sentences of
//! a book, then its question.
//!
//! A token is a byte; `length` of them hold text, question and answer. A story with several
//! questions is several samples, each with all facts before its question and no earlier question.
//! Samples whose facts take more than half of the text are left out. Slots between sentences are
//! drawn evenly, with replacement. To learn from: stories and books to train on; held out: the
//! others. The answer's bytes are asked, each after the true ones before it. Where a question's ten
//! thousand samples to learn from are not there (`en-10k`), the thousand of `en` and those that
//! were split off to validate on (`en-valid-10k`) take their place.

use super::{
    Entry, IGNORE, Metric, Options, Part, Sample, Size, Task, TaskError, Words, ask,
    below, data, padded,
};
use crate::train::rng::Stream;

macro_rules! question {
    ($constant:ident, $name:literal, $about:literal, $begins:literal) => {
        pub(super) const $constant: Entry = Entry {
            name: $name,
            about: $about,
            anchors: "Titans, figure 6, has curves alone; large models fall off at 128K to 256K tokens",
            open: |o| open(o, $begins),
        };
    };
}

question!(QA1, "babilong-qa1", "one fact of a story hidden in a book", "qa1_");
question!(QA2, "babilong-qa2", "two facts of a story hidden in a book", "qa2_");
question!(QA3, "babilong-qa3", "three facts of a story hidden in a book", "qa3_");
question!(QA4, "babilong-qa4", "relations of two, hidden in a book", "qa4_");
question!(QA5, "babilong-qa5", "relations of three, hidden in a book", "qa5_");

/// Facts, question, answer.
type Story = (Vec<String>, String, String);

fn open(o: &mut Options, begins: &str) -> Result<Task, TaskError> {
    let length = o.whole("length", 512)?;
    let test_length = o.whole("test_length", length)?;
    let read = |o: &Options, folder: &str, ends: &str| {
        let what = "bAbI 1.2 (Weston et al. 2015), the folder tasks/en-10k";
        data::file_like(o, folder, begins, ends, what)
    };
    let learned = read(o, "babi/en-10k", "_train.txt").or_else(|missing| {
        let few = read(o, "babi/en", "_train.txt").map_err(|_| missing)?;
        Ok(few + &read(o, "babi/en-valid-10k", "valid.txt").unwrap_or_default())
    })?;
    let kept = |text: &str, length: usize| -> Vec<Story> {
        let fits = |s: &Story| {
            let facts: usize = s.0.iter().map(|f| f.len() + 1).sum();
            2 * facts <= length.saturating_sub(s.1.len() + s.2.len() + 2)
        };
        stories(text).into_iter().filter(fits).collect()
    };
    let known = [
        kept(&learned, length),
        kept(&read(o, "babi/en-10k", "_test.txt")?, test_length),
    ];
    o.demand(known.iter().all(|s| !s.is_empty()), "no story fits into `length`")?;
    let noise =
        [sentences(&data::text(o, Part::Train)?), sentences(&data::text(o, Part::Test)?)];
    o.demand(noise.iter().all(|n| !n.is_empty()), "the text has no sentence")?;
    let mut task = Task::new(256, length, move |part, _, stream| {
        let (which, room) = match part {
            Part::Train => (0, length),
            Part::Test => (1, test_length),
        };
        let story = &known[which][below(stream, known[which].len())];
        padded(draw(story, &noise[which], room, stream), room, 0)
    });
    task.test_length = test_length;
    task.metric = Metric::Sequences;
    task.words = Words::Bytes;
    task.size = Size { rows: 8, steps: 2000, test: 100 };
    Ok(task)
}

fn stories(text: &str) -> Vec<Story> {
    let mut out = Vec::new();
    let mut facts: Vec<String> = Vec::new();
    for line in text.lines() {
        let Some((number, rest)) = line.split_once(' ') else { continue };
        if number == "1" {
            facts.clear();
        }
        let mut fields = rest.split('\t');
        match (fields.next(), fields.next()) {
            (Some(question), Some(answer)) => {
                let question = question.trim().to_owned();
                out.push((facts.clone(), question, answer.trim().to_owned()));
            }
            (Some(fact), None) => facts.push(fact.trim().to_owned()),
            (None, _) => {}
        }
    }
    out
}

/// Sentences of running text, ten bytes long at least.
fn sentences(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut out = vec![String::new()];
    for word in words {
        let open = out.last_mut().expect("there is one");
        if !open.is_empty() {
            open.push(' ');
        }
        open.push_str(word);
        if word.ends_with(['.', '!', '?']) {
            out.push(String::new());
        }
    }
    out.retain(|s| s.len() >= 10);
    out
}

fn draw(story: &Story, noise: &[String], length: usize, stream: &mut Stream) -> Sample {
    let (facts, question, answer) = story;
    let end = format!(" {question} {answer}");
    let taken: usize = facts.iter().map(|f| f.len() + 1).sum();
    let mut room = length - end.len() - taken;
    let start = below(stream, noise.len());
    let mut around: Vec<String> = Vec::new();
    for n in 0.. {
        let sentence = &noise[(start + n) % noise.len()];
        if sentence.len() + 1 > room {
            // The last one is cut to fit.
            let cut = (0..room).rev().find(|c| sentence.is_char_boundary(*c));
            around.push(sentence[..cut.unwrap_or(0)].to_owned());
            break;
        }
        room -= sentence.len() + 1;
        around.push(sentence.clone());
    }
    let mut slots: Vec<usize> =
        facts.iter().map(|_| below(stream, around.len())).collect();
    slots.sort_unstable();
    for (slot, fact) in slots.into_iter().zip(facts).rev() {
        around.insert(slot, fact.clone());
    }
    let text = around.join(" ") + &end;
    let tokens: Vec<i32> = text.bytes().map(i32::from).collect();
    let mut targets = vec![IGNORE; tokens.len()];
    ask(&mut targets, &tokens, text.len() - answer.len()..text.len());
    Sample { tokens, targets }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{asked, each_in, opened_in, run, text_of};
    use super::*;

    const STORY: &str = "1 Mary went to the bathroom.\n2 John is here.\n3 Where is Mary? \tbathroom\t1\n4 Mary went to the office.\n5 Where is Mary? \toffice\t4\n1 Sandra sat.\n2 Where is Sandra? \tgarden\t1\n";

    #[test]
    fn facts_come_without_earlier_questions() {
        let found = stories(STORY);
        assert_eq!(found.len(), 3);
        assert_eq!(found[1].0.len(), 3);
        assert_eq!(
            (found[1].1.as_str(), found[1].2.as_str()),
            ("Where is Mary?", "office")
        );
        assert_eq!(found[2].0, ["Sandra sat."]);
    }

    #[test]
    fn facts_stand_in_order_between_sentences() {
        let book = "It was a dark night. The wind blew over the moor. Nobody came home! "
            .repeat(30);
        let files = [
            ("babi/en-10k/qa1_x_train.txt", STORY),
            ("babi/en-10k/qa1_x_test.txt", STORY),
            ("books/train/a.txt", &book),
            ("books/test/b.txt", &book),
        ];
        each_in("babilong-qa1:length=300", &files, |_, s| {
            let text = text_of(s);
            let text = text.trim_end_matches('\0');
            let answer = text.rsplit(' ').next().unwrap();
            assert_eq!(asked(s), answer.len());
            let facts: Vec<Option<usize>> = match answer {
                "office" => [
                    "Mary went to the bathroom.",
                    "John is here.",
                    "Mary went to the office.",
                ]
                .map(|f| text.find(f))
                .to_vec(),
                "bathroom" => ["Mary went to the bathroom.", "John is here."]
                    .map(|f| text.find(f))
                    .to_vec(),
                _ => vec![text.find("Sandra sat.")],
            };
            assert!(facts.iter().all(Option::is_some) && facts.is_sorted(), "{text}");
            assert_eq!(text.matches("Where").count(), 1);
            assert!(text.len() > 290);
        });
    }

    #[test]
    fn where_few_stories_are_there_all_of_them_are_learned_from() {
        let book = "It was a dark night. The wind blew over the moor. ".repeat(30);
        let other = STORY.replace("Sandra", "Daniel").replace("garden", "hallway");
        let files = [
            ("babi/en/qa3_x_train.txt", STORY),
            ("babi/en-valid-10k/qa3_valid.txt", &other),
            ("babi/en-10k/qa3_x_test.txt", STORY),
            ("books/train/a.txt", &book),
            ("books/test/b.txt", &book),
        ];
        let task = opened_in("babilong-qa3:length=300", &files);
        let mut learned = [false; 2];
        run(&task, Part::Train, &mut |_, s| {
            let text = text_of(s);
            learned[0] |= text.contains("Sandra");
            learned[1] |= text.contains("Daniel");
        });
        assert_eq!(learned, [true; 2]);
        run(&task, Part::Test, &mut |_, s| assert!(!text_of(s).contains("Daniel")));
    }
}
