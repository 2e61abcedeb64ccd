//! The command line: what may be asked, with the help that teaches it.

use crate::bench::BenchArguments;
use crate::device::Where;
use crate::duration::duration;
use crate::eval::EvalArguments;
use crate::from::FromArguments;
use crate::generate::GenerateArguments;
use crate::graph::GraphArguments;
use crate::state::StateArguments;
use crate::tune::TuneArguments;
use crate::tuned::TunedArguments;
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use nestor_compiler::gpu::Products;
use nestor_compiler::machine::TARGETS;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A compiler for nested-learning architectures: write what a memory minimises, how it forgets
/// and how it learns.
#[derive(Parser, Debug)]
#[command(name = "nestor", version, about, max_term_width = 100)]
#[command(after_help = "Start here:\n  \
    nestor check examples/gated_delta.nest           find every problem of a spec\n  \
    nestor compile examples/gated_delta.nest --emit levels   see the checked model\n  \
    nestor train examples/gated_delta.nest           train a language model\n  \
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
    #[command(
        after_help = "Examples:\n  nestor check examples/gated_delta.nest\n  nestor check examples"
    )]
    Check {
        /// Files to check, or folders of them.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Lay files out in the one style, comments kept.
    #[command(after_help = "Example:\n  nestor fmt --check my_rule.nest")]
    Fmt {
        /// Files to format in place, or folders of them.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Change nothing; fail where a file is not laid out so.
        #[arg(long)]
        check: bool,
    },
    /// Print one stage of the compiler, or write all that a program becomes to a folder: its plan
    /// and kernels as text, how its weights lie, and where it is from.
    #[command(
        after_help = "Examples:\n  nestor compile examples/titans.nest --emit derived\n  nestor compile examples/titans.nest --target sm_90a -o artifact\n  nestor compile my_rule.nest MyRule --target sm_90a --products bf16 --bf16 q,k,v,y -o artifact"
    )]
    Compile(CompileArguments),
    /// Say what the compiler made of a spec: states, derived update, form, with reasons.
    #[command(after_help = "Example:\n  nestor explain examples/titans.nest")]
    Explain {
        /// The file.
        file: PathBuf,
        /// A memory, layer or model of it; the last one where left out.
        name: Option<String>,
        /// The derived update as LaTeX, and nothing else.
        #[arg(long)]
        latex: bool,
        #[command(flatten)]
        tuned: TunedArguments,
        #[command(flatten)]
        choices: Choices,
    },
    /// Compare every form, as machine code, with the derived walk token by token, that walk with
    /// the definition, and gradients with finite differences; a table.
    #[command(
        after_help = "Examples:\n  nestor verify examples/gated_delta.nest GatedDeltaNet\n  nestor verify                      everything in the library"
    )]
    Verify {
        /// The file; programs that hold every definition of the library where left out.
        file: Option<PathBuf>,
        /// A memory, layer or model of it; the last one where left out.
        name: Option<String>,
        #[command(flatten)]
        on: Where,
        #[command(flatten)]
        choices: Choices,
    },
    /// Run a memory or layer on tensors by name; with `--grad`, its gradients too. Of a folder that `compile -o` has
    /// written, what is in it.
    #[command(
        after_help = "Examples:\n  nestor run tests/oracle/deltanet.nest Case --inputs I.safetensors --outputs O.safetensors --grad --dtype f64\n  nestor run compiled/ --inputs I.safetensors --outputs O.safetensors"
    )]
    Run {
        /// The file, or a folder that `compile -o` has written.
        file: PathBuf,
        /// The memory or layer; none of a folder.
        name: Option<String>,
        /// Streams `[B, T, ...]` by name and learned values by path (`init.W1`), as safetensors.
        #[arg(long)]
        inputs: PathBuf,
        /// Where outputs and final states (`state.W1`) go.
        #[arg(long)]
        outputs: PathBuf,
        #[command(flatten)]
        how: RunChoices,
        #[command(flatten)]
        choices: Choices,
    },
    /// Train a model on text: progress, checkpoints, a loss curve; resumable to the bit.
    #[command(
        after_help = "Examples:\n  nestor train examples/gated_delta.nest\n  nestor train my_model.nest --data texts/ --steps 5000 --out runs/mine\n  nestor train my_model.nest --out runs/mine --resume"
    )]
    Train(TrainArguments),
    /// Train every legal combination of a sweep on a task, the better ones longer, and report which
    /// choices mattered; killed at any moment, the same command goes on.
    #[command(
        after_help = "Examples:\n  nestor explore examples/miras_grid.nest --list\n  nestor explore examples/miras_grid.nest --task mqar --budget 30m\n  nestor explore my_grid.nest axes --task state-s3 --seeds 3 --out runs/axes"
    )]
    Explore(ExploreArguments),
    /// One trial of an exploration: a file, a seed and a budget in, one result file out.
    #[command(hide = true)]
    Trial(TrialArguments),
    /// Trials, one after another, as they are told on the input.
    #[command(hide = true)]
    Worker,
    /// List tasks, or show one with samples.
    #[command(
        after_help = "Examples:\n  nestor task\n  nestor task mqar --sample 3\n  nestor task mqar:pairs=4,length=32 --sample 1"
    )]
    Task {
        /// The task, `NAME` or `NAME:option=number,...`; all of them where left out.
        name: Option<String>,
        /// How many samples to print.
        #[arg(long, default_value_t = 0)]
        sample: usize,
        /// The seed of the samples.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Where the task's data lies.
        #[arg(long)]
        data: Option<PathBuf>,
    },
    /// Measure a trained model on held-out text, in bits a byte; with `--adapt`, its levels that are
    /// `online` go on learning from what was measured.
    #[command(
        after_help = "Examples:\n  nestor eval runs/gated_delta\n  nestor eval runs/hope --adapt --state hope.state"
    )]
    Eval(EvalArguments),
    /// Show the levels of a model: how often each acts, what it holds, what flows between them.
    #[command(
        after_help = "Examples:\n  nestor graph examples/hope.nest\n  nestor graph examples/hope.nest --svg hope.svg"
    )]
    Graph(GraphArguments),
    /// Fork, merge by average, or in part begin again what memories hold between calls of `generate`.
    #[command(
        after_help = "Examples:\n  nestor state runs/titans a.state --out b.state                a fork\n  nestor state runs/titans a.state b.state --out both.state    the average\n  nestor state runs/titans a.state --reset Block[0].M --out c.state"
    )]
    State(StateArguments),
    /// Write on from a prompt with a trained model.
    #[command(
        after_help = "Examples:\n  nestor generate runs/gated_delta --prompt \"ROMEO:\"\n  nestor generate runs/gated_delta --prompt \"ROMEO:\" --state text.state\n  nestor generate runs/gated_delta --state text.state      goes on where that ended"
    )]
    Generate(GenerateArguments),
    /// Time a step of training of a model, whole and by kernel.
    #[command(
        after_help = "Example:\n  nestor bench examples/gated_delta.nest --batch 2 --length 1024"
    )]
    Bench(BenchArguments),
    /// Measure which forms and chunks of a program's walks are fastest on this machine, once, for `--tuned`. Costs choose
    /// without it. Killed at any moment, the same command goes on.
    #[command(
        after_help = "What is found is told by what a walk computes, its sizes and the machine, never by the number of\nsequences or their length.\n\n\
        Examples:\n  nestor tune examples/titans.nest --budget 5m\n  nestor train examples/titans.nest --tuned\n  nestor tune my_rule.nest MyRule --set d=128 --out tuned.json\n  nestor explain my_rule.nest MyRule --set d=128 --tuned=tuned.json"
    )]
    Tune(TuneArguments),
    /// Say what this machine offers.
    #[command(after_help = "Example:\n  nestor doctor --json")]
    Doctor,
}

