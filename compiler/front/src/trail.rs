//! Where a diagnostic is said to be: on the user's own text. What goes wrong inside a definition
//! of the library was caused where that was called, so the place moves there, and the line of the
//! library stays as a second one.

use crate::elaborate::{Elaborator, Env};
use crate::value::Value;
use indexmap::IndexMap;
use nestor_grammar::{Diagnostic, Severity, Span};
use nestor_ir::tensor::Value as Node;

/// Calls under way, and where values and odd divisions stand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail {
    /// Calls of definitions that are being expanded, the outermost first.
    calls: Vec<Span>,
    /// The expression that a value of a graph is of: the innermost one.
    origins: IndexMap<(usize, Node), Span>,
    /// Divisions of whole numbers that left a rest: result, place and what was divided.
    uneven: Vec<(f64, Span, String)>,
    /// Starts that are part of a circle, which was said.
    pub(crate) circular: Vec<Span>,
    /// The operands of the operator at hand.
    pub(crate) sides: Option<[Side; 2]>,
}

/// An operand, for a shape error.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    /// What it is called.
    pub(crate) name: String,
    /// Where it stands.
    pub(crate) span: Span,
    /// Where its value was made, where that is elsewhere.
    pub(crate) origin: Option<Span>,
}

/// What a name was declared as; none of these is bound again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Declared {
    /// A parameter of the definition.
    Parameter,
    /// An input of a layer.
    Input,
    /// A weight of a layer.
    Weight,
    /// A weight that an `update` gives a next value.
    Fast,
    /// A state, or the first parameter of a retention.
    State,
}

impl Declared {
    fn words(self) -> &'static str {
        match self {
            Declared::Parameter => "a parameter",
            Declared::Input => "an input",
            Declared::Weight | Declared::Fast => "a weight",
            Declared::State => "a state",
        }
    }
    fn has_next(self) -> bool {
        matches!(self, Declared::Fast | Declared::State)
    }
}

impl Env {
    /// Whether something of this name has a next value.
    pub(crate) fn has_next(&self, name: &str) -> bool {
        self.declared.get(name).is_some_and(|(what, _)| what.has_next())
    }
}

impl<'a> Elaborator<'a> {
    /// Runs `f` for what stands at a call.
    pub(crate) fn within<R>(&mut self, call: Span, f: impl FnOnce(&mut Self) -> R) -> R {
        self.trail.calls.push(call);
        let result = f(self);
        self.trail.calls.pop();
        result
    }

    /// Reports something, on the user's own text where a call of theirs led to it.
    pub(crate) fn report(&mut self, diagnostic: Diagnostic) -> Value {
        let diagnostic = match self.users_call(diagnostic.span()) {
            Some(call) => diagnostic.called_from(call),
            None => diagnostic,
        };
        let said = self
            .found
            .iter()
            .any(|d| d.code == diagnostic.code && d.span() == diagnostic.span());
        if !said {
            self.found.push(diagnostic);
        }
        Value::Poison
    }

    /// The user's innermost call that led to a place in the library.
    fn users_call(&self, place: Span) -> Option<Span> {
        if self.table.is_users(place.file) {
            return None;
        }
        let mut calls = self.trail.calls.iter().rev();
        calls.find(|c| self.table.is_users(c.file)).copied()
    }

    /// The place itself where it is the user's, or their call that led to it.
    pub(crate) fn users_place(&self, place: Span) -> Span {
        self.users_call(place).unwrap_or(place)
    }

    /// Whether anything found stops the compilation.
    pub(crate) fn failed(&self) -> bool {
        self.found.iter().any(|d| d.severity != Severity::Warning)
    }

    /// Remembers the expression of a value, unless an inner one is known.
    pub(crate) fn comes_from(&mut self, value: &Value, span: Span) {
        if let Value::Tensor(t) = value {
            self.trail.origins.entry((t.frame, t.node)).or_insert(span);
        }
    }

    /// The expression that a value is of; for what a small graph captured, of what it captured.
    pub(crate) fn origin(&self, frame: usize, node: Node) -> Option<Span> {
        if let Some((outer, node)) = self.captured_from(frame, node) {
            return self.origin(outer, node);
        }
        self.trail.origins.get(&(frame, node)).copied()
    }

