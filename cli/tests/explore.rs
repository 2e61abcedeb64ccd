//! `explore`: an exploration that is killed again and again ends as one that was not, and its best
//! combination, trained again by the command that is printed, has the same score to the last digit.

use crate::common::{CELL, Folder, good, refused, signal};
use serde_json::Value;
use std::process::Stdio;
use std::time::{Duration, Instant};

const GRID: &str = "\
model Tiny(vocab = 8, d = 8) {
    in tokens: int(vocab)
    in targets: int(vocab)
    in asked: bool
    x = tokens |> Embedding(vocab, d) |> Residual(d, Mixer)
    logits = x |> RMSNorm(d) |> Linear(d, vocab)
    loss   = cross_entropy(logits, targets) when asked
    out logits
    level pretrain every 1 step { minimize loss over * using adamw(lr = cosine(1e-2, warmup = 2)) clip 1 }
}
sweep grid over Cell {
    bias      in [dot, l2, huber(delta = 0.5), nothing]
    algorithm in [sgd(beta), momentum(beta = 0.5, eta = beta)]
    gradient  in [at previous, at kept]
}
";

const ASKED: &[&str] = &[
    "explore",
    "grid.nest",
    "--task",
    "induction:vocab=5,length=8,test=64",
    "--steps",
    "12",
    "--batch",
    "4",
    "--rounds",
    "2",
    "--workers",
    "2",
];

fn grid(name: &str) -> Folder {
    let folder = Folder::new(name);
    folder.write("grid.nest", [CELL, GRID].concat());
    folder
}

fn with(out: &str) -> Vec<&str> {
    [ASKED, &["--out", out]].concat()
}

/// The results of a folder, without what depends on the clock.
fn results(folder: &Folder, out: &str) -> Value {
    let path = folder.path(out).join("results.json");
    let text = std::fs::read_to_string(path).expect("results");
    let mut value: Value = serde_json::from_str(&text).expect("JSON");
    for ranked in value["ranked"].as_array_mut().expect("a ranking") {
        ranked["seconds"] = Value::Null;
        let command = ranked["command"].as_str().expect("a command").replace(out, "OUT");
        ranked["command"] = Value::String(command);
    }
    value
}

