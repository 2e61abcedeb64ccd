//! Chooses a form for every walk by tokens, and says why.
//!
//! The first that applies is taken: chunk-parallel where the update is affine (called *dual*
//! where gradients are taken at an anchor, because these are then known at a chunk's start), with
//! errors solved row by row where they are functions of reads, one token after another otherwise. A walk with fewer
//! instances than there are workers goes in two passes, where that pays. What somebody measured to be better
//! ([`Tuned`]) comes before all this, where it applies.

use super::decays::by_logarithms;
use super::once::{found_as_begun, never_set_again};
use super::tuned::{Tuned, key};
use super::work::{Work, work};
use super::{Cut, Structure, chunked, periods, sequential, two_pass};
use crate::autodiff::Keeping;
use crate::build::uniform;
use crate::error::PassError;
use crate::fission::{Parts, Rates};
use nestor_ir::tensor::graph::Named;
use nestor_ir::tensor::{Axis, Feed, Graph, Group, Op, Scan, Stride, Value};
use nestor_ir::ty::Type;
use std::fmt;

/// A form of a walk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Form {
    /// As affine; a short walk joins what all chunks do at once.
    TwoPass,
    /// Chunks as products; errors affine in reads.
    Affine,
    /// Chunks as products; gradients known at the chunk's start.
    Dual,
    /// Chunks as products; errors solved row by row.
    Rowwise,
    /// One token after another.
    Sequential,
}

impl Form {
    /// All forms with their names.
    pub const ALL: &'static [(Form, &'static str)] = &[
        (Form::TwoPass, "two_pass"),
        (Form::Affine, "affine"),
        (Form::Dual, "dual"),
        (Form::Rowwise, "rowwise"),
        (Form::Sequential, "sequential"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(f, _)| *f == self).map_or("", |(_, n)| n)
    }

    /// The form of a name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, n)| *n == name).map(|(f, _)| *f)
    }
}

/// What was chosen for one walk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice {
    /// The walk: the names of its states.
    pub walk: String,
    /// What it is told by, whatever its states are called; see [`Tuned`].
    pub key: String,
    /// The form.
    pub form: Form,
    /// What the form with chunks as products is called here: affine, or dual.
    pub parallel: Form,
    /// Tokens of a chunk.
    pub chunk: usize,
    /// Both were measured to be better than what costs would have it be.
    pub tuned: bool,
    /// What the update was found to be; nothing of one that is walked token by token.
    pub structure: Option<Structure>,
    /// What it costs a token.
    pub work: Work,
    /// Why not the forms before it.
    pub reasons: Vec<(Form, String)>,
}

impl Choice {
    /// The class of the recurrence, as the theory has it.
    pub fn class(&self) -> &'static str {
        match (self.form, self.structure) {
            (Form::Sequential, _) | (_, None) => "token by token",
            (_, Some(Structure { clocked: true, .. })) => "clocked",
            (Form::Dual, _) => "anchored",
            (Form::Rowwise, _) => "row-nonlinear",
            (_, Some(Structure { feedback: true, .. })) => "affine",
            (Form::Affine | Form::TwoPass, Some(_)) => "no feedback",
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, chunks of {}", self.walk, self.form.name(), self.chunk)?;
        if self.tuned {
            write!(f, ", tuned")?;
        }
        for (form, reason) in &self.reasons {
            write!(f, "; not {}: {reason}", form.name())?;
        }
        Ok(())
    }
}

/// What a user may say about forms.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FormOptions {
    /// This form and no other.
    pub form: Option<Form>,
    /// This many tokens a chunk.
    pub chunk: Option<usize>,
    /// As many where nothing asks for another number and a state is large; 32 where nothing is said.
    pub usual: Option<usize>,
    /// What pays to be kept for the way back.
    pub keeping: Keeping,
    /// No call that begins with the first token of its sequences has more tokens than this.
    pub longest: Option<usize>,
    /// Workers that each sequence of a call has to itself, where that is known.
    pub workers: Option<usize>,
    /// What was measured of some walks; it is used where neither a form nor a chunk is asked for. It is kept for
    /// as long as the process lives, so that options are plain values.
    pub tuned: &'static [Tuned],
}