/// `compile`.
#[derive(Args, Debug, Clone)]
pub(crate) struct CompileArguments {
    /// The file.
    pub(crate) file: PathBuf,
    /// A memory, layer or model of it; the last one where left out.
    pub(crate) name: Option<String>,
    /// The stage to print.
    #[arg(long, required_unless_present = "out")]
    pub(crate) emit: Option<Emit>,
    /// What it is compiled for.
    #[arg(long, default_value = "cpu", value_parser = PossibleValuesParser::new(TARGETS.iter().copied()))]
    pub(crate) target: String,
    /// How a GPU computes products inside kernels: in float32, or on tensor cores, operands rounded to this.
    #[arg(long, default_value = "float32", value_parser = PossibleValuesParser::new(Products::ALL.iter().map(|(n, _)| *n)))]
    pub(crate) products: String,
    /// Inputs and outputs that whoever calls a GPU's kernels keeps as bfloat16, with their gradients: `q,k,v,y`. Others are
    /// float32.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) bf16: Vec<String>,
    /// The folder that the artifact goes to.
    #[arg(short = 'o', long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Say how long each step took on the way to the stage.
    #[arg(long)]
    pub(crate) timings: bool,
    #[command(flatten)]
    pub(crate) tuned: TunedArguments,
    #[command(flatten)]
    pub(crate) choices: Choices,
}

