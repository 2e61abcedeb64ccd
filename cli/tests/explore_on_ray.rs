//! `explore --on ray`: trials that the launcher places give what trials of this command give. Where
//! Python has ray, a local cluster runs them; where it has not, a module that calls functions at
//! once stands for it.

use crate::common::{CELL, Folder, good};
use serde_json::Value;
use std::process::Command;

const STAND_IN: &str = "\
def init(address=None): pass
def remote(**how):
    def wrap(f):
        class Remote:
            remote = staticmethod(lambda *a: f(*a))
        return Remote
    return wrap
def wait(left): return left[:1], left[1:]
def get(found): return found
";

const SWEEP: &str = "
model Small(vocab = 8, d = 8) {
    in tokens: int(vocab)
    in targets: int(vocab)
    in asked: bool
    x = tokens |> Embedding(vocab, d) |> Residual(d, Mixer)
    logits = x |> RMSNorm(d) |> Linear(d, vocab)
    loss   = cross_entropy(logits, targets) when asked
    out logits
    level pretrain every 1 step { minimize loss over * using adamw(lr = 1e-2) clip 1 }
}
sweep grid over Cell {
    bias     in [dot, l2, huber(delta = 0.5)]
    gradient in [at previous, at kept]
}
";

/// What was found, without what depends on the clock or the folder.
fn found(folder: &Folder, out: &str) -> Value {
    let text = std::fs::read_to_string(folder.path(out).join("results.json"));
    let mut value: Value = serde_json::from_str(&text.expect("results")).expect("JSON");
    for ranked in value["ranked"].as_array_mut().expect("a ranking") {
        ranked["seconds"] = Value::Null;
        ranked["command"] = Value::Null;
    }
    value
}

#[test]
fn trials_that_ray_places_have_the_same_results() {
    let python = std::env::var("NESTOR_PYTHON").unwrap_or_else(|_| "python3".into());
    let can = |code: &str| {
        let ran = Command::new(&python).args(["-c", code]).output();
        ran.is_ok_and(|o| o.status.success())
    };
    if !can("pass") {
        eprintln!("1 check skipped: no `{python}` is found");
        return;
    }
    let folder = Folder::new("explore-ray");
    folder.write("grid.nest", [CELL, SWEEP].concat());
    let words = |out| {
        let task = "induction:vocab=5,length=8,test=64";
        [
            "explore",
            "grid.nest",
            "--task",
            task,
            "--steps",
            "12",
            "--batch",
            "4",
            "--out",
            out,
        ]
    };
    good(&folder.nestor(&words("here")));
    let mut command = folder.command(&words("there"));
    command.args(["--on", "ray"]);
    if !can("import ray") {
        eprintln!("1 check skipped: `{python}` has no ray; a module stands for it");
        std::fs::create_dir(folder.path("modules")).expect("a folder");
        folder.write("modules/ray.py", STAND_IN);
        command.env("PYTHONPATH", folder.path("modules"));
    }
    let said = good(&command.output().expect("it runs"));
    assert!(said.contains(" trials"), "{said}");
    let here = found(&folder, "here");
    assert!(!here["ranked"].as_array().expect("a ranking").is_empty());
    assert_eq!(here, found(&folder, "there"));
}