/// Tokens of a chunk where nothing asks for another number.
const CHUNK: usize = 32;
/// Numbers of a state from which it is large: what is done for pairs of tokens is less than what is done for the state.
const LARGE: usize = 64 * 64;
/// How much more may be done for a token in longer chunks (by judgement: at 64 x 64, delta rules do 1.37 times as much in twice as long ones, those
/// whose windows overlap 1.64 times).
const MOST_MORE: f64 = 1.45;
/// The same where gates are by channel: what is done for pairs of tokens grows with the chunk, and is much more there
/// than what is done for the state (measured on a CPU: 1.3 to 3 times as fast as chunks of twice the length).
const BY_CHANNEL: usize = 16;

/// Tokens of a chunk up to which slopes of gates by channel are sums over it: with 64 the assembler has no room for what a large
/// memory's way back then keeps in registers.
const BY_SUMS: usize = 32;

/// The graph with every walk by tokens in its form. `from_start` where every call begins with the
/// first token of its sequences.
///
/// # Errors
/// Where a form that was asked for does not apply.
pub fn choose(
    graph: &Graph,
    options: FormOptions,
    from_start: bool,
) -> Result<(Graph, Vec<Choice>), PassError> {
    use nestor_ir::entity::Entity;
    let mut out = Graph::new();
    let mut choices = Vec::new();
    let mut map: Vec<Value> = vec![Value::new(0); graph.values.len()];
    for node in graph.nodes.values() {
        let mut operands: Vec<Value> =
            node.operands.iter().map(|v| map[v.index()]).collect();
        let mut parts = None;
        let op = match &node.op {
            Op::Scan { scan }
                if scan.stride == Stride::Token && scan.time.ticks_of().is_some() =>
            {
                let types: Vec<Type> =
                    operands.iter().map(|&v| out.ty(v).clone()).collect();
                let scan = if moves_only(scan) {
                    sequential(scan, &types, options.chunk.unwrap_or(CHUNK))
                } else {
                    let (parallel, key) = (parallel(scan), key(scan, &types));
                    let scan = match options.longest {
                        Some(longest) if from_start => {
                            never_set_again(scan, &operands, longest)
                        }
                        _ => scan.as_ref().clone(),
                    };
                    let begins = from_start.then(|| begins(&out, &scan, &operands));
                    let begins = begins.as_deref();
                    let mut found =
                        chosen(&scan, &types, parallel, &key, options, begins)?;
                    let channels = |s: Structure| s.channels;
                    if found.choice.chunk <= BY_SUMS
                        && found.choice.structure.is_some_and(channels)
                        && let Some((scan, fed)) =
                            by_logarithms(&mut out, &scan, &operands)
                    {
                        found = chosen(&scan, &types, parallel, &key, options, begins)?;
                        operands = fed;
                    }
                    found.choice.key = key;
                    choices.push(found.choice);
                    parts = found.parts;
                    found.scan
                };
                Op::Scan { scan: Box::new(scan) }
            }
            op => op.clone(),
        };
        let results = match parts {
            Some((parts, rates)) => parts.add(&mut out, &operands, &rates),
            None => out.add_many(op, &operands).to_vec(),
        };
        for (&from, &to) in node.results.iter().zip(&results) {
            map[from.index()] = to;
            out.values[to].name.clone_from(&graph.values[from].name);
        }
    }
    let renamed = |list: &[Named]| {
        let one = |n: &Named| Named { name: n.name.clone(), value: map[n.value.index()] };
        list.iter().map(one).collect()
    };
    out.inputs = renamed(&graph.inputs);
    out.outputs = renamed(&graph.outputs);
    Ok((out, choices))
}

/// What forms with chunks as products are called for this walk.
fn parallel(scan: &Scan) -> Form {
    if periods(scan).is_empty() { Form::Affine } else { Form::Dual }
}