/// `train`.
#[derive(Args, Debug, Clone)]
pub(crate) struct TrainArguments {
    /// The model's file.
    pub(crate) file: PathBuf,
    /// A model of it; the last one where left out.
    pub(crate) name: Option<String>,
    /// A task to learn instead of text, `NAME` or `NAME:option=number,...`; see `nestor task`.
    #[arg(long, conflicts_with = "tokenizer")]
    pub(crate) task: Option<String>,
    /// A text file or a folder of them; the text beside the examples where left out. With
    /// `--task`, where the task's data lies.
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// A Hugging Face `tokenizer.json`; bytes without.
    #[arg(long)]
    pub(crate) tokenizer: Option<PathBuf>,
    /// Steps in all; 1000, or what the task says, where left out.
    #[arg(long, value_parser = positive::<u64>)]
    pub(crate) steps: Option<u64>,
    /// Sequences a step; 8, or what the task says, where left out.
    #[arg(long, value_parser = positive::<usize>)]
    pub(crate) batch: Option<usize>,
    /// Tokens a sequence; 256 where left out. A task has its own option `length`.
    #[arg(long, value_parser = positive::<usize>, conflicts_with = "task")]
    pub(crate) length: Option<usize>,
    /// The run's folder; `runs/<file>` where left out.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Go on from the last checkpoint, as if the run had never stopped; what is not said is as the run began.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Start anew where the folder holds a run already.
    #[arg(long, conflicts_with = "resume")]
    pub(crate) force: bool,
    /// The seed of weights and batches; 0 where left out.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Steps between evaluations; an eighth of the run where left out.
    #[arg(long, value_parser = positive::<u64>)]
    pub(crate) evaluate_every: Option<u64>,
    /// Steps between checkpoints; an eighth of the run where left out.
    #[arg(long, value_parser = positive::<u64>)]
    pub(crate) save_every: Option<u64>,
    /// Pause after this step, measured in full; `--resume` without it goes on.
    #[arg(long, value_parser = positive::<u64>)]
    pub(crate) until: Option<u64>,
    /// Say how long compiling took, and each kernel.
    #[arg(long)]
    pub(crate) timings: bool,
    #[command(flatten)]
    pub(crate) from: FromArguments,
    #[command(flatten)]
    pub(crate) tuned: TunedArguments,
    #[command(flatten)]
    pub(crate) on: Where,
    #[command(flatten)]
    pub(crate) choices: Choices,
}

/// `explore`.
#[derive(Args, Debug, Clone)]
pub(crate) struct ExploreArguments {
    /// The file with the sweep.
    pub(crate) file: PathBuf,
    /// The sweep; the only one of the file where left out.
    pub(crate) sweep: Option<String>,
    /// The task, `NAME` or `NAME:option=number,...`; see `nestor task`.
    #[arg(long, required_unless_present = "list")]
    pub(crate) task: Option<String>,
    /// Where the task's data lies.
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// The model that is trained; the last one of the file where left out.
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Time in all, `90s`, `30m`, `2h`; no trial begins after it. Without end where left out.
    #[arg(long, value_parser = duration)]
    pub(crate) budget: Option<std::time::Duration>,
    /// Steps of the last round; what the task says where left out.
    #[arg(long, value_parser = positive::<u64>)]
    pub(crate) steps: Option<u64>,
    /// Sequences a step; what the task says where left out.
    #[arg(long, value_parser = positive::<usize>)]
    pub(crate) batch: Option<usize>,
    /// Seeds of every combination.
    #[arg(long, default_value_t = 2, value_parser = positive::<u64>)]
    pub(crate) seeds: u64,
    /// Rounds; each trains `--keep` times as long as the one before.
    #[arg(long, default_value_t = 3, value_parser = positive::<u32>)]
    pub(crate) rounds: u32,
    /// One of so many combinations goes on to the next round.
    #[arg(long, default_value_t = 3, value_parser = positive::<u64>)]
    pub(crate) keep: u64,
    /// The first seed; those after it follow. Seeds that nothing was chosen by confirm a choice.
    #[arg(long, default_value_t = 0, value_name = "SEED")]
    pub(crate) first_seed: u64,
    /// What is the same for all: steps; or parameters, by `--width`; or operations, as predicted;
    /// or time, measured before.
    #[arg(long, value_enum, default_value_t = Equal::Steps)]
    pub(crate) equal: Equal,
    /// The parameter that makes models of one size, for `--equal parameters`.
    #[arg(long, default_value = "d")]
    pub(crate) width: String,
    /// Trials at a time; one for each core where left out.
    #[arg(long, value_parser = positive::<usize>)]
    pub(crate) workers: Option<usize>,
    /// The exploration's folder; `runs/<sweep>` where left out.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Start anew where the folder holds another exploration.
    #[arg(long)]
    pub(crate) force: bool,
    /// Say what would be trained, and what not and why; train nothing.
    #[arg(long)]
    pub(crate) list: bool,
    /// Print the commands of the trials that come next, one a line, and run none: they may run
    /// anywhere that sees the folder. Nothing is printed where all rounds are done.
    #[arg(long, conflicts_with = "list")]
    pub(crate) pending: bool,
    /// Who places the trials: this command, or a Ray cluster, which needs python3 with ray (NESTOR_PYTHON
    /// names another) and, where it has several machines, `--out` in a folder that all of them see.
    #[arg(long, value_enum, default_value_t = On::Here, conflicts_with_all = ["pending", "list"])]
    pub(crate) on: On,
    #[command(flatten)]
    pub(crate) place: Where,
    #[command(flatten)]
    pub(crate) choices: Choices,
}

