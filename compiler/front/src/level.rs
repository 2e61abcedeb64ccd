//! Levels of a model: who learns which weight, by which algorithm, how often.

use crate::elaborate::{Elaborator, Env, KnownWeight};
use crate::value::{NamedDim, Value};
use nestor_grammar::ast::{self, Item, ItemKind, Minimize, Path, Segment};
use nestor_grammar::{Diagnostic, Span};
use nestor_ir::entity::Entity;
use nestor_ir::level::{Clock, Initial, Level, OuterMinimize, Reset, WeightId};

/// A level as written, with the scope it stands in.
#[derive(Clone, Debug)]
pub(crate) struct Written<'a> {
    /// Its text.
    pub(crate) level: &'a ast::Level,
    /// The names it sees.
    pub(crate) env: Env,
}

impl<'a> Elaborator<'a> {
    /// A level in a body: one of tokens inside a layer acts on memories at once; the model's are
    /// settled when all weights are known.
    pub(crate) fn level(&mut self, env: &mut Env, level: &'a ast::Level) {
        let inner = level.body.iter().all(|i| match &i.kind {
            ItemKind::Minimize(m) => self.over_memory(env, m),
            _ => false,
        });
        if inner && !level.body.is_empty() {
            let Some(every) = self.tokens_of(env, &level.clock) else { return };
            for item in &level.body {
                let ItemKind::Minimize(m) = &item.kind else { continue };
                if let Some(ast::Anchor::Every(anchor)) = &m.gradient {
                    self.clocks_of_level(env, &level.clock, anchor);
                }
                self.minimize_inner(env, m, every);
            }
            return;
        }
        self.levels.push(Written { level, env: env.clone() });
    }

    fn over_memory(&mut self, env: &Env, m: &Minimize) -> bool {
        let one = m.targets.as_ref().and_then(|t| t.first()).and_then(Path::dotted);
        let value = one.and_then(|n| env.names.get(&n));
        matches!(value, Some(Value::Instance(i)) if {
            let kind = self.definition_of(*i).kind;
            matches!(kind, ast::Kind::Memory | ast::Kind::Structure)
        })
    }

