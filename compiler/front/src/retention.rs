//! Retentions: what is kept of a weight, as small graphs.

use crate::elaborate::{Elaborator, Env, Slot};
use crate::trail::Declared;
use crate::value::{NamedDim, Value};
use nestor_grammar::Diagnostic;
use nestor_grammar::ast::{Call, ItemKind, Kind};
use nestor_ir::dim::Dim;
use nestor_ir::level::{Retention, RetentionForm, RetentionInput};
use nestor_ir::tensor::Value as Node;

impl<'a> Elaborator<'a> {
    /// A retention for one weight.
    pub(crate) fn retention(
        &mut self,
        env: &mut Env,
        call: &'a Call,
        dims: &[NamedDim],
        group: usize,
        drop: &[Dim],
    ) -> Option<Retention> {
        let frame = self.open_frame(group, drop.to_vec());
        let before = std::mem::replace(&mut self.frame, frame);
        let made =
            self.within(call.span, |this| this.retention_in(frame, env, call, dims));
        self.frame = before;
        made
    }

    pub(crate) fn retention_in(
        &mut self,
        frame: usize,
        env: &mut Env,
        call: &'a Call,
        dims: &[NamedDim],
    ) -> Option<Retention> {
        let (d, mut scope) = self.axis(env, call, Kind::Retention, dims)?;
        let definition = self.table.entries[d].definition;
        let roles = self.roles(Kind::Retention, &definition.params);
        for (i, param) in definition.params.all[..roles].iter().enumerate() {
            let slot = match param.name.text.as_str() {
                _ if i == 0 => Slot::First,
                "U" => Slot::Step,
                "W_prev" => Slot::Previous,
                "W_init" => Slot::Other,
                other => {
                    let text = format!("a retention has no role `{other}`");
                    self.report(Diagnostic::error("N103", param.name.span, text));
                    return None;
                }
            };
            let t = self.slot(frame, slot, &param.name.text, dims.to_vec());
            scope.names.insert(param.name.text.clone(), Value::Tensor(t));
        }
        let first = definition.params.all.first()?.name.text.clone();
        let span = definition.params.all.first()?.name.span;
        scope.declared.insert(first.clone(), (Declared::State, span));
        let (mut states, mut keep, mut read, mut penalty) =
            (Vec::new(), None, None, None);
        for item in &definition.body {
            match &item.kind {
                ItemKind::States(decls) => {
                    for decl in decls {
                        let state =
                            self.state(frame, &mut scope, decl, dims, states.len())?;
                        states.push(state);
                    }
                }
                ItemKind::Keep(value) => keep = Some(self.eval(&mut scope, value)),
                ItemKind::RetentionRead(value) => {
                    read = Some(self.eval(&mut scope, value))
                }
                ItemKind::Penalty(value) => {
                    let value_of = self.eval(&mut scope, value);
                    let next = self.least(frame, &value_of, dims, value.span)?;
                    // A `read` after it sees the argmin under the weights' name.
                    scope.names.insert(first.clone(), Value::Tensor(next.clone()));
                    penalty = Some(next);
                }
                _ => self.body(&mut scope, std::slice::from_ref(item)),
            }
        }
        let part = |this: &mut Self, value: Option<Value>| -> Option<Option<Node>> {
            let Some(value) = value else { return Some(None) };
            let t = this.real(&value, call.span)?;
            Some(Some(this.like(&t, dims, call.span)?.node))
        };
        let keep = part(self, keep)?;
        let read = part(self, read)?;
        if let Some(keep) = keep {
            let params = &definition.params;
            crate::interval::check_gates(self, frame, keep, &scope, params, call);
        }
        let form = if let Some(argmin) = penalty {
            let next = read.unwrap_or(argmin.node);
            RetentionForm::Next { next: self.as_written(frame, &[("next".into(), next)]) }
        } else if let Some(keep) = keep {
            RetentionForm::Keep {
                keep: self.as_written(frame, &[("keep".into(), keep)]),
                read: read.map(|r| self.as_written(frame, &[("read".into(), r)])),
            }
        } else {
            let Some(next) = scope.names.get(&format!("{first}'")).cloned() else {
                let text = format!(
                    "`{}` says neither `keep`, `penalty` nor `{first}'`",
                    definition.name.text
                );
                self.report(Diagnostic::error("N102", call.span, text));
                return None;
            };
            let next = part(self, Some(next))??;
            let mut outputs = vec![("next".to_owned(), next)];
            for (state, dims) in &states {
                let key = format!("{}'", state.name);
                let value =
                    scope.names.get(&key).or(scope.names.get(&state.name)).cloned()?;
                let t = self.real(&value, call.span)?;
                outputs.push((state.name.clone(), self.like(&t, dims, call.span)?.node));
            }
            RetentionForm::Next { next: self.as_written(frame, &outputs) }
        };
        let used: Vec<Slot> = self.frames[frame].slots.clone();
        let inputs: Vec<RetentionInput> = used
            .iter()
            .map(|slot| match *slot {
                Slot::Step => RetentionInput::Step,
                Slot::Previous => RetentionInput::Previous,
                Slot::Other => RetentionInput::Initial,
                Slot::State(i) => RetentionInput::State(i),
                Slot::Captured(i) => RetentionInput::Captured(i),
                Slot::First
                | Slot::Weight(_)
                | Slot::Kept(_)
                | Slot::Argument(_)
                | Slot::Count
                | Slot::Total
                | Slot::Samples => RetentionInput::Stored,
            })
            .collect();
        Some(Retention {
            inputs,
            form,
            states: states.into_iter().map(|(s, _)| s).collect(),
        })
    }
}