    /// What a captured input of a small graph stands for.
    pub(crate) fn captured_from(
        &self,
        frame: usize,
        node: Node,
    ) -> Option<(usize, Node)> {
        let nestor_ir::tensor::Op::Input { index, .. } =
            self.frames[frame].graph.def(node).op
        else {
            return None;
        };
        let crate::elaborate::Slot::Captured(c) = *self.frames[frame].slots.get(index)?
        else {
            return None;
        };
        let t = &self.groups[self.frames[frame].group][c];
        Some((t.frame, t.node))
    }

    /// An operand as a shape error shows it.
    pub(crate) fn side(&self, expr: &nestor_grammar::ast::Expr, value: &Value) -> Side {
        let origin = match value {
            Value::Tensor(t) => self.origin(t.frame, t.node),
            _ => None,
        };
        let name = match crate::eval::dotted(expr) {
            Some(name) => format!("`{name}`"),
            None => "this".to_owned(),
        };
        Side { name, span: expr.span, origin: origin.filter(|o| *o != expr.span) }
    }

    /// Remembers a division that left a rest.
    pub(crate) fn divided(&mut self, x: f64, y: f64, result: f64, span: Span) {
        self.trail.uneven.push((result, span, format!("{x} / {y} = {result}")));
    }

    /// The last division with this result.
    pub(crate) fn division(&self, result: f64) -> Option<(Span, String)> {
        let found = self.trail.uneven.iter().rev().find(|(r, ..)| *r == result);
        found.map(|(_, span, words)| (*span, words.clone()))
    }

    /// Refuses to bind what was declared, and a next value of what is no state.
    pub(crate) fn may_bind(&mut self, env: &Env, name: &str, primed: bool, span: Span) {
        let declared = env.declared.get(name);
        if let (true, Some((what, _))) = (primed, declared)
            && what.has_next()
        {
            return;
        }
        if primed {
            self.no_next(env, name, span);
            return;
        }
        let Some(&(what, first)) = declared else { return };
        let text = format!("`{name}` is {} and cannot be bound again", what.words());
        let help = if what.has_next() {
            format!("its next value is `{name}' = ...`")
        } else {
            format!("give the new value a name of its own: `{name}_2 = ...`")
        };
        self.report(
            Diagnostic::error("N104", span, text)
                .says("bound again")
                .label(first, "declared here")
                .help(help),
        );
    }

    /// `name'` where nothing of that name has a next value.
    pub(crate) fn no_next(&mut self, env: &Env, name: &str, span: Span) -> Value {
        let with = env.declared.iter().filter(|(_, (d, _))| d.has_next());
        let states: Vec<&str> = with.map(|(n, _)| n.as_str()).collect();
        let mut text = format!("`{name}'` is the next value of no state");
        let mut diagnostic = Diagnostic::error("N104", span, "").says("no such state");
        if let Some((what, first)) = env.declared.get(name) {
            text = format!("{text}: `{name}` is {}", what.words());
            diagnostic = diagnostic.label(*first, "declared here");
        }
        diagnostic.message = text;
        let near = crate::definitions::nearest(name, states.iter().copied());
        let help = match (near, states.as_slice()) {
            (Some(near), _) => format!("did you mean `{near}'`?"),
            (None, []) if env.instance.is_some() => {
                "a layer's values have no next value: write a memory for what changes with the tokens".to_owned()
            }
            (None, []) => format!("declare it: `state {name} = 0`"),
            (None, all) => format!(
                "what has a next value here: `{}`; or declare `state {name} = 0`",
                all.join("`, `")
            ),
        };
        self.report(diagnostic.help(help))
    }

    /// Declares a name, unless it is declared already.
    pub(crate) fn declares(
        &mut self,
        env: &mut Env,
        name: &str,
        what: Declared,
        span: Span,
    ) {
        match env.declared.get(name) {
            Some(&(known, first)) if first != span => {
                let text = format!("`{name}` is already {}", known.words());
                self.report(
                    Diagnostic::error("N104", span, text)
                        .says(format!("declared again as {}", what.words()))
                        .label(first, "first declared here")
                        .help("choose another name for one of the two"),
                );
            }
            _ => {
                env.declared.insert(name.to_owned(), (what, span));
            }
        }
    }
}
