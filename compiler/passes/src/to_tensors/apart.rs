//! A memory with more leading dimensions than the walk that it is part of: every act is written for
//! one instance, and repeated over them in the walk's body.
//!
//! ```text
//! one head     K = window k, past;  past' = ..
//! the body     K [heads, ..] = window k [heads, ..], past [heads, ..];  past' = ..
//! ```

use super::body::Token;
use super::states::{Carried, Needs};
use crate::error::PassError;
use crate::vectorise::{Mapped, lift, no_hook, vectorise_into};
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Graph, Value};
use nestor_ir::ty::Type;

/// Such a memory within a token.
pub(super) struct Apart<'p> {
    /// What it needs.
    pub(super) needs: &'p Needs<'p>,
    /// What it carries.
    carried: &'p [Carried],
    /// The dimensions that the walk has not.
    lead: Vec<Dim>,
    /// All states so far, in the body.
    pub(super) states: Vec<Value>,
    /// Initial weights that are asked for.
    initial: Vec<Option<Value>>,
    /// What an update left for reads.
    kept: Vec<Value>,
    /// How many windows were looked back at.
    looked: usize,
    /// Whether an act came before.
    begun: bool,
}

/// One instance's graph being fed.
struct One<'b> {
    g: Graph,
    body: &'b Graph,
    arguments: Vec<Mapped>,
    lead: usize,
}

impl One<'_> {
    /// What one instance sees of a value, which has the leading dimensions or none of them.
    fn input(&mut self, value: Value, mapped: bool) -> Value {
        let ty = self.body.ty(value);
        let skip = if mapped { self.lead } else { 0 };
        let dims = ty.dims[skip..].iter().copied().collect();
        let seen = Type { elem: ty.elem, dims };
        self.arguments.push(Mapped { value, mapped });
        self.g.input(format!("x{}", self.arguments.len()), seen)
    }
}

impl<'p> Apart<'p> {
    /// The memory before its first act of a token, with its states and the initial weights that are
    /// asked for.
    pub(super) fn new(
        needs: &'p Needs<'p>,
        carried: &'p [Carried],
        lead: Vec<Dim>,
        (states, initial): (Vec<Value>, Vec<Option<Value>>),
    ) -> Self {
        let (kept, looked, begun) = (vec![], 0, false);
        Self { needs, carried, lead, states, initial, kept, looked, begun }
    }

    /// One act on `operands`, which have these ranks in one instance; gives its answer.
    pub(super) fn act(
        &mut self,
        body: &mut Graph,
        position: Value,
        (operands, ranks): (&[Value], &[usize]),
        act: impl FnOnce(&mut Token<'_>, Vec<Value>) -> Result<Option<Value>, PassError>,
    ) -> Result<Option<Value>, PassError> {
        let lead = self.lead.len();
        let mut one = One { g: Graph::new(), body, arguments: vec![], lead };
        let states = self.states.iter().map(|&v| one.input(v, true)).collect();
        let weights = &self.needs.memory.weights;
        let initial = self.initial.iter().zip(weights).map(|(v, w)| {
            let mapped = |v| one.body.ty(v).rank() > w.dims.len();
            v.map(|v| one.input(v, mapped(v)))
        });
        let initial = initial.collect();
        let at = one.input(position, false);
        let kept = self.kept.iter().map(|&v| one.input(v, true)).collect();
        let given = operands.iter().zip(ranks).map(|(&v, &rank)| {
            let mapped = one.body.ty(v).rank() > rank;
            one.input(v, mapped)
        });
        let given: Vec<Value> = given.collect();
        let One { g, arguments, .. } = one;
        let first = !self.begun;
        let mut token =
            Token::new(g, self.needs, self.carried, (states, initial), at, first)?;
        token.kept = kept;
        token.looked = self.looked;
        let answer = act(&mut token, given)?;
        self.begun = true;
        self.looked = token.looked;
        let results: Vec<Value> =
            token.states().iter().chain(&token.kept).copied().chain(answer).collect();
        let kept = token.kept.len();
        let mut g = token.g;
        for (n, &value) in results.iter().enumerate() {
            g.output(format!("y{n}"), value);
        }
        let found = vectorise_into(body, &g, &arguments, &self.lead, None, &mut no_hook)?;
        let mut found: Vec<Value> =
            found.into_iter().map(|m| lift(body, m, &self.lead)).collect();
        let mut rest = found.split_off(self.states.len());
        self.states = found;
        let answers = rest.split_off(kept);
        self.kept = rest;
        Ok(answers.into_iter().next())
    }
}
