//! A run is killed at every place where it touches its files, and its disk fills up at every such
//! place: resumed, it ends with the same bits as a run that nothing happened to.
//!
//! Killing is real: this test starts itself again as another process, which ends there and then.

use super::checkpoint::{self, Checkpoint};
use super::data::{Corpus, DataOptions};
use super::fault::{Fault, passed, plan};
use super::run_loop::{LoopError, LoopSettings, checkpoints, train};
use super::{Batch, LoadError, Measure, RowTally, StepError, StepReport, TrainProgram};
use crate::tensor_file::{Data, HostTensor};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

const STEPS: u64 = 7;
const HASH: &str = "toy";
const NAME: &str =
    "train::killed::a_run_killed_at_any_touch_of_its_files_ends_with_the_same_bits";
const CHILD: &str = "NESTOR_KILLED_CHILD";

/// Seconds are written as text, with as many digits as they happen to have: of all the pieces of a run's files another run may have so many fewer.
const FEWER: u64 = 4;

/// Weights that every token moves, in an order that matters to the bit.
struct Toy {
    weights: Vec<f32>,
    speed: Vec<f32>,
}

impl Measure for Toy {
    fn evaluate(&mut self, batch: &Batch) -> Result<Vec<RowTally>, StepError> {
        let nats = f64::from(self.weights[1].abs());
        Ok(vec![RowTally { nats, asked: 1.0, ..RowTally::default() }; batch.rows])
    }
}

impl TrainProgram for Toy {
    fn step(&mut self, batch: &Batch, step_index: u64) -> Result<StepReport, StepError> {
        for (n, token) in batch.inputs.iter().enumerate() {
            let k = n % self.weights.len();
            self.speed[k] = 0.9 * self.speed[k] + (*token as f32) / (step_index as f32);
            self.weights[k] -= 0.01 * self.speed[k];
        }
        let loss = f64::from(self.weights[0].abs());
        Ok(StepReport { loss, gradient_norm: 1.0, levels: vec![] })
    }
    fn state(&self) -> Vec<HostTensor> {
        let of = |name: &str, v: &[f32]| HostTensor::f32(name, &[v.len()], v.to_vec());
        vec![of("w", &self.weights), of("optimiser.m.w", &self.speed)]
    }
    fn load(&mut self, tensors: Vec<HostTensor>) -> Result<(), LoadError> {
        for tensor in tensors {
            let Data::F32(values) = tensor.data else { continue };
            match tensor.name.as_str() {
                "w" => self.weights = values,
                _ => self.speed = values,
            }
        }
        Ok(())
    }
}

/// One sitting: from the newest checkpoint that is whole, as the command does.
fn sitting(folder: &Path) -> Result<(), LoopError> {
    let corpus = Corpus::open(&DataOptions {
        path: folder.with_extension("txt"),
        tokenizer: None,
        validation: 0.2,
        cache: folder.join("cache"),
    })?;
    let settings = LoopSettings {
        steps: STEPS,
        rows: 2,
        length: 5,
        seed: 1,
        evaluate_every: 3,
        evaluate_batches: 1,
        save_every: 2,
        until: None,
    };
    let resumed: Option<(PathBuf, Checkpoint)> = checkpoints(folder)
        .into_iter()
        .find_map(|path| Some((path.clone(), checkpoint::load(&path, HASH).ok()?)));
    let mut toy = Toy { weights: vec![0.5; 5], speed: vec![0.0; 5] };
    let stop = AtomicBool::new(false);
    train(&mut toy, &corpus, &settings, folder, HASH, resumed, &stop, &mut |_| {})?;
    Ok(())
}

fn prepared(folder: &Path, name: &str) -> PathBuf {
    let run = folder.join(name);
    std::fs::create_dir_all(&run).unwrap();
    let text: Vec<u8> = (0..400u32).map(|i| (i * i % 251) as u8).collect();
    std::fs::write(run.with_extension("txt"), text).unwrap();
    run
}

/// A step with its loss and the loss on held-out data.
type Told = (u64, Option<f64>, Option<f64>);

/// The weights at the end, and every line of metrics without its times.
fn left(run: &Path) -> (Vec<HostTensor>, Vec<Told>) {
    let newest = checkpoints(run).into_iter().next().expect("a checkpoint");
    let checkpoint = checkpoint::load(&newest, HASH).unwrap();
    assert_eq!(checkpoint.position.step, STEPS);
    let partial = |p: &Path| p.extension().is_some_and(|e| e == "partial");
    let mut names = std::fs::read_dir(run).unwrap().map(|e| e.unwrap().path());
    assert!(!names.any(|p| partial(&p)), "a torn file is left in {}", run.display());
    let lines = super::metrics::read(&run.join("metrics.jsonl")).unwrap();
    let told = lines.iter().map(|l| (l.step, l.loss, l.validation_loss)).collect();
    (checkpoint.tensors, told)
}

/// How many places an undisturbed run passes, and what it leaves.
fn undisturbed(folder: &Path) -> (u64, PathBuf) {
    let run = prepared(folder, "whole");
    plan(None);
    sitting(&run).unwrap();
    (passed(), run)
}

#[test]
fn a_run_killed_at_any_touch_of_its_files_ends_with_the_same_bits() {
    if let Some(asked) = std::env::var_os(CHILD) {
        let asked = asked.into_string().unwrap();
        let (at, run) = asked.split_once(' ').unwrap();
        plan(Some((at.parse().unwrap(), Fault::Killed)));
        sitting(Path::new(run)).unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (places, whole) = undisturbed(folder.path());
    assert!(places > 60, "only {places} places");
    let expected = left(&whole);
    for at in 0..places {
        let run = prepared(folder.path(), &format!("killed{at}"));
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME])
            .env(CHILD, format!("{at} {}", run.display()))
            .output()
            .unwrap();
        assert!(!ended.status.success() || at + FEWER >= places, "not killed at {at}");
        plan(None);
        sitting(&run).unwrap_or_else(|e| panic!("killed at {at}: {e}"));
        assert_eq!(left(&run), expected, "killed at {at}");
    }
}

#[test]
fn a_disk_that_fills_up_anywhere_leaves_the_checkpoints_before() {
    let folder = tempfile::tempdir().unwrap();
    let (places, whole) = undisturbed(folder.path());
    let expected = left(&whole);
    for at in 0..places {
        let run = prepared(folder.path(), &format!("full{at}"));
        plan(Some((at, Fault::Full)));
        match sitting(&run).map_err(|e| e.to_string()) {
            Ok(()) => assert!(at + FEWER >= places, "the disk was not full at {at}"),
            Err(error) => {
                assert!(error.contains(&*run.display().to_string()), "at {at}: {error}");
                assert!(error.contains("full") || error.contains("space"), "{error}");
            }
        }
        for path in checkpoints(&run) {
            checkpoint::load(&path, HASH).unwrap_or_else(|e| panic!("full at {at}: {e}"));
        }
        plan(None);
        sitting(&run).unwrap_or_else(|e| panic!("full at {at}: {e}"));
        assert_eq!(left(&run), expected, "full at {at}");
    }
}
