//! What a run's folder says about the run: `run.json`.

use crate::fail::Failure;
use crate::spec;
use crate::tuned::{self, Used};
use nestor_compiler::trained::spec_hash;
use nestor_compiler::{FormOptions, Program};
use nestor_runtime::tensor_file::HostTensor;
use nestor_runtime::train::checkpoint::{self, Checkpoint, Position};
use nestor_runtime::train::data::DataIdentity;
use nestor_runtime::train::durable;
use nestor_runtime::train::run_loop::{LoopSettings, checkpoints};
use nestor_runtime::train::tokens::Codec;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A run: what was trained, on what, and how.
#[derive(Serialize, Deserialize)]
pub(crate) struct Run {
    /// The model's file.
    pub(crate) file: PathBuf,
    /// The model.
    pub(crate) entry: String,
    /// Its settings, `name=value`.
    pub(crate) set: Vec<String>,
    /// The hash of all that the model's meaning depends on.
    pub(crate) spec: String,
    /// How it is trained.
    pub(crate) settings: LoopSettings,
    /// What it learns from.
    pub(crate) data: DataIdentity,
    /// Its tokenizer; bytes without.
    pub(crate) tokenizer: Option<PathBuf>,
    /// Forms and chunks of walks that were measured before it began: the run keeps to them, whatever is measured since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tuned: Vec<Used>,
}

impl Run {
    /// Begins a run's folder; what an earlier run left in it goes.
    pub(crate) fn create(&self, folder: &Path) -> Result<(), Failure> {
        let wrong = |e: std::io::Error| {
            Failure::data(format!("cannot write {}: {e}", folder.display()))
        };
        std::fs::create_dir_all(folder).map_err(wrong)?;
        for old in nestor_runtime::train::run_loop::checkpoints(folder) {
            std::fs::remove_file(old).map_err(wrong)?;
        }
        let metrics = folder.join("metrics.jsonl");
        if metrics.exists() {
            std::fs::remove_file(metrics).map_err(wrong)?;
        }
        let text = serde_json::to_string_pretty(self).map_err(Failure::bug)?;
        let path = folder.join("run.json");
        durable::replace(&path, &mut |out| out.write_all(text.as_bytes())).map_err(wrong)
    }

    /// The run of a folder.
    pub(crate) fn open(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join("run.json");
        let text = std::fs::read_to_string(&path).map_err(|e| {
            Failure::data(format!(
                "{} is no run: cannot read {}: {e}; `nestor train` makes one",
                folder.display(),
                path.display()
            ))
        })?;
        serde_json::from_str(&text).map_err(|e| {
            Failure::data(format!(
                "{} is damaged: {e}; start anew with `nestor train ... --force`",
                path.display()
            ))
        })
    }

    /// What the run says of forms.
    pub(crate) fn forms(&self) -> FormOptions {
        FormOptions { tuned: tuned::read(&self.tuned), ..FormOptions::default() }
    }

    /// Whether another sitting is of the same run.
    pub(crate) fn same(&self, now: &Run) -> Result<(), Failure> {
        let path = |p: &Option<PathBuf>| {
            p.as_ref().map_or("none".to_owned(), |p| p.display().to_string())
        };
        let (s, n) = (&self.settings, &now.settings);
        let facts = [
            ("the model's text or settings", self.spec.clone(), now.spec.clone()),
            ("the data's hash", self.data.hash.clone(), now.data.hash.clone()),
            (
                "the tokenizer's hash",
                format!("{:?}", self.data.tokenizer),
                format!("{:?}", now.data.tokenizer),
            ),
            ("--tokenizer", path(&self.tokenizer), path(&now.tokenizer)),
            ("--steps", s.steps.to_string(), n.steps.to_string()),
            ("--batch", s.rows.to_string(), n.rows.to_string()),
            ("--length", s.length.to_string(), n.length.to_string()),
            ("--seed", s.seed.to_string(), n.seed.to_string()),
            (
                "--evaluate-every",
                s.evaluate_every.to_string(),
                n.evaluate_every.to_string(),
            ),
            ("--save-every", s.save_every.to_string(), n.save_every.to_string()),
        ];
        match facts.into_iter().find(|(_, then, now)| then != now) {
            None => Ok(()),
            Some((what, then, now)) => Err(Failure::data(format!(
                "this is another run: {what} was {then}, now it is {now}; \
                 go on as it began, or start anew with another `--out`"
            ))),
        }
    }
}

/// What a run left: its model, as the text says now, with the weights of the newest checkpoint.
pub(crate) struct Left {
    /// The run.
    pub(crate) run: Run,
    /// Its model.
    pub(crate) program: Program,
    /// Weights and optimiser states.
    pub(crate) state: Vec<HostTensor>,
    /// Where the run stands.
    pub(crate) position: Position,
    /// The hash of the model's text.
    pub(crate) hash: String,
}

impl Left {
    /// What the run of a folder left.
    pub(crate) fn open(folder: &Path) -> Result<Self, Failure> {
        let run = Run::open(folder)?;
        let loaded = spec::loaded(&run.file)?;
        let program = spec::program(&loaded, Some(&run.entry), &run.set)?;
        let hash = spec_hash(&loaded, &run.entry, &run.set);
        run.same_tokenizer()?;
        let (_, found) = newest(folder, &hash)?.ok_or_else(|| {
            Failure::data(format!(
                "{} holds no checkpoint yet: its `nestor train` command with `--resume` goes on",
                folder.display()
            ))
        })?;
        let Checkpoint { position, tensors } = found;
        Ok(Self { run, program, state: tensors, position, hash })
    }
}

impl Run {
    /// Whether the tokenizer is still the one that the run began with.
    fn same_tokenizer(&self) -> Result<(), Failure> {
        let Some(path) = &self.tokenizer else { return Ok(()) };
        let now = Codec::open(Some(path)).map_err(Failure::data)?;
        let (now, then) = (now.hash(), self.data.tokenizer.as_deref());
        if now == then {
            return Ok(());
        }
        Err(Failure::data(format!(
            "{} is not the tokenizer that the run began with: it hashes to {}, that one to {}",
            path.display(),
            now.unwrap_or("none"),
            then.unwrap_or("none")
        )))
    }
}

/// The newest checkpoint that is whole; nothing where none was written yet.
pub(crate) fn newest(
    folder: &Path,
    hash: &str,
) -> Result<Option<(PathBuf, Checkpoint)>, Failure> {
    let mut first = None;
    for path in checkpoints(folder) {
        match checkpoint::load(&path, hash) {
            Ok(checkpoint) => {
                if let Some(error) = first {
                    anstream::eprintln!("note: {error}; {} is used", path.display());
                }
                return Ok(Some((path, checkpoint)));
            }
            Err(error) => first = first.or(Some(error)),
        }
    }
    first.map_or(Ok(None), |error| Err(Failure::data(error)))
}
