//! Verdicts that outlive a sitting: they depend on the question and on the compiler alone, and
//! sittings that go on, and all that ask what comes next, would judge again.

use super::Question;
use super::judge::{Verdict, judge};
use super::store::Store;
use crate::fail::{Failure, Outcome};
use nestor_compiler::sweep::Expanded;
use serde::{Deserialize, Serialize};

/// The verdicts of a folder.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The compiler that judged.
    build: String,
    /// A verdict and the picture of its levels for every combination.
    all: Vec<(Verdict, String)>,
}

/// The verdicts on all combinations, those of the folder where this compiler judged.
pub(super) fn verdicts(
    expanded: &Expanded,
    question: &Question,
    store: Option<&Store>,
) -> Result<Vec<Verdict>, Failure> {
    let build = build();
    let before = store.and_then(|s| s.verdicts()).and_then(|t| read(&t));
    let before = before.filter(|k| Some(&k.build) == build.as_ref());
    if let Some(kept) = before.filter(|k| k.all.len() == expanded.combinations.len()) {
        return Ok(kept.all.into_iter().map(joined).collect());
    }
    let verdicts = judge(expanded, question);
    if let (Some(store), Some(build)) = (store, build) {
        keep(store, build, &verdicts)?;
    }
    Ok(verdicts)
}

fn read(text: &str) -> Option<Kept> {
    serde_json::from_str(text).ok()
}

fn keep(store: &Store, build: String, verdicts: &[Verdict]) -> Outcome {
    let levels = |v: &Verdict| match v {
        Verdict::Legal(legal) => legal.levels.clone(),
        Verdict::Duplicate { .. } | Verdict::LeftOut { .. } => String::new(),
    };
    let all = verdicts.iter().map(|v| (v.clone(), levels(v))).collect();
    let text = serde_json::to_string(&Kept { build, all }).map_err(Failure::bug)?;
    store.keep_verdicts(&text)
}

fn joined((mut verdict, levels): (Verdict, String)) -> Verdict {
    if let Verdict::Legal(legal) = &mut verdict {
        legal.levels = levels;
    }
    verdict
}

/// What tells this compiler from others: its version, and its file's length and time.
fn build() -> Option<String> {
    let file = std::fs::metadata(std::env::current_exe().ok()?).ok()?;
    let changed = file.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let version = env!("CARGO_PKG_VERSION");
    Some(format!("{version} {} {}", file.len(), changed.as_nanos()))
}