    /// Settles all levels: claims first, then each statement's algorithms.
    pub(crate) fn settle(&mut self, whole_model: bool) -> Vec<Level> {
        let mut out = Vec::new();
        let mut written = std::mem::take(&mut self.levels);
        // Losses are numbered by statements: those of training come first.
        let outer = |w: &Written<'_>| matches!(w.level.clock, ast::Clock::Steps(..));
        written.sort_by_key(|w| !outer(w));
        let none = || vec![None; self.known.len()];
        let (mut reading, mut claimed) = (none(), none());
        let mut statements: Vec<(usize, &'a Item, Vec<WeightId>)> = Vec::new();
        // A level that learns while reading claims weights; what they start from is claimed outside.
        for (inside, stars) in
            [(true, false), (true, true), (false, false), (false, true)]
        {
            let taken = if inside { &mut reading } else { &mut claimed };
            for (n, w) in written.iter().enumerate().filter(|(_, w)| outer(w) != inside) {
                for item in &w.level.body {
                    let ItemKind::Minimize(m) = &item.kind else { continue };
                    if m.targets.is_none() == stars {
                        let ids = self.claim(&w.env, m, taken);
                        statements.push((n, item, ids));
                    }
                }
            }
            if inside && stars {
                self.never_its_own(&reading, &mut claimed);
            }
        }
        if whole_model {
            for (id, by) in claimed.iter().enumerate() {
                let weight = &self.weights[WeightId::new(id)];
                if by.is_none() && !weight.fixed {
                    let text = format!("`{}` is learned by no level", weight.path);
                    let help = "add `level pretrain every 1 step { minimize loss over * using ... }`, or `fixed`";
                    let span = self.known[id].span;
                    self.report(Diagnostic::error("N402", span, text).help(help));
                }
            }
        }
        let (mut steps, mut tokens) = (Vec::new(), Vec::new());
        for (n, w) in written.into_iter().enumerate() {
            let mut env = w.env.clone();
            let Some(clock) = self.clock(&mut env, &w.level.clock) else { continue };
            let reset = self.restarts(&mut env, w.level, clock);
            if let Clock::Steps(every) = clock {
                let words = format!("level {} every {every} steps", w.level.name.text);
                let span = clock_span(&w.level.clock);
                steps.push(crate::window::Clocked { words, every, span, unit: "steps" });
            }
            if let Clock::Tokens(every) = clock {
                let words = format!("level {} every {every} tokens", w.level.name.text);
                let span = clock_span(&w.level.clock);
                tokens.push(crate::window::Clocked {
                    words,
                    every,
                    span,
                    unit: "tokens",
                });
            }
            let mut objectives = Vec::new();
            for (_, item, ids) in statements.iter().filter(|(m, _, _)| *m == n) {
                let ItemKind::Minimize(m) = &item.kind else { continue };
                objectives.extend(self.outer(&mut env, m, ids));
            }
            out.push(Level {
                name: w.level.name.text.clone(),
                clock,
                reset,
                online: w.level.online,
                memory: None,
                objectives,
            });
        }
        self.clocks_divide(&steps);
        self.clocks_divide(&tokens);
        out
    }

    /// What a level learns while reading and what starts from another weight has no initial value that
    /// could be learned: it counts as claimed.
    fn never_its_own(&self, reading: &[Option<Span>], claimed: &mut [Option<Span>]) {
        for (i, by) in reading.iter().enumerate() {
            if matches!(self.weights[WeightId::new(i)].initial, Initial::From(_)) {
                claimed[i] = *by;
            }
        }
    }

    /// When a level returns to its initial values.
    fn restarts(
        &mut self,
        env: &mut Env,
        level: &'a ast::Level,
        clock: Clock,
    ) -> Option<Reset> {
        let every = match level.reset.as_ref()? {
            ast::Reset::Never(_) => return Some(Reset::Never),
            ast::Reset::At(every) => every,
        };
        let span = clock_span(every);
        let at = self.clock(env, every)?;
        let mut meet = |n, m, unit| {
            let one = |what: &str, every, span| crate::window::Clocked {
                words: format!("{what} every {every} {unit}"),
                every,
                span,
                unit,
            };
            let level = one("level", m, clock_span(&level.clock));
            self.clocks_divide(&[level, one("reset", n, span)]);
        };
        match (at, clock) {
            (Clock::Tokens(n), Clock::Tokens(m)) => {
                meet(n, m, "tokens");
                Some(Reset::Tokens(n))
            }
            (Clock::Sequence, Clock::Tokens(_)) => Some(Reset::Sequence),
            (Clock::Steps(n), Clock::Steps(m)) => {
                meet(n, m, "steps");
                Some(Reset::Steps(n))
            }
            (_, Clock::Steps(_)) => {
                let text = "a level at a clock of steps starts again at a clock of steps";
                let help = "`reset every N steps`, or leave it out: it never does";
                self.report(Diagnostic::error("N301", span, text).help(help));
                None
            }
            (_, Clock::Tokens(_) | Clock::Sequence | Clock::Once) => {
                let text =
                    "a level at a clock of tokens starts again at a clock of tokens";
                let help =
                    "`reset every N tokens`, `reset every sequence` or `reset never`";
                self.report(Diagnostic::error("N301", span, text).help(help));
                None
            }
        }
    }

    fn claim(
        &mut self,
        env: &Env,
        m: &'a Minimize,
        claimed: &mut [Option<Span>],
    ) -> Vec<WeightId> {
        let mut ids = Vec::new();
        let free = |this: &Self, i: usize| !this.weights[WeightId::new(i)].fixed;
        let Some(targets) = &m.targets else {
            for (i, claim) in claimed.iter_mut().enumerate() {
                if claim.is_none() && free(self, i) {
                    *claim = Some(m.span);
                    ids.push(WeightId::new(i));
                }
            }
            return ids;
        };
        for target in targets {
            let mut wanted = segments(target);
            // A parameter that stands for a definition is called by the definition's name.
            if let Some(Value::Definition(d)) = env.names.get(&wanted[0].0) {
                wanted[0].0.clone_from(&self.table.entries[*d].definition.name.text);
            }
            let matched: Vec<usize> = (0..self.known.len())
                .filter(|&i| matches_target(&wanted, &self.known[i]))
                .collect();
            if matched.is_empty() {
                let name = segments(target)
                    .iter()
                    .map(|s| s.0.clone())
                    .collect::<Vec<_>>()
                    .join(".");
                let text = format!("no weight's path contains `{name}`");
                let all =
                    self.known.iter().flat_map(|k| &k.path).map(|p| p.name.as_str());
                let near = crate::definitions::nearest(&name, all);
                let diagnostic = Diagnostic::error("N403", target.span, text);
                self.report(match near {
                    Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                    None => diagnostic,
                });
            }
            for i in matched {
                if !free(self, i) {
                    continue;
                }
                if let Some(first) = claimed[i].replace(target.span) {
                    let path = self.weights[WeightId::new(i)].path.clone();
                    let text = format!("`{path}` is learned by two levels");
                    let diagnostic = Diagnostic::error("N401", target.span, text);
                    self.report(diagnostic.label(first, "first claimed here"));
                } else {
                    ids.push(WeightId::new(i));
                }
            }
        }
        ids
    }

    fn outer(
        &mut self,
        env: &mut Env,
        m: &'a Minimize,
        ids: &[WeightId],
    ) -> Option<OuterMinimize> {
        let value = self.eval(env, &m.objective);
        let t = self.real(&value, m.objective.span)?;
        if !self.one_number(&t, m.objective.span, "sum it over its dimensions: `sum(x)`")
        {
            return None;
        }
        self.reaches_weights(t.node, ids, m.objective.span);
        let mut targets = Vec::new();
        for &id in ids {
            let dims: Vec<NamedDim> =
                self.weights[id].dims.iter().map(|d| NamedDim::plain(*d)).collect();
            // Algorithms see a weight of rank above two as the matrix [first, the rest]; element by
            // element that is the same thing.
            let algorithm = self.algorithm(env, &m.using, &dims, None, &[])?;
            let retention = match &m.retaining {
                Some(call) if call.path.dotted().as_deref() != Some("none") => {
                    self.groups.push(Vec::new());
                    let group = self.groups.len() - 1;
                    Some(self.retention(env, call, &dims, group, &[])?)
                }
                Some(_) | None => None,
            };
            targets.push((id, algorithm, retention));
        }
        let clip = self.clip(env, m);
        Some(OuterMinimize { objective: t.node, targets, clip })
    }

    fn clock(&mut self, env: &mut Env, clock: &'a ast::Clock) -> Option<Clock> {
        Some(match clock {
            ast::Clock::Sequence(_) => Clock::Sequence,
            ast::Clock::Tokens(n, span) => Clock::Tokens(self.period(env, n, *span)?),
            ast::Clock::Steps(n, span) => Clock::Steps(self.period(env, n, *span)?),
        })
    }

    fn period(&mut self, env: &mut Env, n: &'a ast::Expr, span: Span) -> Option<usize> {
        let value = self.eval(env, n);
        let n = self.whole(&value, span)?;
        if n == 0 {
            let text = "a clock ticks every so many, at least one";
            self.report(Diagnostic::error("N102", span, text));
            return None;
        }
        Some(n)
    }

    /// The names of weights and states in `run` files.
    pub(crate) fn shorten(&mut self) {
        let memories: Vec<usize> = (0..self.known.len())
            .filter(|&i| self.weights[WeightId::new(i)].memory.is_some())
            .collect();
        let names = |k: &KnownWeight| -> Vec<String> {
            let one = |p: &crate::elaborate::Part| {
                p.rounds.iter().fold(p.name.clone(), |t, r| format!("{t}[{r}]"))
            };
            let parts = k
                .path
                .iter()
                .flat_map(|p| one(p).split('.').map(str::to_owned).collect::<Vec<_>>());
            parts.collect()
        };
        let all: Vec<Vec<String>> =
            memories.iter().map(|&i| names(&self.known[i])).collect();
        for (n, &i) in memories.iter().enumerate() {
            let id = WeightId::new(i);
            let memory = self.weights[id].memory;
            let alone = memories
                .iter()
                .filter(|&&j| self.weights[WeightId::new(j)].memory == memory)
                .count()
                == 1;
            let path = &all[n];
            let unique =
                |tail: &[String]| all.iter().filter(|p| p.ends_with(tail)).count() == 1;
            let size = (1..=path.len())
                .find(|&k| unique(&path[path.len() - k..]))
                .unwrap_or(path.len());
            let tail = &path[path.len() - size..];
            let tail = if alone && size > 1 { &tail[..size - 1] } else { tail };
            let short = tail.join(".");
            self.weights[id].short = format!("init.{short}");
            if let Some(memory) = memory {
                let weights = &mut self.memories[memory].weights;
                if let Some(w) = weights.iter_mut().find(|w| w.initial == id) {
                    w.short = short;
                }
            }
        }
    }
}

fn clock_span(clock: &ast::Clock) -> Span {
    match clock {
        ast::Clock::Sequence(span)
        | ast::Clock::Tokens(_, span)
        | ast::Clock::Steps(_, span) => *span,
    }
}

/// A target's segments with their index, where it is a plain number.
fn segments(target: &Path) -> Vec<(String, Option<usize>)> {
    let mut out = vec![(target.name.text.clone(), None)];
    for segment in &target.rest {
        match segment {
            Segment::Field(name) => out.push((name.text.clone(), None)),
            Segment::Index(e) => {
                if let (ast::ExprKind::Number(n, _), Some(last)) =
                    (&e.kind, out.last_mut())
                {
                    last.1 = Some(*n as usize);
                }
            }
        }
    }
    out
}

/// Whether a weight's path contains a target's segments in this order.
fn matches_target(wanted: &[(String, Option<usize>)], weight: &KnownWeight) -> bool {
    let mut wanted = wanted.iter().peekable();
    for part in &weight.path {
        let Some((name, index)) = wanted.peek() else { break };
        let named = part.name == *name || part.definition.as_ref() == Some(name);
        let at = index.is_none_or(|i| part.rounds.first() == Some(&i));
        if named && at {
            wanted.next();
        }
    }
    wanted.peek().is_none()
}
