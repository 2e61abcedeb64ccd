//! `from`: an instance that starts from another's weights, and cycles of such starts.

use crate::elaborate::{Elaborator, Env, Part, path_text};
use crate::value::Value;
use indexmap::IndexMap;
use nestor_grammar::ast::{Binding, Item, ItemKind, Path};
use nestor_grammar::{Diagnostic, Span};
use nestor_ir::entity::Entity;
use nestor_ir::level::{Initial, WeightId};

impl<'a> Elaborator<'a> {
    /// Lets an instance start from the one that `from` names.
    pub(crate) fn starts_from(&mut self, env: &mut Env, value: &Value, from: &'a Path) {
        if self.trail.circular.contains(&from.span) {
            return;
        }
        let source = from.dotted().map(|n| self.lookup(env, &n, from.span));
        match (value, source) {
            (Value::Instance(new), Some(Value::Instance(old))) => {
                self.same_definition(*new, old, from.span);
            }
            (_, Some(Value::Poison)) | (Value::Poison, _) => {}
            (Value::Instance(_), Some(other)) => {
                let text =
                    format!("`from` names {}, not a layer or memory", other.describe());
                let help = "name the instance to start from: `fast = Block(d) from slow`";
                self.report(Diagnostic::error("N404", from.span, text).help(help));
            }
            (other, _) => {
                let text = format!("{} has no weights to start", other.describe());
                let help = "`from` follows an instance: `fast = Block(d) from slow`";
                self.report(Diagnostic::error("N404", from.span, text).help(help));
            }
        }
    }

    fn same_definition(&mut self, new: usize, old: usize, span: Span) {
        if self.instances[new].definition == self.instances[old].definition {
            self.instances[new].from = Some(old);
            return;
        }
        let name = |this: &Self, i: usize| this.definition_of(i).name.text.clone();
        let (mine, other) = (name(self, new), name(self, old));
        let path = path_text(&self.instances[old].path);
        let text = format!("a `{mine}` cannot start from `{path}`, which is a `{other}`");
        let help = format!("make both of one definition: `{other}(...) from {path}`");
        self.report(
            Diagnostic::error("N404", span, text)
                .says(format!("a `{other}`"))
                .label(self.instances[new].span, format!("a `{mine}`"))
                .help(help),
        );
    }

    /// Lets every weight of an instance that starts from another be what the other's is at that
    /// time. Weights are made where they are used, so this waits until all are.
    pub(crate) fn started_from(&mut self) {
        let pairs: Vec<(Vec<Part>, Vec<Part>)> = self
            .instances
            .iter()
            .filter_map(|i| Some((i.path.clone(), self.instances[i.from?].path.clone())))
            .collect();
        for (new, old) in pairs {
            for i in 0..self.known.len() {
                let Some(tail) = self.known[i].path.strip_prefix(&new[..]) else {
                    continue;
                };
                let wanted: Vec<Part> = old.iter().chain(tail).cloned().collect();
                let source = self.known.iter().position(|k| k.path == wanted);
                if let Some(source) = source {
                    let weight = &mut self.weights[WeightId::new(i)];
                    weight.initial = Initial::From(WeightId::new(source));
                }
            }
        }
    }

    /// Reports instances of a body that start from one another in a circle.
    pub(crate) fn circular_from(&mut self, body: &'a [Item]) {
        let mut starts: IndexMap<String, (String, Span)> = IndexMap::new();
        collect(body, &mut starts);
        let mut said: Vec<String> = Vec::new();
        for first in starts.keys() {
            let mut circle = vec![first.clone()];
            while let Some((next, _)) = starts.get(circle.last().unwrap_or(first)) {
                if next == first || circle.contains(next) || !starts.contains_key(next) {
                    let closes = next == first;
                    circle.push(next.clone());
                    if !closes {
                        circle.clear();
                    }
                    break;
                }
                circle.push(next.clone());
            }
            if circle.len() < 2 || circle.last() != Some(first) || said.contains(first) {
                continue;
            }
            said.extend(circle.iter().cloned());
            let words: Vec<String> = circle.iter().map(|n| format!("`{n}`")).collect();
            let text = format!("each starts from the next: {}", words.join(" from "));
            let mut diagnostic = Diagnostic::error("N404", starts[first].1, text)
                .says("the circle begins here")
                .help(
                    "let one of them start with values of its own: leave its `from` out",
                );
            for name in &circle[1..circle.len() - 1] {
                diagnostic =
                    diagnostic.label(starts[name].1, "and goes on here".to_owned());
            }
            let spans: Vec<Span> = circle.iter().map(|n| starts[n].1).collect();
            self.report(diagnostic);
            // What is said of the circle is said of each of its parts.
            for span in spans {
                self.trail.circular.push(span);
            }
        }
    }
}

fn collect(body: &[Item], starts: &mut IndexMap<String, (String, Span)>) {
    for item in body {
        match &item.kind {
            ItemKind::Binding(Binding { path, from: Some(from), .. }) => {
                if let (Some(name), Some(other)) = (path.dotted(), from.dotted()) {
                    starts.entry(name).or_insert((other, from.span));
                }
            }
            ItemKind::Repeat(_, _, body) | ItemKind::ClockBlock(_, body) => {
                collect(body, starts);
            }
            _ => {}
        }
    }
}
