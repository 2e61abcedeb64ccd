//! What a run's folder says about the run: `run.json`.

use crate::fail::Failure;
use nestor_runtime::train::data::DataIdentity;
use nestor_runtime::train::run_loop::LoopSettings;
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
        let text = serde_json::to_string_pretty(self).map_err(Failure::bug)?;
        std::fs::write(folder.join("run.json"), text).map_err(wrong)?;
        let metrics = folder.join("metrics.jsonl");
        if metrics.exists() {
            std::fs::remove_file(metrics).map_err(wrong)?;
        }
        Ok(())
    }

    /// The run of a folder.
    pub(crate) fn open(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join("run.json");
        let text = std::fs::read_to_string(&path)
            .map_err(|e| Failure::data(format!("cannot read {}: {e}", path.display())))?;
        serde_json::from_str(&text)
            .map_err(|e| Failure::data(format!("{} is damaged: {e}", path.display())))
    }

    /// Whether another sitting is of the same run.
    pub(crate) fn same(&self, other: &Run) -> Result<(), Failure> {
        let differs = |what: &str| {
            Err(Failure::data(format!(
                "this is another run: {what}; start anew with another `--out`"
            )))
        };
        if self.spec != other.spec {
            return differs("the model's text or settings differ");
        }
        if self.data.hash != other.data.hash
            || self.data.tokenizer != other.data.tokenizer
        {
            return differs("the data differs");
        }
        if self.settings != other.settings {
            return differs("steps, batch, length or seed differ");
        }
        Ok(())
    }
}
