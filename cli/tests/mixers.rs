//! Every sequence layer of the library, as the mixer of a small language model on the shipped text,
//! learns: its loss falls.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The layers that `stdlib/checks/mixers.nest` runs.
fn mixers(root: &Path) -> Vec<String> {
    let path = root.join("stdlib/checks/mixers.nest");
    let text = std::fs::read_to_string(path).expect("the programs");
    let calls = text.lines().filter_map(|l| l.trim().strip_prefix("out x |> "));
    calls.filter_map(|c| c.split('(').next().map(str::to_owned)).collect()
}

/// Losses of a short training; or what was said.
fn losses(root: &Path, mixer: &str, steps: usize) -> Result<Vec<f64>, String> {
    let out = std::env::temp_dir().join(format!("nestor-{mixer}-{}", std::process::id()));
    let command = Command::new(env!("CARGO_BIN_EXE_nestor"))
        .current_dir(root)
        .args(["train", "examples/language_model.nest", "--force"])
        .args([
            "--set",
            &format!("mixers=[{mixer}]"),
            "--set",
            "d=16",
            "--set",
            "depth=1",
        ])
        .args([
            "--set",
            "rate=1e-2",
            "--set",
            "warmup=1",
            "--batch",
            "2",
            "--length",
            "32",
        ])
        .args(["--steps", &steps.to_string(), "--out"])
        .arg(&out)
        .output();
    let said = command.map_err(|e| e.to_string())?;
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
    // All 30 steps where asked for.
    let steps = std::env::var("NESTOR_STEPS").ok().and_then(|s| s.parse().ok());
    let steps = steps.unwrap_or(10);
    let mixers = mixers(&root);
    assert!(mixers.len() >= 40, "only {} layers", mixers.len());
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(mixer) = mixers.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let what = match losses(&root, mixer, steps) {
                        Ok(l) if l.len() == steps && falls(&l) => {
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
