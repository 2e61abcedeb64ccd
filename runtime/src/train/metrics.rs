//! `metrics.jsonl`: one line of JSON for each report of a run, appended whole.
//!
//! A line of step `s` is on the disk before the checkpoint of any step from `s` on. When a run is
//! resumed after step `s`, everything from the first line of a later step (or the first torn
//! line) on is cut off: the steps that wrote it will be taken again and write it again.

use super::LevelReport;
use super::fault;
use super::sealed::{MAKE_ROOM, is_full};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// One report: of a training step, or of an evaluation after it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Line {
    /// The step.
    pub step: u64,
    /// Tokens learned from so far.
    pub tokens: u64,
    /// Time so far, all sittings together.
    pub seconds: f64,
    /// Loss of this step's batch before its update, nats a token.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub loss: Option<f64>,
    /// Length of the gradient.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gradient_norm: Option<f64>,
    /// Levels that acted at this step, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub levels: Vec<LevelReport>,
    /// Tokens a second.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tokens_per_second: Option<f64>,
    /// Loss on held-out data, nats a token.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub validation_loss: Option<f64>,
    /// The same in bits a byte of text.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub validation_bits_per_byte: Option<f64>,
    /// The score on held-out data, where there is one beside the loss.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub score: Option<f64>,
}

/// The file of a run, open for appending.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    file: File,
}

/// A failure of the metrics file.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep metrics in {}: {source}{}", path.display(), if is_full(source) { MAKE_ROOM } else { "" })]
pub struct MetricsError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl Metrics {
    /// Opens the file and cuts off what comes after `step`.
    pub fn resume(path: &Path, step: u64) -> Result<Self, MetricsError> {
        let at = |source| MetricsError { path: path.to_path_buf(), source };
        fault::at().map_err(at)?;
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).open(path).map_err(at)?;
        let (_, end) = read_until(path, step).map_err(at)?;
        file.set_len(end).and_then(|()| file.sync_all()).map_err(at)?;
        Ok(Self { path: path.to_path_buf(), file })
    }

    /// Appends a line in one write.
    pub fn append(&mut self, line: &Line) -> Result<(), MetricsError> {
        let at = |source| MetricsError { path: self.path.clone(), source };
        let mut text = serde_json::to_vec(line).map_err(|e| at(e.into()))?;
        text.push(b'\n');
        fault::at().map_err(at)?;
        // A line that a crash tears is cut off when the run is resumed.
        let (first, rest) = text.split_at(text.len() / 2);
        let torn = cfg!(test) && self.file.write_all(first).is_ok();
        fault::at().map_err(at)?;
        self.file.write_all(if torn { rest } else { &text }).map_err(at)
    }

    /// Makes all lines durable.
    pub fn sync(&self) -> Result<(), MetricsError> {
        let at = |source| MetricsError { path: self.path.clone(), source };
        fault::at().map_err(at)?;
        self.file.sync_data().map_err(at)
    }
}

/// Every whole line of a file.
pub fn read(path: &Path) -> Result<Vec<Line>, MetricsError> {
    let at = |source| MetricsError { path: path.to_path_buf(), source };
    read_until(path, u64::MAX).map(|(lines, _)| lines).map_err(at)
}

/// The lines up to a step, and where they end.
fn read_until(path: &Path, step: u64) -> io::Result<(Vec<Line>, u64)> {
    let bytes = std::fs::read(path)?;
    let mut lines = Vec::new();
    let mut end = 0;
    for text in bytes.split_inclusive(|b| *b == b'\n') {
        if text.last() != Some(&b'\n') {
            break;
        }
        match serde_json::from_slice::<Line>(text) {
            Ok(line) if line.step <= step => lines.push(line),
            Ok(_) | Err(_) => break,
        }
        end += text.len() as u64;
    }
    Ok((lines, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resuming_cuts_later_and_torn_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let line = |step| Line { step, loss: Some(1.0 / 3.0), ..Line::default() };
        let mut metrics = Metrics::resume(&path, 0).unwrap();
        (1..=5).for_each(|step| metrics.append(&line(step)).unwrap());
        metrics.file.write_all(b"{\"step\": 6, \"to").unwrap();
        assert_eq!(read(&path).unwrap().len(), 5);

        let mut metrics = Metrics::resume(&path, 3).unwrap();
        metrics.append(&line(4)).unwrap();
        let lines = read(&path).unwrap();
        assert_eq!(lines, (1..=4).map(line).collect::<Vec<_>>());
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 4);
    }
}