/// The number that each state is everywhere at the start, where that is known.
fn begins(graph: &Graph, scan: &Scan, operands: &[Value]) -> Vec<Option<f64>> {
    let feeds = scan.feeds.iter().zip(operands);
    feeds
        .filter(|((feed, _), _)| *feed == Feed::Initial)
        .map(|(_, &operand)| uniform(graph, operand))
        .collect()
}

/// Whether a walk computes nothing, so that there is no form to choose: it carries values along.
fn moves_only(scan: &Scan) -> bool {
    let moves = |op: &Op| matches!(op.info().group, Group::Leaf | Group::Move);
    scan.body.nodes.values().all(|n| moves(&n.op))
}

/// A walk in its form.
struct Chosen {
    scan: Scan,
    choice: Choice,
    /// Where it is more than one.
    parts: Option<(Parts, Rates)>,
}

/// As it was measured to be best, where that was and applies here; otherwise by costs. Whether a walk goes in two passes
/// depends on the length of a call, which nothing measured does, so that costs say it of either.
fn chosen(
    scan: &Scan,
    types: &[Type],
    parallel: Form,
    key: &str,
    options: FormOptions,
    begins: Option<&[Option<f64>]>,
) -> Result<Chosen, PassError> {
    let free = options.form.is_none() && options.chunk.is_none();
    let tuned = options.tuned.iter().find(|t| free && t.walk == key);
    if let Some(tuned) = tuned {
        let form = (tuned.form != parallel).then_some(tuned.form);
        let asked = FormOptions { form, chunk: Some(tuned.chunk), ..options };
        if let Ok(mut found) = by_cost(scan, types, parallel, asked, begins)
            && [tuned.form, Form::TwoPass].contains(&found.choice.form)
        {
            found.choice.tuned = true;
            return Ok(found);
        }
    }
    by_cost(scan, types, parallel, options, begins)
}

/// `begins` where every call begins with the first token of its sequences, as [`begins`] has it.
fn by_cost(
    scan: &Scan,
    types: &[Type],
    parallel: Form,
    options: FormOptions,
    begins: Option<&[Option<f64>]>,
) -> Result<Chosen, PassError> {
    let names: Vec<&str> = scan.body.outputs[..scan.states().count()]
        .iter()
        .map(|o| o.name.as_str())
        .collect();
    let periods = periods(scan);
    let from_start = begins.is_some();
    let chunk = options.chunk.unwrap_or_else(|| {
        let plain = aligned(&periods, from_start, CHUNK);
        let usual = options.usual.map(|usual| aligned(&periods, from_start, usual));
        let longer = usual.filter(|n| is_worth(scan, types, from_start, [plain, *n]));
        longer.unwrap_or(plain)
    });
    let cut = Cut { tokens: chunk, from_start };
    let free = options.chunk.is_none() && periods.is_empty();
    let asked = |form: Form| options.form.is_none_or(|f| f == form);
    let mut choice = Choice {
        walk: names.join(", "),
        key: String::new(),
        form: Form::Sequential,
        parallel,
        chunk,
        tuned: false,
        structure: None,
        work: Work::default(),
        reasons: vec![],
    };
    let as_begun = |scan: Scan| match begins {
        Some(begins) => found_as_begun(&scan, begins),
        None => scan,
    };
    let two_pass = match options.form {
        None => options.workers.map(|n| two_pass::rates(n, false)),
        Some(Form::TwoPass) => Some(two_pass::rates(options.workers.unwrap_or(1), true)),
        Some(Form::Affine | Form::Dual | Form::Rowwise | Form::Sequential) => None,
    };
    for form in [parallel, Form::Rowwise] {
        let parted = two_pass.filter(|_| form == Form::Affine);
        if !asked(form) && parted.is_none() {
            continue;
        }
        match chunked(scan, types, cut, form == Form::Rowwise) {
            Ok((_, structure)) if structure.channels && free && chunk > BY_CHANNEL => {
                let options = FormOptions { chunk: Some(BY_CHANNEL), ..options };
                return by_cost(scan, types, parallel, options, begins);
            }
            Ok((scan, structure)) => {
                choice.structure = Some(structure);
                choice.work = work(&scan, types);
                let scan = as_begun(scan);
                if let Some(rates) = parted {
                    let enough =
                        rates.always || two_pass::enough(choice.work, options.longest);
                    let parts = enough.then(|| Parts::of(&scan, &rates)).flatten();
                    if let Some(parts) = parts {
                        choice.form = Form::TwoPass;
                        return Ok(Chosen { scan, choice, parts: Some((parts, rates)) });
                    }
                    if rates.always {
                        let why = "every step of it needs the state".to_owned();
                        choice.reasons.push((Form::TwoPass, why));
                    }
                }
                if asked(form) {
                    choice.form = form;
                    return Ok(Chosen { scan, choice, parts: None });
                }
            }
            Err(reason) => choice.reasons.push((form, reason.what)),
        }
    }
    if asked(Form::Sequential) {
        choice.chunk = options.chunk.unwrap_or(CHUNK);
        choice.structure = None;
        let scan = sequential(scan, types, choice.chunk);
        choice.work = work(&scan, types);
        return Ok(Chosen { scan: as_begun(scan), choice, parts: None });
    }
    let form = options.form.unwrap_or(Form::Sequential);
    let why = choice
        .reasons
        .first()
        .map_or_else(|| "its gradients are taken elsewhere".to_owned(), |r| r.1.clone());
    Err(PassError::limitation(
        "L-form",
        format!("the form `{}` for {}: {why}", form.name(), choice.walk),
        "leave the form to the compiler, or ask for `sequential`",
    ))
}

