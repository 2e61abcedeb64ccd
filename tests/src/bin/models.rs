//! Trains language models of layers of the library on the shipped text and prints the table of
//! `docs/models.md`: `models NESTOR FOLDER [LAYER...]`. A run that is there and complete is not
//! repeated.
//!
//! Speed is tokens a second of processor time: the same whatever else the machine does.

use std::path::Path;
use std::process::{Command, ExitCode};

/// Layers, by name, with what each is.
const LAYERS: &[(&str, &str)] = &[
    ("GDN", "gated delta rule"),
    ("KDALayer", "delta rule with a gate a channel"),
    ("RWKV7Layer", "delta rule with its own removal"),
    ("Mamba2", "state space, scalar gates"),
    ("MLSTMLayer", "matrix memory, exponential gates"),
    ("RetNet", "linear attention, fixed decay"),
    ("MesaNet", "least squares, solved"),
    ("TitansLMM", "two-layer memory, momentum, anchored gradient"),
    ("TTTLinearLayer", "normalised linear memory, anchored gradient"),
    ("YaadLayer", "robust error"),
    ("OmegaNet", "objective over a window"),
    ("SelfAttention", "every pair kept"),
];

const STEPS: &str = "1000";
const ARGUMENTS: &[&str] = &[
    "--set", "d=64", "--set", "depth=1", "--batch", "4", "--length", "128", "--steps",
    STEPS,
];

fn main() -> ExitCode {
    #![allow(clippy::print_stdout, reason = "it is a command")]
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [nestor, folder, asked @ ..] = arguments.as_slice() else {
        eprintln!("usage: models NESTOR FOLDER [LAYER...]");
        return ExitCode::from(2);
    };
    println!(
        "| layer | what it is | parameters | bits a byte | best | tokens a processor second |"
    );
    println!("|---|---|---|---|---|---|");
    for (layer, what) in LAYERS {
        if !asked.is_empty() && !asked.iter().any(|a| a == layer) {
            continue;
        }
        match row(Path::new(nestor), &Path::new(folder).join(layer), layer) {
            Ok(row) => println!("| `{layer}` | {what} | {row} |"),
            Err(why) => {
                eprintln!("{layer}: {why}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// The numbers of a run: what it says in its log and its metrics.
fn row(nestor: &Path, run: &Path, layer: &str) -> Result<String, String> {
    let (log, processor) = (run.with_extension("log"), run.with_extension("processor"));
    if !log.exists() || !processor.exists() {
        let before = children();
        let output = Command::new(nestor)
            .args(["train", "examples/language_model.nest", "--force", "--set"])
            .arg(format!("mixers=[{layer}]"))
            .args(ARGUMENTS)
            .arg("--out")
            .arg(run)
            .output()
            .map_err(|e| e.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let seconds = children() - before;
        let text = [output.stdout, output.stderr].concat();
        std::fs::write(&log, text).map_err(|e| e.to_string())?;
        std::fs::write(&processor, seconds.to_string()).map_err(|e| e.to_string())?;
    }
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
    };
    let (log, metrics) = (read(&log)?, read(&run.join("metrics.jsonl"))?);
    let words: Vec<&str> = log.split_whitespace().collect();
    let at = words.iter().position(|w| *w == "parameters");
    let parameters = at.and_then(|at| words.get(at.checked_sub(1)?)).copied();
    let numbers = |name: &str| -> Vec<f64> {
        let key = format!("\"{name}\":");
        let one = |line: &str| {
            let rest = line.split(&key).nth(1)?;
            rest.split([',', '}']).next()?.parse().ok()
        };
        metrics.lines().filter_map(one).collect()
    };
    let bits = numbers("validation_bits_per_byte");
    let tokens = numbers("tokens").last().copied().unwrap_or(0.0);
    let processor: f64 =
        read(&processor)?.split_whitespace().filter_map(|s| s.parse::<f64>().ok()).sum();
    let last = bits.last().ok_or("it was never evaluated")?;
    let best = bits.iter().copied().fold(f64::INFINITY, f64::min);
    Ok(format!(
        "{} | {last:.3} | {best:.3} | {:.0}",
        parameters.unwrap_or("?"),
        tokens / processor.max(1e-9)
    ))
}

/// Processor seconds of the processes that this one has waited for.
fn children() -> f64 {
    /// The kernel's unit of these numbers on every machine it is asked on.
    const TICKS: f64 = 100.0;
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let rest = text.rsplit(')').next().unwrap_or_default();
    let fields: Vec<f64> =
        rest.split_whitespace().map(|f| f.parse().unwrap_or(0.0)).collect();
    fields.get(13..15).map_or(0.0, |f| f.iter().sum::<f64>() / TICKS)
}
