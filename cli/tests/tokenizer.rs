//! A Hugging Face tokenizer from the text to the generated text.

use crate::common::{Folder, good, refused};

#[test]
fn a_tokenizer_is_used_from_end_to_end() {
    let folder = Folder::new("tokenizer");
    folder.write("tokenizer.json", include_str!("tokenizer.json"));
    let tokens = ["--tokenizer", "tokenizer.json", "--set", "vocab=267"];
    good(&folder.train("run", &tokens).output().expect("the command runs"));
    // Fewer tokens than bytes, kept in the run's cache.
    let text = std::fs::metadata(folder.path("text.txt")).expect("the text").len();
    let cache = std::fs::read_dir(folder.path("run/cache")).expect("the cache");
    let kept: u64 = cache.map(|e| e.expect("a file").metadata().expect("it").len()).sum();
    assert!(kept > text && kept < 2 * text, "{kept} bytes for {text}");
    let measured = good(&folder.nestor(&["eval", "run", "--json"]));
    let measured: serde_json::Value = serde_json::from_str(&measured).expect("JSON");
    let (bits, loss) = (&measured["bits_per_byte"], &measured["loss"]);
    let (bits, loss) = (bits.as_f64().expect("bits"), loss.as_f64().expect("loss"));
    // A token is more than a byte, so bits a byte are fewer than bits a token.
    assert!(bits < 0.95 * loss / std::f64::consts::LN_2, "{bits} for {loss}");
    let generate = |more: &[&str]| {
        let arguments = ["generate", "run", "--prompt", "16 25 ä 4", "--tokens", "40"];
        good(&folder.nestor(&[&arguments[..], more].concat()))
    };
    let written = generate(&[]);
    assert!(written.starts_with("16 25 ä 4"), "{written}");
    let report: serde_json::Value =
        serde_json::from_str(&generate(&["--json"])).expect("JSON");
    assert_eq!(report["text"].as_str().expect("text"), written.trim_end_matches('\n'));
    // The run is resumed to the same bits, and another tokenizer is refused.
    let mut more = tokens.to_vec();
    more.push("--resume");
    good(&folder.train("run", &more).output().expect("the command runs"));
    let other = include_str!("tokenizer.json").replace("[\"1\",\"2\"]", "[\"2\",\"1\"]");
    let other = other.replace("\"12\":266", "\"21\":266");
    folder.write("tokenizer.json", other);
    let error = refused(&folder.train("run", &more).output().expect("it runs"), 1);
    assert!(error.contains("this is another run: the tokenizer"), "{error}");
    let error = refused(&folder.nestor(&["generate", "run", "--prompt", "1"]), 1);
    assert!(error.contains("is not the tokenizer that the run began with"), "{error}");
}
