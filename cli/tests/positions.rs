//! Bits a byte by place: carried memory does not depend on how a text is cut into segments, memory that begins
//! again makes every segment a first one, and answers are sought among the classes that a task says.

use crate::common::{Folder, good, refused};

/// Two lists of numbers that the command gave.
fn measured(folder: &Folder, run: &str, more: &[&str]) -> [Vec<f64>; 2] {
    let said = good(&folder.nestor(&[&["eval", run, "--json"], more].concat()));
    let found: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    ["carried", "reset"].map(|name| {
        let list = found[name].as_array().expect("a list");
        list.iter().map(|x| x.as_f64().expect("a number")).collect()
    })
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-4
}

#[test]
fn carried_memory_does_not_depend_on_where_a_text_is_cut() {
    let folder = Folder::new("positions");
    good(&folder.train("short", &[]).output().expect("the command runs"));
    // The same run, as if its sequences were three times as long.
    std::fs::create_dir_all(folder.path("long")).expect("a folder");
    let last = "checkpoint-00000060.safetensors";
    std::fs::copy(folder.path("short").join(last), folder.path("long").join(last))
        .expect("it is copied");
    let text = std::fs::read_to_string(folder.path("short/run.json")).expect("a run");
    assert!(text.contains("\"length\": 40"), "{text}");
    folder.write("long/run.json", text.replace("\"length\": 40", "\"length\": 120"));
    let places = ["--positions", "120", "--reach", "360", "--rows", "2"];
    let all = [&places[..], &["--data", "text.txt"]].concat();
    let short = measured(&folder, "short", &all);
    let long = measured(&folder, "long", &all);
    assert_eq!(short[0].len(), 3);
    for (a, b) in short[0].iter().zip(&long[0]) {
        assert!(near(*a, *b), "{short:?} {long:?}");
    }
    // The first segment is the same either way, the later ones are not.
    assert!(near(long[0][0], long[1][0]));
    assert!(!near(long[0][1], long[1][1]) && !near(short[1][0], long[1][0]));
    let refusal = refused(&folder.nestor(&["eval", "short", "--positions", "100"]), 2);
    assert!(refusal.contains("segments have 40 tokens"), "{refusal}");
    let far = ["eval", "short", "--positions", "40", "--reach", "40000"];
    assert!(refused(&folder.nestor(&far), 1).contains("fewer than one sequence"));
}

#[test]
fn answers_are_sought_among_the_classes_of_a_stage() {
    let folder = Folder::new("among");
    folder.write(
        "asked.nest",
        "\
model Asked(vocab = 257, d = 8) {
    in tokens: int(vocab)
    in targets: int(vocab)
    in asked: bool
    logits = tokens |> Embedding(vocab, d) |> GDN(d, heads = 2) |> RMSNorm(d) |> Linear(d, vocab)
    loss   = cross_entropy(logits, targets) when asked
    out logits
    level pretrain every 1 step { minimize loss over * using adamw(lr = 1e-2) clip 1 }
}
",
    );
    std::fs::create_dir_all(folder.path("data/banking77")).expect("a folder");
    for part in ["train", "test"] {
        let rows = "text,category\nwhere is it,a\nwhat is it,b\nwho is it,c\n";
        folder.write(&format!("data/banking77/{part}.csv"), rows);
    }
    let task = |first: usize, more: &str| {
        format!("banking77:first={first},last={},length=12,test=8{more}", first + 1)
    };
    good(&folder.nestor(&[
        "train",
        "asked.nest",
        "--task",
        &task(0, ""),
        "--data",
        "data",
        "--steps",
        "40",
        "--out",
        "run",
    ]));
    let score = |task: &str| -> f64 {
        let said = good(
            &folder.nestor(&["eval", "run", "--task", task, "--data", "data", "--json"]),
        );
        let found: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        found["score"].as_f64().expect("a score")
    };
    // It has learned to say the first class; among one class there is no other answer.
    assert_eq!([score(&task(0, "")), score(&task(1, ""))], [1.0, 0.0]);
    assert_eq!(score(&task(1, ",among=1")), 1.0);
}