#[test]
fn an_exploration_killed_twice_ends_as_one_that_was_not() {
    let folder = grid("explore");
    let said = good(&folder.nestor(&with("whole")));
    assert!(said.contains("16 combinations"), "{said}");

    // Killed where it stands, with whatever trials are running.
    for so_many in [2, 5] {
        let mut child = folder
            .command(&with("killed"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it begins");
        let done = || {
            let found = std::fs::read_dir(folder.path("killed").join("results"));
            found.map_or(0, |d| {
                d.flatten()
                    .filter(|e| e.path().extension().is_some_and(|x| x == "json"))
                    .count()
            })
        };
        let late = Instant::now() + Duration::from_secs(120);
        while done() < so_many && child.try_wait().expect("it is known").is_none() {
            assert!(Instant::now() < late, "no trial ended");
            std::thread::sleep(Duration::from_millis(5));
        }
        signal("-KILL", &child);
        child.wait().expect("it is gone");
    }
    good(&folder.nestor(&with("killed")));
    let (whole, killed) = (results(&folder, "whole"), results(&folder, "killed"));
    assert_eq!(whole, killed);

    // Four biases by two algorithms by two places: one bias is no definition.
    assert_eq!(whole["combinations"], 16);
    assert_eq!(whole["left_out"][0][1].as_array().expect("names").len(), 4);
    let reason = whole["left_out"][0][0].as_str().expect("a reason");
    assert!(reason.contains("nothing"), "{reason}");
    assert_eq!(whole["failures"], serde_json::json!([]));
    let duplicates = whole["duplicates"].as_array().expect("a list").len();
    // `dot` has the same gradient everywhere.
    assert!(duplicates >= 2, "{}", whole["duplicates"]);
    let ranked = whole["ranked"].as_array().expect("a ranking");
    assert_eq!(ranked.len(), 12 - duplicates);
    let last_round = ranked.iter().filter(|r| r["round"] == 2).count();
    assert!(last_round < ranked.len() && last_round >= ranked.len() / 3);
    assert!(ranked.iter().all(|r| !r["equation"].as_array().expect("lines").is_empty()));

    let page = std::fs::read_to_string(folder.path("whole").join("report.html"))
        .expect("a page");
    for what in [
        "What mattered",
        "Left out, and why",
        "The same as another",
        "<svg",
        "Each combination",
    ] {
        assert!(page.contains(what), "{what}");
    }
    assert!(
        !page.contains("http") && !page.contains("<script"),
        "it needs nothing from elsewhere"
    );
    let table = std::fs::read_to_string(folder.path("whole").join("results.csv"))
        .expect("a table");
    assert_eq!(table.lines().count(), ranked.len() + 1);
    let binary =
        std::fs::read(folder.path("whole").join("results.parquet")).expect("one");
    assert!(binary.starts_with(b"PAR1") && binary.ends_with(b"PAR1"));

    // The best one again, by the words that are printed.
    let command =
        ranked[0]["command"].as_str().expect("a command").replace("OUT", "whole");
    let words: Vec<&str> = command.split(' ').skip(1).chain(["--json"]).collect();
    let again: Value = serde_json::from_str(&good(&folder.nestor(&words))).expect("JSON");
    assert_eq!(again["score"], ranked[0]["scores"][0]);
}

/// A sweep of one axis: three combinations and one that is no definition.
fn three(name: &str) -> Folder {
    let folder = grid(name);
    let few = GRID.replace(
        "    algorithm in [sgd(beta), momentum(beta = 0.5, eta = beta)]\n    gradient  in [at previous, at kept]\n",
        "",
    );
    folder.write("grid.nest", [CELL, &few].concat());
    folder
}

#[test]
fn a_process_that_dies_is_the_result_of_its_trial_alone() {
    let folder = three("explore-dies");
    let mut child = folder
        .command(&[&with("out")[..], &["--json"]].concat())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it begins");
    // The first process that is at work on a trial: it has taken some hundredths of a second.
    let busy = |id: &u32| {
        let stat =
            std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let fields: Vec<&str> = stat.split(' ').collect();
        fields.get(13).and_then(|n| n.parse::<u64>().ok()).is_some_and(|n| n >= 3)
    };
    let worker = || {
        let tasks = format!("/proc/{0}/task/{0}/children", child.id());
        let found = std::fs::read_to_string(tasks).unwrap_or_default();
        found.split(' ').filter_map(|id| id.parse().ok()).find(busy)
    };
    let late = Instant::now() + Duration::from_secs(120);
    let worker = loop {
        if let Some(worker) = worker() {
            break worker;
        }
        assert!(Instant::now() < late, "nothing runs");
        std::thread::sleep(Duration::from_millis(1));
    };
    let killed =
        std::process::Command::new("kill").args(["-KILL", &worker.to_string()]).status();
    assert!(killed.expect("a command").success());
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().expect("a pipe"), &mut said)
        .expect("text");
    assert!(child.wait().expect("it ends").success());
    let report: Value = serde_json::from_str(&said).expect("JSON");
    let failures = report["failures"].as_array().expect("a list");
    assert_eq!(failures.len(), 1, "{failures:?}");
    let cause = failures[0][1].as_str().expect("a cause");
    assert!(cause.contains("killed by the system"), "{cause}");
    assert_eq!(report["ranked"].as_array().expect("a ranking").len(), 2);
}

#[test]
fn verdicts_are_kept_and_made_again_where_they_are_lost() {
    let folder = three("explore-verdicts");
    let pending = [&with("out")[..], &["--pending"]].concat();
    let first = good(&folder.nestor(&pending));
    let kept = folder.path("out").join("verdicts.json");
    let text = std::fs::read_to_string(&kept).expect("verdicts");
    // What is there is taken: with one verdict changed, its trials are gone.
    let other = text.replacen(
        "\"legal\"",
        "\"left_out\",\"why\":\"it is a test\",\"help\":null,\"was\":\"legal\"",
        1,
    );
    assert_ne!(text, other);
    std::fs::write(&kept, other).expect("a file");
    let fewer = good(&folder.nestor(&pending));
    assert!(fewer.lines().count() < first.lines().count(), "{fewer}");
    std::fs::write(&kept, &text[..text.len() / 2]).expect("a file");
    assert_eq!(good(&folder.nestor(&pending)), first);
    assert_eq!(std::fs::read_to_string(&kept).expect("verdicts"), text);
}

#[test]
fn seeds_begin_where_they_are_told_and_operations_may_be_equal() {
    let folder = three("explore-equal");
    let more = ["--first-seed", "7", "--seeds", "1", "--equal", "operations", "--json"];
    let report: Value =
        serde_json::from_str(&good(&folder.nestor(&[&with("out")[..], &more].concat())))
            .expect("JSON");
    let ranked = report["ranked"].as_array().expect("a ranking");
    assert_eq!(ranked.len(), 3);
    let mut work: Vec<f64> = Vec::new();
    for one in ranked {
        let command = one["command"].as_str().expect("a command");
        assert!(command.contains("--seed 7"), "{command}");
        let steps = command.split(" --steps ").nth(1).and_then(|s| s.split(' ').next());
        let steps: f64 = steps.and_then(|s| s.parse().ok()).expect("steps");
        work.push(steps * one["operations_per_token"].as_f64().expect("operations"));
        // It is what was trained, to the last digit.
        let words: Vec<&str> = command.split(' ').skip(1).chain(["--json"]).collect();
        let again: Value =
            serde_json::from_str(&good(&folder.nestor(&words))).expect("JSON");
        assert_eq!(again["score"], one["scores"][0]);
    }
    let (least, most) =
        work.iter().fold((f64::MAX, 0.0_f64), |(a, b), w| (a.min(*w), b.max(*w)));
    assert!(most / least < 1.1, "{work:?}");
}

#[test]
fn trials_may_run_anywhere() {
    let folder = three("explore-pending");
    good(&folder.nestor(&with("here")));
    let pending = [with("there"), vec!["--pending"]].concat();
    let mut rounds = 0;
    loop {
        let printed = good(&folder.nestor(&pending));
        if printed.is_empty() {
            break;
        }
        rounds += 1;
        for line in printed.lines().rev() {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(words[..2], ["nestor", "trial"], "{line}");
            good(&folder.nestor(&words[1..]));
        }
    }
    assert_eq!(rounds, 2);
    good(&folder.nestor(&with("there")));
    assert_eq!(results(&folder, "here"), results(&folder, "there"));
}

#[test]
fn what_cannot_be_explored_is_said() {
    let folder = grid("explore-wrong");
    let said = refused(&folder.nestor(&["explore", "tiny.nest", "--task", "mqar"]), 1);
    assert!(said.contains("has no sweep"), "{said}");
    let wrong = GRID.replace("bias      in", "bios      in");
    folder.write("wrong.nest", [CELL, &wrong].concat());
    let said = refused(&folder.nestor(&["explore", "wrong.nest", "--list"]), 1);
    assert!(
        said.contains("`bios` is no parameter or clause of the memory `Cell`"),
        "{said}"
    );
    let said = refused(&folder.nestor(&["explore", "grid.nest", "--task", "mqarr"]), 1);
    assert!(said.contains("did you mean `mqar`?"), "{said}");
    let said = refused(&folder.nestor(&["train", "tiny.nest", "--task", "mqar"]), 1);
    assert!(said.contains("in asked: bool"), "{said}");
    let said = good(&folder.nestor(&["explore", "grid.nest", "--list"]));
    assert!(said.contains("left out: nothing"), "{said}");
}

#[test]
fn a_trial_that_leaves_the_range_of_numbers_is_a_result() {
    let folder = grid("explore-failed");
    let wild = GRID.replace("cosine(1e-2, warmup = 2)", "1e30").replace(
        "    bias      in [dot, l2, huber(delta = 0.5), nothing]\n    algorithm in [sgd(beta), momentum(beta = 0.5, eta = beta)]\n",
        "",
    );
    folder.write("grid.nest", [CELL, &wild].concat());
    let report: Value =
        serde_json::from_str(&good(&folder.nestor(&[ASKED, &["--json"]].concat())))
            .expect("JSON");
    assert_eq!(report["ranked"], serde_json::json!([]));
    let failures = report["failures"].as_array().expect("a list");
    assert!(!failures.is_empty());
    for failure in failures {
        let cause = failure[1].as_str().expect("a cause");
        assert!(cause.contains("not finite"), "{cause}");
    }
}

#[test]
fn a_trial_without_memory_is_a_result_with_its_cause() {
    let folder = three("explore-memory");
    // So many sequences take more addresses than there are; judging takes no such room.
    let words: Vec<&str> = with("out")
        .into_iter()
        .map(|w| if w == "4" { "200000" } else { w })
        .chain(["--seeds", "1", "--json"])
        .collect();
    let limited = format!("ulimit -v {}; exec \"$0\" \"$@\"", 1 << 20);
    let output = std::process::Command::new("sh")
        .args(["-c", &limited, env!("CARGO_BIN_EXE_nestor")])
        .args(&words)
        .current_dir(folder.path(""))
        .output()
        .expect("it runs");
    let report: Value = serde_json::from_str(&good(&output)).expect("JSON");
    assert_eq!(report["ranked"], serde_json::json!([]));
    let failures = report["failures"].as_array().expect("a list");
    assert_eq!(failures.len(), 3, "{failures:?}");
    for failure in failures {
        let cause = failure[1].as_str().expect("a cause");
        assert!(cause.contains("no memory was left: memory allocation of"), "{cause}");
    }
}

#[test]
fn who_placed_a_trial_may_say_that_it_died() {
    let folder = three("explore-told");
    let pending = [&with("out")[..], &["--pending"]].concat();
    let printed = good(&folder.nestor(&pending));
    let first = printed.lines().next().expect("a trial");
    let words: Vec<&str> = first.split(' ').skip(1).collect();
    let told = |status: &str| {
        good(&folder.nestor(&[&words[..], &["--died", status]].concat()));
        good(&folder.nestor(&pending)).lines().count()
    };
    let all = printed.lines().count();
    // Somebody ended it: it is to be run again. Killed for want of memory: that is its result.
    assert_eq!(told("143"), all);
    assert_eq!(told("137"), all - 1);
    // What there is stays.
    assert_eq!(told("1"), all - 1);
}
