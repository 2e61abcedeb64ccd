//! Classification of whole sequences: DNA by bases (GUE, Zhou et al. 2023; splice junctions of the
//! UCI repository) and intents by bytes (Banking77, Casanueva et al. 2020). The class is asked at
//! the last token.

use super::{
    Entry, IGNORE, Options, Part, Sample, Size, Task, TaskError, Words, below, data,
    distinct,
};
use crate::train::rng::Stream;

macro_rules! set {
    ($constant:ident, $name:literal, $about:literal, $folder:literal, $anchors:literal) => {
        pub(super) const $constant: Entry = Entry {
            name: $name,
            about: $about,
            anchors: $anchors,
            open: |o| gue(o, $folder),
        };
    };
}

set!(
    TATA,
    "dna-tata",
    "promoters with a TATA box, 300 bases",
    "prom/prom_300_tata",
    "5-mer naive Bayes 0.594; Titans, table 4, another set of promoters: LMM 96.6"
);
set!(
    CORE_TATA,
    "dna-core-tata",
    "core promoters with a TATA box, 70 bases",
    "prom/prom_core_tata",
    "5-mer naive Bayes 0.729"
);
set!(
    MOUSE,
    "dna-mouse",
    "places where a factor binds, 101 bases",
    "mouse/0",
    "5-mer naive Bayes 0.762"
);

pub(super) const SPLICE: Entry = Entry {
    name: "dna-splice",
    about: "splice junctions: donor, acceptor or none, 60 bases",
    anchors: "positional naive Bayes 0.953",
    open: splice,
};

pub(super) const BANKING: Entry = Entry {
    name: "banking77",
    about: "which of 77 things a customer wants",
    anchors: "fine-tuned large encoders reach 0.93",
    open: banking,
};

const BASES: &[u8] = b"ACGTN";

type Labelled = (Vec<i32>, i32);

fn bases(text: &str) -> Vec<i32> {
    let base = |b: u8| {
        BASES.iter().position(|x| *x == b.to_ascii_uppercase()).unwrap_or(4) as i32
    };
    text.trim().bytes().map(base).collect()
}

fn gue(o: &mut Options, folder: &str) -> Result<Task, TaskError> {
    let read = |o: &Options, part: &str| -> Result<Vec<Labelled>, TaskError> {
        let name = format!("dna_gue/{folder}/{part}.csv");
        let text =
            data::file(o, &name, "a set of GUE (Zhou et al. 2023), sequence,label")?;
        let rows = data::csv(&text).into_iter().skip(1);
        Ok(rows
            .filter_map(|r| Some((bases(r.first()?), r.get(1)?.trim().parse().ok()?)))
            .collect())
    };
    let parts = [read(o, "train")?, read(o, "test")?];
    classes(o, parts, BASES.len(), 2, |b| char::from(BASES[b]).to_string())
}

fn splice(o: &mut Options) -> Result<Task, TaskError> {
    let what = "splice junctions of the UCI repository, class,name,sequence";
    let text = data::file(o, "dna_uci_splice/splice.csv", what)?;
    let class = |c: &str| ["EI", "IE", "N"].iter().position(|k| *k == c.trim());
    let rows: Vec<Labelled> = data::csv(&text)
        .iter()
        .filter_map(|r| Some((bases(r.get(2)?), class(r.first()?)? as i32)))
        .collect();
    // Four fifths to learn from, shuffled the same way always.
    let order = distinct(&mut Stream::new(0, "splice"), rows.len(), rows.len());
    let cut = rows.len() * 4 / 5;
    let of = |places: &[usize]| places.iter().map(|p| rows[*p].clone()).collect();
    let parts = [of(&order[..cut]), of(&order[cut..])];
    classes(o, parts, BASES.len(), 3, |b| char::from(BASES[b]).to_string())
}

