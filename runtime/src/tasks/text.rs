//! Language modelling by bytes: windows of text, every next byte asked; bits a byte.

use super::{Entry, Metric, Options, Part, Sample, Size, Task, TaskError, Words, data};
use crate::train::rng::Stream;

pub(super) const ENTRY: Entry = Entry {
    name: "text",
    about: "the next byte of text",
    anchors: "tinyshakespeare, last tenth: an interpolated 5-gram model 2.41 bits",
    open,
};

fn open(o: &mut Options) -> Result<Task, TaskError> {
    let length = o.whole("length", 128)?;
    let texts =
        [data::text(o, Part::Train)?, data::text(o, Part::Test)?].map(String::into_bytes);
    o.demand(
        length >= 1 && texts.iter().all(|t| t.len() > length),
        format!(
            "each part of the text has more than `length` bytes; it has {} and {}",
            texts[0].len(),
            texts[1].len()
        ),
    )?;
    let mut task = Task::new(256, length, move |part, _, stream: &mut Stream| {
        window(&texts[usize::from(part == Part::Test)], length, stream)
    });
    task.metric = Metric::Bits;
    task.chance = 8.0;
    task.words = Words::Bytes;
    task.next = true;
    task.size = Size { rows: 16, steps: 500, test: 256 };
    Ok(task)
}

/// `length` bytes of a longer text from anywhere, with the byte after each.
pub(super) fn window(text: &[u8], length: usize, stream: &mut Stream) -> Sample {
    let at = super::below(stream, text.len() - length);
    let bytes: Vec<i32> = text[at..=at + length].iter().map(|b| i32::from(*b)).collect();
    Sample { tokens: bytes[..length].to_vec(), targets: bytes[1..].to_vec() }
}

#[cfg(test)]
mod tests {
    use super::super::tests::each_over;

    #[test]
    fn the_next_byte_is_asked_everywhere() {
        each_over("text:length=16", "abcdefghijklmnopqrstuvwxyz0123456789", |_, s| {
            assert_eq!(s.tokens[1..], s.targets[..15]);
            assert_eq!(s.tokens.len(), 16);
        });
    }
}
