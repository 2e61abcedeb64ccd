//! The folder of an exploration. Each result is a file of its own, replaced whole: nothing is
//! lost or torn by a kill, trials on other machines need only write into the folder, and no
//! database stands between a result and who reads it.

use super::Question;
use super::trial::TrialResult;
use crate::fail::{Failure, Outcome};
use nestor_runtime::train::{durable, metrics, run_loop};
use std::path::{Path, PathBuf};
use std::time::Duration;

const VERDICTS: &str = "verdicts.json";

/// A combination's number as its name.
pub(crate) fn label(n: usize) -> String {
    format!("c{n:03}")
}

/// The folder.
pub(crate) struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens the folder of a question, or makes it.
    pub(crate) fn open(
        root: &Path,
        question: &Question,
        force: bool,
    ) -> Result<Self, Failure> {
        let store = Self { root: root.to_owned() };
        let asked = root.join("explore.json");
        let before = std::fs::read_to_string(&asked).ok();
        let before: Option<Question> = before.and_then(|t| serde_json::from_str(&t).ok());
        match before {
            Some(before) if before == *question => {
                let _ = durable::sweep(&store.root.join("results"));
                return Ok(store);
            }
            Some(_) if !force => {
                return Err(Failure::data(format!(
                    "{} holds another exploration: give another `--out`, or `--force` to start \
                     anew there",
                    root.display()
                )));
            }
            _ => {}
        }
        for part in ["specs", "trials", "results"] {
            let folder = root.join(part);
            if folder.exists() {
                std::fs::remove_dir_all(&folder).map_err(|e| store.wrong(&folder, e))?;
            }
            std::fs::create_dir_all(&folder).map_err(|e| store.wrong(&folder, e))?;
        }
        for file in ["spent", VERDICTS] {
            let _ = std::fs::remove_file(root.join(file));
        }
        let text = serde_json::to_string_pretty(question).map_err(Failure::bug)?;
        store.replace(&asked, &text)?;
        Ok(store)
    }

    /// The folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    fn wrong(&self, path: &Path, e: std::io::Error) -> Failure {
        Failure::data(format!("cannot write {}: {e}", path.display()))
    }

    /// Writes a file, all or nothing.
    pub(crate) fn replace(&self, path: &Path, content: impl AsRef<[u8]>) -> Outcome {
        let written = durable::replace(path, &mut |out| out.write_all(content.as_ref()));
        written.map_err(|e| self.wrong(path, e))
    }

    /// What was judged before anything trained, as it was kept.
    pub(crate) fn verdicts(&self) -> Option<String> {
        std::fs::read_to_string(self.root.join(VERDICTS)).ok()
    }

    /// Keeps what was judged.
    pub(crate) fn keep_verdicts(&self, text: &str) -> Outcome {
        self.replace(&self.root.join(VERDICTS), text)
    }

    /// The file of a combination.
    pub(crate) fn spec(&self, n: usize) -> PathBuf {
        self.root.join("specs").join(format!("{}.nest", label(n)))
    }

    /// Writes the file of a combination, where it is not there as it is.
    pub(crate) fn write_spec(&self, n: usize, text: &str) -> Outcome {
        let path = self.spec(n);
        if std::fs::read_to_string(&path).is_ok_and(|t| t == text) {
            return Ok(());
        }
        std::fs::write(&path, text).map_err(|e| self.wrong(&path, e))
    }

    /// The folder of a trial.
    pub(crate) fn trial(&self, trial: &str) -> PathBuf {
        self.trials().join(trial)
    }

    /// Where the trials are.
    pub(crate) fn trials(&self) -> PathBuf {
        self.root.join("trials")
    }

    /// The file of a result.
    pub(crate) fn result_path(&self, trial: &str, until: u64) -> PathBuf {
        self.root.join("results").join(format!("{trial}-{until}.json"))
    }

    /// A result, where it is there.
    pub(crate) fn result(&self, path: &Path) -> Option<TrialResult> {
        TrialResult::read(path)
    }

    /// Every loss of a combination's trial.
    pub(crate) fn losses(&self, n: usize, seed: u64) -> Vec<f64> {
        self.lines(n, seed).iter().filter_map(|l| l.loss).collect()
    }

    /// What a trial noted on its way.
    pub(crate) fn lines(&self, n: usize, seed: u64) -> Vec<metrics::Line> {
        let path = self.trial(&format!("{}-s{seed}", label(n))).join("metrics.jsonl");
        metrics::read(&path).unwrap_or_default()
    }

    /// Removes the weights of a combination that trains no further.
    pub(crate) fn forget_weights(&self, n: usize) {
        let folder = self.trials();
        let begins = format!("{}-", label(n));
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&begins) {
                for path in run_loop::checkpoints(&entry.path()) {
                    // A file too many does no harm.
                    let _ = std::fs::remove_file(path);
                }
            }
        }
    }

    /// Time that earlier sittings took.
    pub(crate) fn spent(&self) -> Duration {
        let text = std::fs::read_to_string(self.root.join("spent")).unwrap_or_default();
        Duration::from_secs_f64(text.trim().parse().unwrap_or(0.0))
    }

    /// Notes the time taken so far.
    pub(crate) fn keep_spent(&self, spent: Duration) -> Outcome {
        self.replace(&self.root.join("spent"), spent.as_secs_f64().to_string())
    }
}
