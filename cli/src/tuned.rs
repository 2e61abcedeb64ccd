//! What `tune` has measured: one file, where it lies, and what other commands take of it.
//!
//! The file is optional. It says which form and chunk of a walk were fastest on a machine, never anything that a result
//! depends on but for the order of its operations; yet digits differ with that order, so that commands use it only
//! where `--tuned` asks for it, and a run goes on with what it began with, written down in its folder.

use crate::doctor::{fact, threads};
use crate::fail::Failure;
use jiff::Timestamp;
use nestor_compiler::gpu::Products;
use nestor_compiler::machine::vectors;
use nestor_compiler::native::Machine;
use nestor_compiler::{Choice, Form, Precision, Tuned};
use nestor_runtime::train::durable;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Whether what was measured is used.
#[derive(clap::Args, Debug, Clone, Default)]
pub(crate) struct TunedArguments {
    /// Take forms and chunks as `nestor tune` found them to be fastest on this machine, from its file or from this one;
    /// where there is none of a walk, costs choose. Digits may differ from those without.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(crate) tuned: Option<String>,
}

/// What the file is.
const FORMAT: &str = "nestor tuned";
/// What of it this command reads.
const VERSION: u32 = 1;
/// The longest chunk that makes sense of a file.
const LONGEST: usize = 4096;

/// All that was measured.
#[derive(Serialize, Deserialize, Clone)]
pub(crate) struct Kept {
    format: String,
    version: u32,
    /// Walks, each on a machine.
    pub(crate) entries: Vec<Entry>,
}

impl Default for Kept {
    fn default() -> Self {
        Self { format: FORMAT.to_owned(), version: VERSION, entries: Vec::new() }
    }
}

/// A walk on a machine.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub(crate) struct Entry {
    /// What the walk computes, as a hash.
    pub(crate) walk: String,
    /// What it was measured on.
    pub(crate) machine: String,
    /// Its states, in the program that it was measured in.
    pub(crate) named: String,
    /// That program and the size of its calls.
    pub(crate) program: String,
    /// The day.
    pub(crate) measured: String,
    /// The compiler's version.
    pub(crate) compiler: String,
    /// What costs chose, with its seconds.
    pub(crate) costs: Candidate,
    /// Everything else that was tried.
    pub(crate) tried: Vec<Candidate>,
    /// What is best of all, where the search came to its end.
    pub(crate) best: Option<Used>,
    /// How many times as fast it is as what costs chose.
    pub(crate) gain: f64,
}

/// A form and a chunk, with what was measured.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub(crate) struct Candidate {
    pub(crate) form: String,
    pub(crate) chunk: usize,
    /// Seconds as predicted, on a CPU, and the least of the last round.
    pub(crate) predicted: Option<f64>,
    pub(crate) seconds: Option<f64>,
    /// Its time over that of what costs chose, by round; nothing where it did not run.
    pub(crate) ratios: Vec<Option<f64>>,
}

/// What is used of a walk: in the file, and in the folder of a run.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Used {
    /// The walk.
    pub(crate) walk: String,
    /// The name of its form.
    pub(crate) form: String,
    /// Tokens of a chunk.
    pub(crate) chunk: usize,
}

impl Used {
    fn read(&self) -> Option<Tuned> {
        let form = Form::of(&self.form).filter(|f| *f != Form::TwoPass)?;
        let chunk = Some(self.chunk).filter(|c| (1..=LONGEST).contains(c))?;
        Some(Tuned { walk: self.walk.clone(), form, chunk })
    }
}

/// Choices of walks as the compiler takes them; what it does not know is left out.
pub(crate) fn read(used: &[Used]) -> &'static [Tuned] {
    used.iter().filter_map(Used::read).collect::<Vec<_>>().leak()
}

/// Choices of walks as they are written down.
pub(crate) fn written(tuned: &[Tuned]) -> Vec<Used> {
    let one = |t: &Tuned| Used {
        walk: t.walk.clone(),
        form: t.form.name().to_owned(),
        chunk: t.chunk,
    };
    tuned.iter().map(one).collect()
}

/// Where the file is, unless one is named: `tuned.json` in NESTOR_CACHE, else in `nestor` of the user's cache.
pub(crate) fn default_path() -> Option<PathBuf> {
    let of =
        |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let users = || of("XDG_CACHE_HOME").or_else(|| Some(of("HOME")?.join(".cache")));
    let folder = of("NESTOR_CACHE").or_else(|| Some(users()?.join("nestor")))?;
    Some(folder.join("tuned.json"))
}

/// The file that was asked for.
pub(crate) fn path_of(asked: &str) -> Result<PathBuf, Failure> {
    if !asked.is_empty() {
        return Ok(PathBuf::from(asked));
    }
    default_path().ok_or_else(|| {
        Failure::usage(
            "neither NESTOR_CACHE nor HOME says where tuned choices are: name their file",
        )
    })
}

