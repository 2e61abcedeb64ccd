//! The command itself: a run that is killed, interrupted or short of room loses nothing.

use crate::common::{Folder, good, lines, refused, said, signal};
use nestor_runtime::train::rng::Stream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn a_run_killed_at_any_time_and_resumed_ends_with_the_same_bits() {
    let folder = Folder::new("killed");
    let began = Instant::now();
    good(&folder.train("whole", &[]).output().expect("the command runs"));
    let whole = began.elapsed().as_secs_f64();
    let mut times = Stream::new(7, "times to kill at");
    let mut before_the_first = 0;
    for n in 0..12 {
        let out = format!("killed{n}");
        let mut sittings = 0;
        // Killed again and again, each time somewhere else, until it is let be.
        for _ in 0..2 {
            let mut child = folder
                .train(&out, &["--resume"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("the command runs");
            std::thread::sleep(Duration::from_secs_f64(whole * times.uniform()));
            sittings += 1;
            child.kill().expect("it is ours");
            child.wait().expect("it is ours");
        }
        before_the_first +=
            usize::from(lines(&folder.path(&out).join("metrics.jsonl")) < 7);
        good(&folder.train(&out, &["--resume"]).output().expect("the command runs"));
        assert_eq!(folder.weights("whole"), folder.weights(&out), "run {n}");
        assert_eq!(lines(&folder.path(&out).join("metrics.jsonl")), 60, "{sittings}");
    }
    assert!(before_the_first < 12, "no run came to its first checkpoint");
}

#[test]
fn a_run_goes_on_as_it_began_in_all_that_is_not_said() {
    let folder = Folder::new("remembered");
    good(&folder.train("whole", &["--seed", "3"]).output().expect("the command runs"));
    let paused = folder.train("paused", &["--seed", "3", "--until", "25"]).output();
    good(&paused.expect("the command runs"));
    good(&folder.nestor(&["train", "tiny.nest", "--out", "paused", "--resume"]));
    assert_eq!(folder.weights("whole"), folder.weights("paused"));
}

#[test]
fn an_interrupt_saves_and_says_so() {
    let folder = Folder::new("interrupt");
    good(&folder.train("whole", &[]).output().expect("the command runs"));
    for name in ["-INT", "-TERM"] {
        let out = format!("stopped{name}");
        let mut command = folder.train(&out, &[]);
        let child = command.stdout(Stdio::piped()).spawn().expect("the command runs");
        let began = Instant::now();
        while lines(&folder.path(&out).join("metrics.jsonl")) < 3 {
            assert!(began.elapsed() < Duration::from_secs(120), "no step was taken");
            std::thread::sleep(Duration::from_millis(1));
        }
        signal(name, &child);
        let text = good(&child.wait_with_output().expect("it ends"));
        let step = lines(&folder.path(&out).join("metrics.jsonl"));
        assert!(step < 60, "it was not stopped");
        let saved = format!("checkpoint-{step:08}.safetensors");
        assert!(folder.path(&out).join(&saved).exists(), "{text}");
        assert!(text.contains(&format!("stopped after step {step}")), "{text}");
        assert!(text.contains(&saved), "{text}");
        // The command that is printed goes on.
        let again = text.lines().find_map(|l| l.split_once("nestor train")).expect("it");
        let arguments: Vec<&str> = again.1.split_whitespace().collect();
        let mut command = folder.command(&["train"]);
        good(&command.args(arguments).output().expect("the command runs"));
        assert_eq!(folder.weights("whole"), folder.weights(&out));
    }
}

#[test]
fn a_full_disk_is_said_and_the_checkpoints_before_are_good() {
    let folder = Folder::new("full");
    good(&folder.train("whole", &[]).output().expect("the command runs"));
    let size = std::fs::metadata(folder.path("whole/checkpoint-00000060.safetensors"));
    let size = size.expect("the checkpoint").len();
    // Files may grow to less than a checkpoint: writing fails as it does on a full disk.
    let limited = |out: &str, more: &[&str], blocks: u64| {
        let command = folder.train(out, more);
        let words: Vec<String> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|a| format!("'{}'", a.to_string_lossy()))
            .collect();
        let script =
            format!("trap '' XFSZ; ulimit -f {blocks}; exec {}", words.join(" "));
        let mut shell = Command::new("sh");
        shell.current_dir(&folder.0).args(["-c", &script]);
        shell.output().expect("sh runs")
    };
    let first = refused(&limited("none", &[], size / 512 / 2), 1);
    assert!(first.contains("checkpoint-00000007"), "{first}");
    assert!(first.contains("the disk is full: make room, then resume"), "{first}");

    let mut child = folder
        .train("some", &[])
        .stdout(Stdio::null())
        .spawn()
        .expect("the command runs");
    while !folder.path("some/checkpoint-00000014.safetensors").exists() {
        if child.try_wait().expect("it is ours").is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = child.kill();
    let _ = child.wait();
    let before = std::fs::read_dir(folder.path("some")).expect("the run").count();
    let error = refused(&limited("some", &["--resume"], size / 512 / 2), 1);
    assert!(error.contains("the disk is full"), "{error}");
    let after = std::fs::read_dir(folder.path("some")).expect("the run").count();
    assert!(after <= before, "something torn is left");
    good(&folder.train("some", &["--resume"]).output().expect("the command runs"));
    good(&folder.train("none", &["--resume"]).output().expect("the command runs"));
    for out in ["some", "none"] {
        assert_eq!(folder.weights("whole"), folder.weights(out), "{out}");
    }
}

#[test]
fn what_a_run_left_is_measured_and_not_overwritten() {
    let folder = Folder::new("use");
    good(&folder.train("run", &[]).output().expect("the command runs"));
    let measured = good(&folder.nestor(&["eval", "run", "--json"]));
    assert!(measured.contains("bits_per_byte"), "{measured}");
    assert!(folder.path("run/curve.svg").exists());
    let again = refused(&folder.train("run", &[]).output().expect("it runs"), 1);
    assert!(again.contains("holds a run already: `--resume`"), "{again}");
    let other = folder.train("run", &["--resume", "--seed", "3"]).output().expect("runs");
    assert!(refused(&other, 1).contains("this is another run"));
    // A damaged checkpoint is passed over for the one before.
    let path = folder.path("run/checkpoint-00000060.safetensors");
    let mut bytes = std::fs::read(&path).expect("the checkpoint");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).expect("it is damaged");
    let (_, error) = said(&folder.nestor(&["eval", "run"]));
    assert!(error.contains("checkpoint-00000060.safetensors is damaged"), "{error}");
    assert!(error.contains("checkpoint-00000056"), "{error}");
    good(&folder.nestor(&["eval", "run"]));
}
