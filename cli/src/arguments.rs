//! The command line: what may be asked, with the help that teaches it.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// A compiler for nested-learning architectures: write what a memory minimises, how it forgets
/// and how it learns; get its exact, parallel, differentiated program, trained and run.
#[derive(Parser, Debug)]
#[command(name = "nestor", version, about, max_term_width = 100)]
#[command(after_help = "Start here:\n  \
    nestor train examples/gated_delta.nest     train a language model on the shipped text\n  \
    nestor explain examples/gated_delta.nest   see the derived update and the form chosen\n  \
    nestor doctor                              see what this machine offers")]
pub(crate) struct Arguments {
    /// Print results as JSON, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say how long each stage of the compiler took.
    #[arg(long, global = true)]
    pub(crate) timings: bool,
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
    /// Show a memory's MIRAS coordinates, its derived update, its class, and the form chosen with reasons.
    Explain {
        /// The file.
        file: PathBuf,
        /// A memory, layer or model of it; all of them where left out.
        name: Option<String>,
        #[command(flatten)]
        choices: Choices,
    },
    /// Print one stage of the compiler, or write the compiled artifact.
    Compile {
        /// The file.
        file: PathBuf,
        /// A memory, layer or model of it; the last definition where left out.
        name: Option<String>,
        /// What to compile for.
        #[arg(long, default_value = "cpu")]
        target: String,
        /// Print this stage's text instead of writing anything.
        #[arg(long)]
        emit: Option<Emit>,
        /// Where to write the artifact.
        #[arg(short, long)]
        out: Option<PathBuf>,
        /// Include the gradient.
        #[arg(long)]
        grad: bool,
        #[command(flatten)]
        choices: Choices,
    },
    /// Run a memory or layer on tensors: `[B, T, ...]` by name in, outputs, states and gradients out.
    Run {
        /// The file.
        file: PathBuf,
        /// The memory or layer.
        name: String,
        /// Streams by name, learned values by path (`init.W1`), states (`state.W`), cotangents (`grad.y`).
        #[arg(long)]
        inputs: PathBuf,
        /// Where outputs go.
        #[arg(long)]
        outputs: PathBuf,
        /// Also write `grad.<input>` for every input and parameter.
        #[arg(long)]
        grad: bool,
        #[command(flatten)]
        choices: Choices,
        /// Where to run.
        #[arg(long, default_value = "cpu")]
        device: String,
    },
    /// Compare every legal form and every engine with the float64 token-by-token definition.
    Verify {
        /// The file.
        file: PathBuf,
        /// A memory, layer or model of it; all that can be run where left out.
        name: Option<String>,
        #[command(flatten)]
        choices: Choices,
    },
    /// Train a model; progress, checkpoints and a loss curve in the run's folder.
    Train(TrainArguments),
    /// Measure a trained model on data.
    Eval {
        /// A run's folder.
        run: PathBuf,
        /// Text to measure on; the run's held-out part where left out.
        #[arg(long)]
        data: Option<PathBuf>,
    },
    /// Continue a text with a trained model.
    Generate {
        /// A run's folder.
        run: PathBuf,
        /// How the text begins.
        #[arg(long, default_value = "\n")]
        prompt: String,
        /// How many tokens to add.
        #[arg(long, default_value_t = 400)]
        tokens: usize,
        /// Flatter above 1, sharper below; 0 takes the likeliest token.
        #[arg(long, default_value_t = 0.8)]
        temperature: f64,
        /// Choose among this many likeliest tokens only; 0 for all.
        #[arg(long, default_value_t = 0)]
        top_k: usize,
        /// Seed of the choices.
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Say what this machine offers and what each missing thing would add.
    Doctor,
}

/// What a user may decide about a compilation.
#[derive(Args, Debug, Clone)]
pub(crate) struct Choices {
    /// Set a compile-time parameter of the entry: `--set d=64`.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// Force a form: auto, sequential, affine, dual, attention.
    #[arg(long, default_value = "auto")]
    pub(crate) form: String,
    /// Tokens of a chunk, where the form leaves it open.
    #[arg(long)]
    pub(crate) chunk: Option<usize>,
    /// Working precision.
    #[arg(long, default_value = "f32")]
    pub(crate) dtype: Dtype,
    /// Compiled code, or the slow interpreter that is the judge of it.
    #[arg(long, default_value = "compiled")]
    pub(crate) engine: Engine,
}

/// Working precision.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dtype {
    /// 32 bits.
    F32,
    /// 64 bits.
    F64,
}

/// What executes a program.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// Machine code.
    Compiled,
    /// The tensor interpreter.
    Interpret,
}

/// A stage whose text can be printed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Emit {
    /// The syntax tree.
    Ast,
    /// The checked model, token by token, and its levels.
    Levels,
    /// Whole sequences, memories as scans with explicit inner gradients.
    Tensors,
    /// The inner gradients derived.
    Derived,
    /// The parallel form.
    Parallel,
    /// With the outer gradient.
    Grad,
    /// Which ops form one kernel, and why each cut was made.
    Fused,
    /// The tile kernels.
    Tiles,
    /// Buffers and launches.
    Plan,
    /// Cranelift's input.
    Clif,
}

/// How to train.
#[derive(Args, Debug)]
pub(crate) struct TrainArguments {
    /// The file with the model, or a run's folder with --resume.
    pub(crate) file: PathBuf,
    /// The model; the file's last where left out.
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Text file or folder; the shipped text where left out.
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// A Hugging Face tokenizer.json; bytes where left out.
    #[arg(long)]
    pub(crate) tokenizer: Option<PathBuf>,
    /// Steps of training.
    #[arg(long)]
    pub(crate) steps: Option<u64>,
    /// Sequences a step.
    #[arg(long)]
    pub(crate) batch: Option<usize>,
    /// Tokens a sequence.
    #[arg(long)]
    pub(crate) length: Option<usize>,
    /// Seed of initial values and of the order of the data.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// The run's folder; `runs/<model>-<hash>` where left out.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Go on where the last checkpoint of the run stands.
    #[arg(long)]
    pub(crate) resume: bool,
    #[command(flatten)]
    pub(crate) choices: Choices,
    /// Where to train.
    #[arg(long, default_value = "cpu")]
    pub(crate) device: String,
}