/// What is in a file; nothing where there is none.
///
/// # Errors
/// Where it cannot be read or is of something else, as a sentence with its path.
pub(crate) fn load(path: &Path) -> Result<Option<Kept>, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(format!("cannot read {}: {e}", path.display())),
    };
    let wrong = |what: String| format!("{} {what}", path.display());
    let whole: serde_json::Value =
        serde_json::from_str(&text).map_err(|e| wrong(format!("is damaged: {e}")))?;
    if whole["format"] != FORMAT {
        return Err(wrong("holds no tuned choices".to_owned()));
    }
    if whole["version"] != VERSION {
        let found = &whole["version"];
        return Err(wrong(format!(
            "is of version {found}; this command reads version {VERSION}"
        )));
    }
    let kept: Kept =
        serde_json::from_value(whole).map_err(|e| wrong(format!("is damaged: {e}")))?;
    let unknown = kept.entries.iter().filter_map(|e| e.best.as_ref());
    match unknown.into_iter().find(|b| b.read().is_none()) {
        Some(b) => Err(wrong(format!(
            "is damaged: no form `{}` by chunks of {}",
            b.form, b.chunk
        ))),
        None => Ok(Some(kept)),
    }
}

/// What to do about a file that is no good.
pub(crate) const AWAY: &str = "help: remove it, and `nestor tune` makes it anew";

/// Writes an entry into a file, in place of an earlier one of the same walk and machine; all or nothing.
pub(crate) fn store(path: &Path, entry: &Entry) -> Result<(), Failure> {
    let mut kept = load(path)
        .map_err(|e| Failure::data(format!("{e}\n{AWAY}")))?
        .unwrap_or_default();
    let same = |e: &&mut Entry| e.walk == entry.walk && e.machine == entry.machine;
    match kept.entries.iter_mut().find(same) {
        Some(known) => known.clone_from(entry),
        None => kept.entries.push(entry.clone()),
    }
    let text = serde_json::to_string_pretty(&kept).map_err(Failure::bug)?;
    writable(path)?;
    durable::replace(path, &mut |out| out.write_all(text.as_bytes()))
        .map_err(|e| unwritten(path, &e))
}

/// Whether a file can be written, before anything is measured for it; its folder is made.
pub(crate) fn writable(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
    let made = folder.map_or(Ok(()), std::fs::create_dir_all);
    let probe = path.with_extension("probe");
    made.and_then(|()| std::fs::write(&probe, ""))
        .and_then(|()| std::fs::remove_file(&probe))
        .map_err(|e| unwritten(path, &e))
}

fn unwritten(path: &Path, error: &std::io::Error) -> Failure {
    Failure::data(format!(
        "cannot write {}: {error}\nhelp: name another file with `--out`, or another folder with NESTOR_CACHE",
        path.display()
    ))
}

/// What commands use of a machine's file, where they were asked to; what is wrong with it is told, and stops nobody.
pub(crate) fn used(
    a: &TunedArguments,
    machine: Machine,
) -> Result<&'static [Tuned], Failure> {
    let entries = entries(a, machine)?;
    let used = entries.iter().filter_map(|e| e.best.as_ref()?.read());
    Ok(used.collect::<Vec<_>>().leak())
}

/// The entries that [`used`] takes.
pub(crate) fn entries(
    a: &TunedArguments,
    machine: Machine,
) -> Result<Vec<Entry>, Failure> {
    let Some(asked) = &a.tuned else { return Ok(Vec::new()) };
    let path = path_of(asked)?;
    let note = |what: &str| {
        anstream::eprintln!("note: {what}\nnote: costs choose forms and chunks")
    };
    let kept = match load(&path) {
        Ok(Some(kept)) => kept,
        Ok(None) => {
            note(&format!("there is no {}: `nestor tune FILE` makes it", path.display()));
            return Ok(Vec::new());
        }
        Err(why) => {
            note(&format!("{why}\n{AWAY}"));
            return Ok(Vec::new());
        }
    };
    let own = machine_name(machine);
    Ok(kept
        .entries
        .into_iter()
        .filter(|e| e.machine == own && e.best.is_some())
        .collect())
}

/// What measurements are told apart by: the processor, its vectors and the precision, or the GPU's generation and how
/// it computes products.
pub(crate) fn machine_name(machine: Machine) -> String {
    match machine {
        Machine::Cpu(precision) => {
            let processor = fact("/proc/cpuinfo", "model name");
            let processor =
                processor.unwrap_or_else(|| std::env::consts::ARCH.to_owned());
            let precision = match precision {
                Precision::F32 => "float32",
                Precision::F64 => "float64",
            };
            format!(
                "{processor}, {}, {} threads, {precision}",
                vectors().level,
                threads()
            )
        }
        Machine::Gpu(options) => {
            let mut products =
                Products::ALL.iter().filter(|(_, p)| *p == options.products);
            let products = products.next().map_or("", |(name, _)| *name);
            format!("{}, products {products}", options.target.name())
        }
    }
}

/// What an entry says of a choice that was made by it.
pub(crate) fn said(entry: &Entry, choice: &Choice) -> String {
    let costs = &entry.costs;
    if (costs.form.as_str(), costs.chunk) == (choice.form.name(), choice.chunk) {
        return format!("what costs choose is best; measured {}", entry.measured);
    }
    format!(
        "{:.2} times as fast as {}, chunk {}, which costs choose; measured {}",
        entry.gain, costs.form, costs.chunk, entry.measured
    )
}

/// Today, as `2026-01-31`, in UTC.
pub(crate) fn today() -> String {
    Timestamp::now().strftime("%F").to_string()
}