/// Who places trials.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    /// This command, on this machine's cores.
    Here,
    /// A Ray cluster.
    Ray,
}

/// What all combinations have the same of.
#[derive(ValueEnum, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Equal {
    /// Steps.
    Steps,
    /// Learned numbers, as nearly as the width allows.
    Parameters,
    /// Operations of all steps: a combination that takes half of them a token has twice the steps.
    Operations,
    /// Time.
    Time,
}

/// `trial`.
#[derive(Args, Debug, Clone)]
pub(crate) struct TrialArguments {
    /// The model's file.
    pub(crate) file: PathBuf,
    /// The model.
    pub(crate) name: Option<String>,
    /// The task.
    #[arg(long)]
    pub(crate) task: String,
    /// Where the task's data lies.
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// Steps of the whole run, which its schedules know.
    #[arg(long)]
    pub(crate) steps: u64,
    /// The step that this trial ends after.
    #[arg(long)]
    pub(crate) until: u64,
    /// Sequences a step.
    #[arg(long)]
    pub(crate) batch: usize,
    /// The seed.
    #[arg(long)]
    pub(crate) seed: u64,
    /// The folder of the run.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// The file that the result is written to, as a whole.
    #[arg(long)]
    pub(crate) result: PathBuf,
    /// The status with which its process died, as a shell says it: write that down, and run nothing.
    #[arg(long)]
    pub(crate) died: Option<i32>,
    /// What it had said.
    #[arg(long, requires = "died", allow_hyphen_values = true)]
    pub(crate) said: Option<String>,
    #[command(flatten)]
    pub(crate) on: Where,
    #[command(flatten)]
    pub(crate) choices: Choices,
}

/// What a user may decide about a compilation.
#[derive(Args, Debug, Clone)]
pub(crate) struct Choices {
    /// Set a compile-time parameter of the entry: `--set d=64`.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
}

/// How `run` runs.
#[derive(Args, Debug, Clone)]
pub(crate) struct RunChoices {
    /// Take cotangents `grad.<output>` in, give `grad.<input>` of every input and weight.
    #[arg(long)]
    pub(crate) grad: bool,
    /// The working precision.
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    pub(crate) dtype: Dtype,
    /// The form of every walk: auto, affine, dual, rowwise, sequential; or `definition`, the
    /// interpreter of the token-by-token meaning, in float64.
    #[arg(long, default_value = "auto")]
    pub(crate) form: String,
    /// Tokens of a chunk.
    #[arg(long, value_parser = positive::<usize>)]
    pub(crate) chunk: Option<usize>,
    /// Go on from the states `state.<name>` of the inputs, at this position of the sequence.
    /// Without it they are taken, at position 0, from a file that holds no outputs; in a file with
    /// outputs they are what another run ended with.
    #[arg(long)]
    pub(crate) start: Option<usize>,
    #[command(flatten)]
    pub(crate) tuned: TunedArguments,
    #[command(flatten)]
    pub(crate) on: Where,
}

/// A working precision.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dtype {
    /// 32 bits.
    F32,
    /// 64 bits.
    F64,
}

/// A stage whose text can be printed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Emit {
    /// The syntax tree.
    Ast,
    /// The checked model, token by token, and its levels.
    Levels,
    /// Whole sequences, inner gradients as marks.
    Tensors,
    /// Inner gradients as the equations they stand for.
    Derived,
    /// Every walk in its form.
    Parallel,
    /// One step of training.
    Grad,
    /// Tile kernels.
    Tiles,
    /// What is launched, in order.
    Plan,
    /// Cranelift's code.
    Clif,
    /// MLIR for the GPU that `--target` names.
    Mlir,
    /// PTX for the GPU that `--target` names.
    Ptx,
    /// Registers, spills, shared memory and instructions of the kernels for a GPU; needs ptxas.
    Usage,
}

/// A whole number above zero.
pub(crate) fn positive<N: std::str::FromStr + PartialOrd + From<u8>>(
    text: &str,
) -> Result<N, String> {
    let number: Option<N> = text.parse().ok();
    number
        .filter(|n| *n >= N::from(1))
        .ok_or_else(|| "expected a whole number above zero".to_owned())
}
