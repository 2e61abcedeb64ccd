//! The `nestor` command: the only place that reads arguments, prints, or touches a terminal.
//!
//! Exit status: 0 good, 1 the user's spec or data is wrong, 2 usage, 3 our bug.

mod adapting;
mod arguments;
mod artifact;
mod bench;
mod check;
mod compile;
mod device;
mod doctor;
mod duration;
mod eval;
mod explain;
mod explore;
mod fail;
mod from;
mod generate;
mod gpu;
mod graph;
mod interrupt;
mod levels;
mod losses;
mod model;
mod not_finite;
mod positions;
mod progress;
mod roles;
mod run;
mod run_folder;
mod run_kept;
mod session;
mod spec;
mod state;
mod task;
mod train;
mod tune;
mod tuned;
mod verify;

use arguments::{Arguments, Command};
use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser};
use fail::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = parsed();
    let json = arguments.json;
    let result = match arguments.command {
        Command::Check { files } => check::check(&files, json),
        Command::Fmt { files, check } => check::format(&files, check, json),
        Command::Compile(arguments) => compile::compile(&arguments, json),
        Command::Run { file, name, inputs, outputs, how, choices } => {
            run::run(&file, name.as_deref(), &inputs, &outputs, &choices, &how, json)
        }
        Command::Verify { file, name, on, choices } => {
            verify::verify(file.as_deref(), name.as_deref(), &choices, &on, json)
        }
        Command::Explain { file, name, latex, tuned, choices } => {
            let way = match (json, latex) {
                (true, _) => explain::Way::Json,
                (false, true) => explain::Way::Latex,
                (false, false) => explain::Way::Text,
            };
            explain::explain(&file, name.as_deref(), &tuned, &choices, way)
        }
        Command::Train(arguments) => train::train(&arguments, json),
        Command::Explore(arguments) => explore::explore(&arguments, json),
        Command::Trial(arguments) => explore::trial(&arguments),
        Command::Worker => explore::worker(),
        Command::Task { name, sample, seed, data } => {
            task::task(name.as_deref(), sample, seed, data, json)
        }
        Command::Graph(arguments) => graph::graph(&arguments, json),
        Command::Eval(arguments) => eval::eval(&arguments, json),
        Command::Generate(arguments) => generate::generate(&arguments, json),
        Command::State(arguments) => state::state(&arguments, json),
        Command::Bench(arguments) => bench::bench(&arguments, json),
        Command::Tune(arguments) => tune::tune(&arguments, json),
        Command::Doctor => doctor::doctor(json),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { status, message }) => {
            if !message.is_empty() {
                anstream::eprintln!("{}", message.trim_end());
                if json {
                    let error = message.trim_end().trim_start_matches("error: ");
                    let report = serde_json::json!({ "error": error, "status": status });
                    anstream::println!("{report}");
                }
            }
            ExitCode::from(status)
        }
    }
}

/// What was asked for; commands that are hidden are no tip for one that is misspelt.
fn parsed() -> Arguments {
    Arguments::try_parse().unwrap_or_else(|mut error| {
        let near = ContextKind::SuggestedSubcommand;
        if let Some(ContextValue::Strings(mut names)) = error.remove(near) {
            let all = Arguments::command();
            names.retain(|name| {
                all.find_subcommand(name).is_some_and(|c| !c.is_hide_set())
            });
            if !names.is_empty() {
                error.insert(near, ContextValue::Strings(names));
            }
        }
        error.exit()
    })
}
