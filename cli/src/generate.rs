//! `generate`: a run's model writes on from a prompt, token by token.

use crate::adapting::{Adapting, is_slow};
use crate::device::{Where, unready};
use crate::fail::{Failure, Outcome};
use crate::interrupt;
use crate::roles::Roles;
use crate::run_folder::Left;
use nestor_compiler::Program;
use nestor_compiler::level::Clock;
use nestor_compiler::trained::answers_for;
use nestor_runtime::past_file;
use nestor_runtime::reader::Reader;
use nestor_runtime::tensor_file::HostTensor;
use nestor_runtime::train::rng::Stream;
use nestor_runtime::train::tokens::{Codec, Streamed};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// `generate`.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct GenerateArguments {
    /// The folder of a run.
    pub(crate) run: PathBuf,
    /// The text to go on from; may be empty where `--state` holds the beginning.
    #[arg(long, default_value = "")]
    pub(crate) prompt: String,
    /// How many tokens to write.
    #[arg(long, default_value_t = 300)]
    pub(crate) tokens: usize,
    /// How bold: 0 takes the likeliest token.
    #[arg(long, default_value_t = 0.8)]
    pub(crate) temperature: f64,
    /// The seed.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Levels that are `online` learn from the text, prompt and answer, a step for every so many tokens as
    /// a sequence of the run has.
    #[arg(long)]
    pub(crate) adapt: bool,
    /// The file that keeps what the memories hold: read first where it is there, written at the
    /// end. Two calls with one state file are one call on the joined text.
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) on: Where,
}

/// Writes on from a prompt.
pub(crate) fn generate(a: &GenerateArguments, json: bool) -> Outcome {
    let place = a.on.open()?;
    let Left { run, program, state, position, hash } = Left::open(&a.run)?;
    let roles = Roles::of(&program)?;
    let (stream, vocabulary) = roles.tokens()?;
    every_token(&program)?;
    let codec = Codec::open(run.tokenizer.as_deref()).map_err(Failure::data)?;
    let compiled =
        answers_for(&program, run.forms(), place.machine()).map_err(Failure::native)?;
    let mut reader = Reader::new(
        [compiled.begin, compiled.step],
        place.device(),
        stream,
        vocabulary,
        &state,
    )
    .map_err(unready)?;
    let mut learner = match a.adapt {
        true => Some(Adapting::new(&run, &program, &position, &state, &place)?),
        false => None,
    };
    let kept = a.state.as_deref().filter(|path| path.exists());
    if let Some(path) = kept {
        let mut past = past_file::load(path, &hash, &state).map_err(Failure::data)?;
        let (slow, fast) = past.states.into_iter().partition(is_slow);
        let slow: Vec<HostTensor> = slow;
        past.states = fast;
        reader.resume(past);
        match &mut learner {
            Some(learner) => {
                learner.resume(&slow)?;
                reader.weights(&learner.weights()).map_err(Failure::bug)?;
            }
            None if !slow.is_empty() => {
                return Err(Failure::usage(format!(
                    "{} holds what levels learned in use: go on with `--adapt`",
                    path.display()
                )));
            }
            None => {}
        }
    }
    let prompt = codec.encode(&a.prompt).map_err(Failure::data)?;
    if prompt.is_empty() && reader.past().position == 0 {
        return Err(Failure::usage(
            "the prompt is empty: there is nothing to go on from; give `--prompt TEXT`",
        ));
    }
    if let Some(token) = prompt.iter().find(|t| !(0..vocabulary as i32).contains(*t)) {
        return Err(Failure::data(format!(
            "the prompt has token {token}, `{}` knows the tokens below {vocabulary}: \
             it was trained with another tokenizer",
            program.name
        )));
    }
    let stop = interrupt::flag();
    let mut shown = Shown { json, text: String::new(), closed: false };
    shown.text(&a.prompt)?;
    let mut text = Streamed::after(&codec, &prompt);
    let draws = Stream::new(a.seed, "generate");
    let mut tokens = Vec::new();
    read(&mut reader, &mut learner, &prompt)?;
    let began = Instant::now();
    while tokens.len() < a.tokens && !stop.load(Ordering::Relaxed) && !shown.closed {
        // A draw depends on the seed and on the place alone, so that calls in a row are one.
        let mut draw = draws.fork(reader.past().position as u64);
        let next = sample(&reader.past().logits, a.temperature, &mut draw);
        tokens.push(next);
        shown.text(&text.push(next))?;
        read(&mut reader, &mut learner, &[next])?;
    }
    let seconds = began.elapsed().as_secs_f64();
    shown.text(&text.rest())?;
    if let Some(path) = &a.state {
        let mut past = reader.past().clone();
        past.states.extend(learner.iter().flat_map(Adapting::kept));
        past_file::save(path, &hash, &state, &past).map_err(Failure::data)?;
    }
    let rate = tokens.len() as f64 / seconds.max(1e-9);
    if json {
        let report = serde_json::json!({
            "prompt": a.prompt, "text": shown.text, "tokens": tokens,
            "position": reader.past().position, "tokens_per_second": rate,
            "stopped": stop.load(Ordering::Relaxed),
        });
        anstream::println!("{report}");
        return Ok(());
    }
    shown.text("\n")?;
    if std::io::stderr().is_terminal() {
        anstream::eprintln!("{} tokens, {rate:.0} tokens/s", tokens.len());
    }
    Ok(())
}

/// Reads tokens, and learns from them where that was asked for.
fn read(reader: &mut Reader, learner: &mut Option<Adapting>, tokens: &[i32]) -> Outcome {
    reader.read(tokens).map_err(Failure::bug)?;
    if let Some(learner) = learner
        && learner.read(tokens)?
    {
        reader.weights(&learner.weights()).map_err(Failure::bug)?;
    }
    Ok(())
}

/// Refuses a model that has something to say more rarely than at every token.
fn every_token(program: &Program) -> Outcome {
    let outputs = program.code.outputs.iter().zip(&program.output_clocks);
    let mut slow = outputs.filter(|(_, clock)| **clock != Clock::Tokens(1));
    let Some((output, clock)) = slow.find(|(o, _)| o.name == "logits") else {
        return Ok(());
    };
    let when = match clock {
        Clock::Tokens(n) => format!("every {n} tokens"),
        _ => "once a sequence".to_owned(),
    };
    Err(Failure::usage(format!(
        "`{}` gives `{}` {when}: a text is written token by token",
        program.name, output.name
    )))
}

/// What was written: at once for people, together for programs.
struct Shown {
    json: bool,
    text: String,
    /// Nobody reads any more.
    closed: bool,
}

impl Shown {
    fn text(&mut self, text: &str) -> Outcome {
        self.text.push_str(text);
        if self.json {
            return Ok(());
        }
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            other => other.map_err(|e| Failure::data(format!("cannot write: {e}"))),
        }
    }
}

/// A token drawn from the model's distribution, sharpened by the temperature.
fn sample(logits: &[f32], temperature: f64, stream: &mut Stream) -> i32 {
    let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let place = |n: usize| i32::try_from(n).unwrap_or(0);
    if temperature <= 0.0 {
        return place(logits.iter().position(|l| *l == best).unwrap_or(0));
    }
    let weight = |l: &f32| (f64::from(l - best) / temperature).exp();
    let total: f64 = logits.iter().map(weight).sum();
    let mut left = stream.uniform() * total;
    for (n, l) in logits.iter().enumerate() {
        left -= weight(l);
        if left <= 0.0 {
            return place(n);
        }
    }
    place(logits.len() - 1)
}
