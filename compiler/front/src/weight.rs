//! Weights: declared in layers and structures, made where they are used, with their initial values.

use crate::elaborate::{Elaborator, Env, KnownWeight, Part, path_text};
use crate::emit;
use crate::layer::mentions;
use crate::trail::Declared;
use crate::value::{Distribution, NamedDim, Tensor, Value};
use nestor_grammar::ast::{Decl, ItemKind};
use nestor_grammar::{Diagnostic, Span};
use nestor_ir::dim::Dim;
use nestor_ir::level::{Initial, Weight, WeightId};
use nestor_ir::tensor::Op;
use nestor_ir::ty::{Elem, Type};

impl<'a> Elaborator<'a> {
    /// Binds declared weights; each is made only where the body uses it.
    pub(crate) fn declare(&mut self, instance: usize, env: &mut Env, decls: &'a [Decl]) {
        let body = &self.definition_of(instance).body;
        for decl in decls {
            let Some(name) = decl.path.dotted() else { continue };
            let known = env.declared.contains_key(&name);
            self.declares(env, &name, Declared::Weight, decl.path.span);
            if known {
                continue;
            }
            if env.names.contains_key(&name) {
                let text = format!("`{name}` is already bound in this body");
                let help = "declare a weight before anything of its name is bound";
                self.report(Diagnostic::error("N104", decl.path.span, text).help(help));
                continue;
            }
            let value = match self.instances[instance].members.get(&name) {
                Some(value) => value.clone(),
                None if !mentions(body, &name, env) => continue,
                None => {
                    let value = self.layer_weight(instance, env, decl, &name);
                    self.instances[instance].members.insert(name.clone(), value.clone());
                    value
                }
            };
            env.names.insert(name, value);
        }
    }

    pub(crate) fn layer_weight(
        &mut self,
        instance: usize,
        env: &mut Env,
        decl: &'a Decl,
        name: &str,
    ) -> Value {
        let dims = match &decl.shape {
            Some(shape) => match self.dims(env, shape) {
                Some(dims) => dims,
                None => return Value::Poison,
            },
            None => Vec::new(),
        };
        if dims.iter().any(|d| d.size == Dim::Fixed(0)) {
            // `p = 0` learned pairs: an empty weight is none at all.
            return Value::None;
        }
        let mut path = self.instances[instance].path.clone();
        path.push(Part { name: name.to_owned(), rounds: vec![], definition: None });
        let Some(id) = self.weight(env, decl, path, &dims, &[], None) else {
            return Value::Poison;
        };
        let mut t = self.known[nestor_ir::entity::Entity::index(id)].tensor.clone();
        if let Some(t) = &mut t {
            t.dims = dims;
        }
        t.map_or(Value::Poison, Value::Tensor)
    }

    /// A new weight of the program; `map` are a memory's leading dimensions.
    pub(crate) fn weight(
        &mut self,
        env: &mut Env,
        decl: &'a Decl,
        path: Vec<Part>,
        dims: &[NamedDim],
        map: &[Dim],
        memory: Option<nestor_ir::level::MemoryId>,
    ) -> Option<WeightId> {
        let initial = self.initial(env, decl, dims, map)?;
        let all: nestor_ir::ty::Dims =
            map.iter().copied().chain(dims.iter().map(|d| d.size)).collect();
        let text = path_text(&path);
        let weight = Weight {
            path: text.clone(),
            short: text,
            dims: all.clone(),
            initial,
            fixed: decl.fixed,
            memory,
        };
        let id = self.weights.push(weight);
        let tensor = if memory.is_none() {
            let name = path_text(&path);
            let node = self.frames[0].graph.input(name, Type::real(all));
            let dims = dims.to_vec();
            let elem = Elem::Real;
            Some(Tensor {
                frame: 0,
                node,
                elem,
                lead: vec![],
                dims,
                strip: 0,
                window: None,
            })
        } else {
            let name = path_text(&path);
            self.frames[0].graph.input(name, Type::real(all));
            None
        };
        let declared = decl.path.span;
        let span = self.users_place(declared);
        self.known.push(KnownWeight { path, declared, span, tensor });
        Some(id)
    }

    pub(crate) fn initial(
        &mut self,
        env: &mut Env,
        decl: &'a Decl,
        dims: &[NamedDim],
        map: &[Dim],
    ) -> Option<Initial> {
        let group = self.groups.len();
        self.groups.push(Vec::new());
        let frame = self.open_frame(group, vec![]);
        let before = std::mem::replace(&mut self.frame, frame);
        let value = self.eval(env, &decl.initial);
        let made = match value {
            Value::Distribution(Distribution::Normal(s)) => Some(Initial::Normal(s)),
            Value::Distribution(Distribution::Uniform(a)) => Some(Initial::Uniform(a)),
            Value::Distribution(Distribution::Orthogonal(g)) => {
                Some(Initial::Orthogonal(g))
            }
            value => self.initial_values(&value, decl, dims, map),
        };
        self.frame = before;
        made
    }

    pub(crate) fn initial_values(
        &mut self,
        value: &Value,
        decl: &'a Decl,
        dims: &[NamedDim],
        map: &[Dim],
    ) -> Option<Initial> {
        let span = decl.initial.span;
        let t = self.real(value, span)?;
        let target = Tensor {
            dims: dims.to_vec(),
            ..emit::constant(self.graph(), t.frame, 0.0, Elem::Real)
        };
        let own: Vec<usize> = (0..0).collect();
        let zero = Tensor { dims: vec![], ..target.clone() };
        let zeros = emit::broadcast(self.graph(), &zero, &[], dims, &own);
        let fitted = emit::fit(self.graph(), &t, &zeros);
        let (t, _) = match fitted {
            Ok(pair) => pair,
            Err(misfit) => {
                self.fitted(Err(misfit), span);
                return None;
            }
        };
        if !self.groups[self.frames[self.frame].group].is_empty() {
            let text = "an initial value is known before any token";
            self.report(
                Diagnostic::error("N102", span, text)
                    .help("use numbers and parameters before `;`"),
            );
            return None;
        }
        let mut node = t.node;
        if !map.is_empty() {
            let to = map.iter().copied().chain(dims.iter().map(|d| d.size)).collect();
            let axes = (map.len()..map.len() + dims.len()).collect();
            node = self.graph().add(Op::Broadcast { dims: to, axes }, &[node]);
        }
        let graph = self.close(self.frame, &[], &[("value".into(), node)]);
        Some(Initial::Values(Box::new(graph)))
    }

    /// A weight or inner instance of a layer, by name: `E.W`.
    pub(crate) fn member(&mut self, instance: usize, word: &str, span: Span) -> Value {
        if let Some(value) = self.instances[instance].members.get(word) {
            return value.clone();
        }
        let definition = self.definition_of(instance);
        let decl = definition.body.iter().find_map(|i| match &i.kind {
            ItemKind::Weights(decls) => {
                decls.iter().find(|d| d.path.dotted().as_deref() == Some(word))
            }
            _ => None,
        });
        let Some(decl) = decl else {
            let text = format!("`{}` has no weight `{word}`", definition.name.text);
            return self.report(Diagnostic::error("N101", span, text));
        };
        let mut env = self.instances[instance].env.clone();
        let value = self.layer_weight(instance, &mut env, decl, word);
        self.instances[instance].members.insert(word.to_owned(), value.clone());
        value
    }
}
