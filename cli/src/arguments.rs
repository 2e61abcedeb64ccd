//! The command line: what may be asked, with the help that teaches it.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// A compiler for nested-learning architectures: write what a memory minimises, how it forgets
/// and how it learns.
#[derive(Parser, Debug)]
#[command(name = "nestor", version, about, max_term_width = 100)]
#[command(after_help = "Start here:\n  \
    nestor check examples/gated_delta.nest           find every problem of a spec\n  \
    nestor compile examples/gated_delta.nest --emit levels   see the checked model\n  \
    nestor doctor                                    see what this machine offers")]
pub(crate) struct Arguments {
    /// Print results as JSON, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Parse and check files; every problem with its place, cause and a way out.
    Check {
        /// Files to check.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Lay files out in the one style, comments kept.
    Fmt {
        /// Files to format in place.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Change nothing; fail where a file is not laid out so.
        #[arg(long)]
        check: bool,
    },
    /// Print one stage of the compiler.
    Compile {
        /// The file.
        file: PathBuf,
        /// A memory, layer or model of it; the last one where left out.
        name: Option<String>,
        /// The stage to print.
        #[arg(long)]
        emit: Emit,
        #[command(flatten)]
        choices: Choices,
    },
    /// Run a memory or layer by its definition, token by token in float64.
    Run {
        /// The file.
        file: PathBuf,
        /// The memory or layer.
        name: String,
        /// Streams `[B, T, ...]` by name and learned values by path (`init.W1`), as safetensors.
        #[arg(long)]
        inputs: PathBuf,
        /// Where outputs and final states (`state.W1`) go.
        #[arg(long)]
        outputs: PathBuf,
        #[command(flatten)]
        choices: Choices,
    },
    /// Say what this machine offers.
    Doctor,
}

/// What a user may decide about a compilation.
#[derive(Args, Debug, Clone)]
pub(crate) struct Choices {
    /// Set a compile-time parameter of the entry: `--set d=64`.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
}

/// A stage whose text can be printed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Emit {
    /// The syntax tree.
    Ast,
    /// The checked model, token by token, and its levels.
    Levels,
}