fn banking(o: &mut Options) -> Result<Task, TaskError> {
    let what = "Banking77 (Casanueva et al. 2020), text,category";
    let read = |o: &Options, part: &str| -> Result<Vec<Vec<String>>, TaskError> {
        let text = data::file(o, &format!("banking77/{part}.csv"), what)?;
        Ok(data::csv(&text).into_iter().skip(1).filter(|r| r.len() >= 2).collect())
    };
    let rows = [read(o, "train")?, read(o, "test")?];
    let names: std::collections::BTreeSet<String> =
        rows.iter().flatten().map(|r| r[1].clone()).collect();
    let names: Vec<String> = names.into_iter().collect();
    let class = |name: &str| names.iter().position(|n| n == name).unwrap_or(0) as i32;
    let kinds = names.len();
    // A stage of classes that come one after another: those of `first` up to, without it, `last`.
    let (first, last) = (o.whole("first", 0)?, o.whole("last", kinds)?);
    o.demand(
        first < last && last <= kinds,
        "classes go from `first` up to `last`, 77 at most",
    )?;
    // With `among=1` an answer is sought among the stage's classes alone: what is left of telling them apart.
    let among = o.whole("among", 0)? > 0;
    let stage = first as i32..last as i32;
    let labelled = |rows: &Vec<Vec<String>>| {
        rows.iter()
            .map(|r| (r[0].bytes().map(i32::from).collect(), class(&r[1])))
            .filter(|(_, class)| stage.contains(class))
            .collect()
    };
    let parts = [labelled(&rows[0]), labelled(&rows[1])];
    let mut task = classes(o, parts, 256, kinds, |b| b.to_string())?;
    task.words = Words::Bytes;
    task.chance = 1.0 / (last - first) as f64;
    task.among = among.then_some(first..last);
    Ok(task)
}

/// A task of labelled sequences: padding in front, the class asked at the end.
fn classes(
    o: &mut Options,
    parts: [Vec<Labelled>; 2],
    kinds: usize,
    classes: usize,
    name: fn(usize) -> String,
) -> Result<Task, TaskError> {
    o.demand(parts.iter().all(|p| !p.is_empty()), "the data has no rows")?;
    let longest = parts.iter().flatten().map(|r| r.0.len()).max().unwrap_or(1);
    let length = o.whole("length", longest.min(320))?;
    o.demand(length >= 1, "`length` is 1 or more")?;
    let pad = kinds as i32;
    let test = parts[1].len();
    let mut task =
        Task::new((kinds + 1).max(classes), length, move |part, index, stream| {
            let (tokens, class) = match part {
                Part::Train => &parts[0][below(stream, parts[0].len())],
                Part::Test => &parts[1][index % parts[1].len()],
            };
            let kept = &tokens[tokens.len().saturating_sub(length)..];
            let mut all = vec![pad; length - kept.len()];
            all.extend(kept);
            let mut targets = vec![IGNORE; length];
            targets[length - 1] = *class;
            Sample { tokens: all, targets }
        });
    task.chance = 1.0 / classes as f64;
    task.words = Words::Names((0..kinds).map(name).chain(["_".to_owned()]).collect());
    task.size = Size { rows: 32, steps: 600, test };
    Ok(task)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{asked, each_in, opened_in};

    #[test]
    fn the_class_is_asked_at_the_end() {
        let rows = "sequence,label\nACGT,1\nTTN,0\n";
        let files =
            [("dna_gue/mouse/0/train.csv", rows), ("dna_gue/mouse/0/test.csv", rows)];
        each_in("dna-mouse", &files, |_, s| {
            assert_eq!((s.tokens.len(), asked(s)), (4, 1));
            let expected = if s.tokens == [0, 1, 2, 3] { 1 } else { 0 };
            assert_eq!(s.targets[3], expected);
            assert!(expected == 1 || s.tokens == [5, 3, 3, 4]);
        });
    }

    #[test]
    fn junctions_are_split_and_intents_counted() {
        let text: String = "label,instance_name,sequence\n".to_owned()
            + &(0..10)
                .map(|n| format!("{},  X{n},   ACGT\n", ["EI", "IE", "N"][n % 3]))
                .collect::<String>();
        let task = opened_in("dna-splice", &[("dna_uci_splice/splice.csv", &text)]);
        assert_eq!((task.size.test, task.length), (2, 4));
        let bank = "text,category\n\"a, b\",x\nhello,y\n";
        let task = opened_in(
            "banking77",
            &[("banking77/train.csv", bank), ("banking77/test.csv", bank)],
        );
        assert_eq!((task.size.test, task.length, task.chance), (2, 5, 0.5));
        let files = [("banking77/train.csv", bank), ("banking77/test.csv", bank)];
        each_in("banking77:first=1,last=2", &files, |_, s| {
            assert_eq!(s.targets.last(), Some(&1), "the second class alone");
        });
    }
}
