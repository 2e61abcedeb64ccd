//! Data of tasks: where each file lies in the folder that is given, and what to do where it is
//! not there.
//!
//! ```text
//! books/train/*.txt, books/test/*.txt       any text; the file that is given, where it is a file
//! babi/en-10k/qaN_*_{train,test}.txt        bAbI 1.2, Weston et al. 2015
//! lambada/lambada_test.jsonl                {"text": ...} a line, Paperno et al. 2016
//! commonsense/*.jsonl                       {"query", "choices", "gold"} a line
//! ett/ETT{h,m}{1,2}.csv                     date, numbers; ETDataset, Zhou et al. 2021
//! weather/weather.csv, exchange_rate/exchange_rate.csv, illness/national_illness.csv
//!                                           the same; the collection of Autoformer, Wu et al. 2021
//! dna_gue/<set>/{train,test}.csv            sequence,label; GUE, Zhou et al. 2023
//! dna_uci_splice/splice.csv                 class, name, sequence
//! banking77/{train,test}.csv                text,category; Casanueva et al. 2020
//! ```

use super::{Options, Part, TaskError};
use std::path::{Path, PathBuf};

/// The folder of data.
fn root(o: &Options, wanted: &str) -> Result<PathBuf, TaskError> {
    o.data.clone().ok_or_else(|| TaskError::Data {
        task: o.task.clone(),
        path: PathBuf::from(wanted),
        why: "name the folder it lies in with `--data DIR`".into(),
    })
}

/// The text of a file of the folder.
pub(super) fn file(o: &Options, name: &str, what: &str) -> Result<String, TaskError> {
    let path = root(o, name)?.join(name);
    read(o, &path, what)
}

fn read(o: &Options, path: &Path, what: &str) -> Result<String, TaskError> {
    let bytes = std::fs::read(path).map_err(|e| TaskError::Data {
        task: o.task.clone(),
        path: path.to_owned(),
        why: format!("{e}; it is {what}; `--data DIR` names the folder"),
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The file of a folder whose name begins and ends so.
pub(super) fn file_like(
    o: &Options,
    folder: &str,
    begins: &str,
    ends: &str,
    what: &str,
) -> Result<String, TaskError> {
    let folder = root(o, folder)?.join(folder);
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let fits = |p: &PathBuf| {
        let name = p.file_name().map(|n| n.to_string_lossy().into_owned());
        name.is_some_and(|n| n.starts_with(begins) && n.ends_with(ends))
    };
    let mut found: Vec<PathBuf> = entries.map(|e| e.path()).filter(fits).collect();
    found.sort();
    let missing = || folder.join(format!("{begins}*{ends}"));
    read(o, &found.into_iter().next().unwrap_or_else(missing), what)
}

/// Running text of a part: the file that is given (its first nine tenths, or the last), or
/// `books` of the folder.
pub(super) fn text(o: &Options, part: Part) -> Result<String, TaskError> {
    let what = "text: a file, or a folder with books/train and books/test";
    let given = root(o, "a text")?;
    if given.is_file() {
        let whole = read(o, &given, what)?;
        let mut cut = whole.len() - whole.len() / 10;
        while !whole.is_char_boundary(cut) {
            cut -= 1;
        }
        let (train, test) = whole.split_at(cut);
        return Ok(if part == Part::Train { train } else { test }.to_owned());
    }
    let name = if part == Part::Train { "books/train" } else { "books/test" };
    let folder = given.join(name);
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> =
        entries.map(|e| e.path()).filter(|p| p.is_file()).collect();
    paths.sort();
    if paths.is_empty() {
        return read(o, &folder, what);
    }
    let all: Result<Vec<String>, _> = paths.iter().map(|p| read(o, p, what)).collect();
    Ok(all?.join("\n"))
}

/// Words of running text, white space collapsed.
pub(super) fn words(o: &Options) -> Result<Vec<String>, TaskError> {
    let text = text(o, Part::Train)?;
    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    o.demand(words.len() >= 2, "the text has fewer than two words")?;
    Ok(words)
}

/// Fields of comma-separated lines, quotes taken off.
pub(super) fn csv(text: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let (mut row, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut letters = text.chars().peekable();
    while let Some(c) = letters.next() {
        match c {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            '\r' if !quoted => {}
            c => field.push(c),
        }
    }
    if !field.is_empty() || !row.is_empty() {
        row.push(field);
        rows.push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_commas_are_read() {
        let rows = csv("a,b\n\"x, y\",\"he \"\"said\"\"\"\r\nlast,1");
        assert_eq!(
            rows,
            [vec!["a", "b"], vec!["x, y", "he \"said\""], vec!["last", "1"]]
        );
    }
}