/// A walk over the tokens of a window by chunks, whose boundaries are those of positions in the whole sequence: windows
/// begin at multiples of their length. Nothing where its update allows none, or where it only carries values along.
pub fn within(scan: &Scan, types: &[Type]) -> Option<Scan> {
    let (rows, periods) = (scan.time.fixed()?, periods(scan));
    let fits = |c: &usize| {
        rows.is_multiple_of(*c) && periods.iter().all(|p| p.is_multiple_of(*c))
    };
    let chunk = (2..=CHUNK).rev().find(fits).filter(|_| !moves_only(scan))?;
    chunked(scan, types, chunk.into(), false).ok().map(|(scan, _)| scan)
}

/// Boundaries up to here are better met by each chunk than every few of them: an anchor is then
/// the state as the chunk finds it, and need not be carried.
const LONGEST: usize = 64;

/// Whether a state of a walk is large, of what is known of its size.
fn has_large(scan: &Scan, types: &[Type]) -> bool {
    scan.states().any(|state| {
        let own = scan.feeds[state].1.iter().zip(&types[state].dims);
        let own = own.filter(|(axis, _)| **axis == Axis::Body);
        own.filter_map(|(_, d)| d.fixed()).product::<usize>() >= LARGE
    })
}

/// Whether chunks of more tokens are worth it: a state is large, and there is not much more to be done for a token.
fn is_worth(
    scan: &Scan,
    types: &[Type],
    from_start: bool,
    [less, more]: [usize; 2],
) -> bool {
    let of = |tokens: usize| {
        let cut = Cut { tokens, from_start };
        let (scan, _) = chunked(scan, types, cut, false).ok()?;
        Some(work(&scan, types).flops as f64)
    };
    let worth = || Some(of(more)? <= MOST_MORE * of(less)?);
    more > less && has_large(scan, types) && worth() == Some(true)
}

/// The least distance of boundaries where chunks can be as long, otherwise the largest number of tokens
/// up to the usual one that all boundaries are multiples of.
fn aligned(periods: &[usize], from_start: bool, usual: usize) -> usize {
    if let (Some(&least), true) = (periods.first(), from_start)
        && (CHUNK / 2..=LONGEST).contains(&least)
        && periods.iter().all(|p| p.is_multiple_of(least))
    {
        return least;
    }
    (1..=usual).rev().find(|c| periods.iter().all(|p| p % c == 0)).unwrap_or(1)
}
