//! Every sequence layer of the library, as the mixer of a small language model on the shipped text,
//! learns: its loss falls.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Steps of each training.
const STEPS: usize = 30;

/// The layers that `stdlib/checks/mixers.nest` runs.
fn mixers(root: &Path) -> Vec<String> {
    let path = root.join("stdlib/checks/mixers.nest");
    let text = std::fs::read_to_string(path).expect("the programs");
    let calls = text.lines().filter_map(|l| l.trim().strip_prefix("out x |> "));
    calls.filter_map(|c| c.split('(').next().map(str::to_owned)).collect()
}

/// Losses of a short training of a model with these parameters; or what was said.
fn losses(root: &Path, file: &str, parameters: &[&str]) -> Result<Vec<f64>, String> {
    let name: String =
        parameters.concat().chars().filter(|c| c.is_alphanumeric()).collect();
    let stem = Path::new(file).file_stem().unwrap_or_default().to_string_lossy();
    let out =
        std::env::temp_dir().join(format!("nestor-{stem}-{name}-{}", std::process::id()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_nestor"));
    command.current_dir(root).args(["train", file, "--force"]);
    for parameter in parameters {
        command.args(["--set", parameter]);
    }
    command.args(["--batch", "2", "--length", "32", "--steps", &STEPS.to_string()]);
    let said = command.arg("--out").arg(&out).output().map_err(|e| e.to_string())?;
    let metrics = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap_or_default();
    let _ = std::fs::remove_dir_all(&out);
    if !said.status.success() {
        return Err(String::from_utf8_lossy(&said.stderr).into_owned());
    }
    let one = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        value["loss"].as_f64()
    };
    Ok(metrics.lines().filter_map(one).collect())
}

/// Whether the last steps are better than the first one: batches are small, so each is noisy.
fn falls(losses: &[f64]) -> bool {
    let last = &losses[losses.len() - 3..];
    last.iter().sum::<f64>() / 3.0 < losses[0] - 0.05
}

#[test]
fn a_language_model_of_every_layer_learns() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mixers = mixers(&root);
    assert!(mixers.len() >= 40, "only {} layers", mixers.len());
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(mixer) = mixers.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mixers = format!("mixers=[{mixer}]");
                    let set =
                        [mixers.as_str(), "d=16", "depth=1", "rate=1e-2", "warmup=1"];
                    let file = "examples/language_model.nest";
                    let what = match losses(&root, file, &set) {
                        Ok(l) if l.len() == STEPS && falls(&l) => {
                            continue;
                        }
                        Ok(losses) => format!("{mixer}: {losses:.2?}"),
                        Err(said) => format!("{mixer}: {said}"),
                    };
                    wrong.lock().unwrap_or_else(PoisonError::into_inner).push(what);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Models of which no layer is a mixer, with what makes them small.
const OTHERS: &[(&str, &[&str])] = &[
    ("examples/patches.nest", &["d=16", "depth=1", "window=4"]),
    ("examples/rmt.nest", &["d=16", "depth=1", "segment=8", "p=2", "heads=2"]),
    ("examples/rwkv7.nest", &["d=16", "depth=2"]),
];

#[test]
fn models_that_no_mixer_makes_learn() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    for (file, small) in OTHERS {
        let set = [*small, &["rate=1e-2", "warmup=1"]].concat();
        let found = losses(&root, file, &set).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(found.len() == STEPS && falls(&found), "{file}: {found:.2?}");
    }
}
