//! What needles are hidden in: the noise sentence, real text, or other needles; and the words,
//! numbers and identifiers that needles are made of (RULER, Hsieh et al. 2024).

use super::{below, distinct};
use crate::train::rng::Stream;

/// RULER's noise sentence.
pub(super) const NOISE: &str = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.";

/// What a key or value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// `adjective-noun`.
    Word,
    /// Seven digits.
    Number,
    /// A random identifier of version 4.
    Uuid,
}

impl Kind {
    /// What RULER calls several of them.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Word => "words",
            Self::Number => "numbers",
            Self::Uuid => "uuids",
        }
    }

    /// One of them.
    pub(super) fn draw(self, stream: &mut Stream) -> String {
        match self {
            Self::Word => {
                let pick =
                    |from: &[&'static str], s: &mut Stream| from[below(s, from.len())];
                format!("{}-{}", pick(ADJECTIVES, stream), pick(NOUNS, stream))
            }
            Self::Number => (1_000_000 + below(stream, 9_000_000)).to_string(),
            Self::Uuid => {
                let hex: Vec<char> = (0..32)
                    .map(|n| match n {
                        12 => '4',
                        16 => ['8', '9', 'a', 'b'][below(stream, 4)],
                        _ => char::from(b"0123456789abcdef"[below(stream, 16)]),
                    })
                    .collect();
                let part = |a: usize, b: usize| hex[a..b].iter().collect::<String>();
                [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)]
                    .join("-")
            }
        }
    }

    /// `count` different ones.
    pub(super) fn several(self, stream: &mut Stream, count: usize) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        while out.len() < count {
            let one = self.draw(stream);
            if !out.contains(&one) {
                out.push(one);
            }
        }
        out
    }
}

/// Needles between lines of which there are `lines`, at evenly drawn different places.
pub(super) fn among_lines(
    stream: &mut Stream,
    mut lines: Vec<String>,
    needles: &[String],
) -> String {
    let count = lines.len().max(needles.len());
    let mut places = distinct(stream, count, needles.len());
    places.sort_unstable();
    for (place, needle) in places.into_iter().zip(needles).rev() {
        lines.insert(place.min(lines.len()), needle.clone());
    }
    lines.join("\n")
}

/// Needles in text of `count` words from word `start` on: each after a share of the sentences
/// that is drawn, without replacement, from forty values between nothing and all.
pub(super) fn among_sentences(
    stream: &mut Stream,
    words: &[String],
    start: usize,
    count: usize,
    needles: &[String],
) -> String {
    let text: Vec<&str> =
        (0..count).map(|n| words[(start + n) % words.len()].as_str()).collect();
    let mut sentences: Vec<String> = Vec::new();
    let mut open = String::new();
    for word in text {
        if !open.is_empty() {
            open.push(' ');
        }
        open.push_str(word);
        if word.ends_with(['.', '!', '?']) {
            sentences.push(std::mem::take(&mut open));
        }
    }
    if !open.is_empty() {
        sentences.push(open);
    }
    let mut depths: Vec<usize> = distinct(stream, 40, needles.len())
        .into_iter()
        .map(|n| (n as f64 * 100.0 / 39.0).round() as usize)
        .collect();
    depths.sort_unstable();
    let all = sentences.len();
    for (depth, needle) in depths.into_iter().zip(needles).rev() {
        sentences.insert(all * depth / 100, needle.clone());
    }
    sentences.join(" ")
}

#[rustfmt::skip]
const ADJECTIVES: &[&str] = &[
    "able", "amber", "ancient", "bold", "brave", "brief", "bright", "calm", "clever", "cold", "crisp", "curious",
    "dark", "deep", "eager", "early", "faint", "fancy", "fast", "fierce", "fresh", "gentle", "giant", "glad",
    "golden", "grand", "happy", "heavy", "hidden", "hollow", "humble", "icy", "jolly", "keen", "kind", "late",
    "lazy", "light", "lively", "lonely", "loud", "lucky", "mellow", "mighty", "modest", "narrow", "neat", "noble",
    "odd", "pale", "patient", "plain", "polite", "proud", "quick", "quiet", "rapid", "rare", "rough", "round",
    "royal", "rusty", "sharp", "shiny", "silent", "silver", "simple", "slow", "small", "smooth", "soft", "solid",
    "steady", "stern", "strong", "sunny", "sweet", "swift", "tall", "tame", "tender", "tidy", "tiny", "vast",
    "vivid", "warm", "wide", "wild", "wise", "young",
];
#[rustfmt::skip]
const NOUNS: &[&str] = &[
    "acorn", "anchor", "apple", "arrow", "badge", "bamboo", "barrel", "basket", "beacon", "bell", "bottle", "bridge",
    "brook", "bucket", "button", "candle", "canyon", "carpet", "castle", "cedar", "cellar", "chain", "cherry", "cloud",
    "clover", "coast", "comet", "copper", "corner", "cotton", "cradle", "desert", "dragon", "drum", "eagle", "ember",
    "engine", "falcon", "feather", "fence", "field", "flute", "forest", "fox", "garden", "glacier", "hammer", "harbor",
    "hill", "horse", "island", "ivory", "jacket", "kettle", "ladder", "lake", "lantern", "leaf", "lemon", "magnet",
    "maple", "marble", "meadow", "mirror", "moon", "needle", "ocean", "orchid", "otter", "paddle", "pearl", "pepper",
    "planet", "pocket", "quarry", "rabbit", "raven", "ribbon", "river", "saddle", "shadow", "shell", "spider", "stone",
    "tiger", "timber", "valley", "violin", "wagon", "window",
];
