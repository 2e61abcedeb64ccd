//! Calls of maps that are vector functions of their own.

use crate::emitter::{Emitter, Num, flags};
use crate::normalise::MapParts;
use crate::wide::{self, Argument, MOST_ARGUMENTS, WideMap};
use cranelift_codegen::ir::{
    AbiParam, FuncRef, InstBuilder, StackSlotData, StackSlotKind, types,
};
use cranelift_jit::JITModule;
use cranelift_module::{FuncId, Linkage, Module};
use rustc_hash::FxHashMap;

/// The vector functions of a module, equal ones once.
#[derive(Default)]
pub(crate) struct WideUnit {
    known: FxHashMap<Vec<u8>, FuncId>,
}

impl WideUnit {
    /// A reference to the function of this code.
    fn function(
        &mut self,
        module: &mut JITModule,
        in_function: &mut cranelift_codegen::ir::Function,
        code: &[u8],
        what: &str,
    ) -> Option<FuncRef> {
        let id = match self.known.get(code) {
            Some(&id) => id,
            None => {
                let mut signature = module.make_signature();
                signature.params.push(AbiParam::new(types::I64));
                let name = format!("map{}_{what}", self.known.len());
                let id =
                    module.declare_function(&name, Linkage::Local, &signature).ok()?;
                module.define_function_bytes(id, 64, code, &[]).ok()?;
                self.known.insert(code.to_vec(), id);
                id
            }
        };
        Some(module.declare_func_in_func(id, in_function))
    }
}

/// A map's extents, for the names that profiles show.
fn shape(m: &MapParts) -> String {
    let extents: Vec<String> = m
        .space
        .iter()
        .map(|d| d.fixed().map_or("n".to_owned(), |n| n.to_string()))
        .collect();
    extents.join("x")
}

impl Emitter<'_> {
    /// Emits a map as a call where it can be one.
    pub(crate) fn wide_map(&mut self, m: &MapParts) -> bool {
        if self.wide.is_none() {
            return false;
        }
        let Some(WideMap { code, arguments }) = wide::compiled(self.kernel, m) else {
            return false;
        };
        let Some((unit, module)) = &mut self.wide else { return false };
        let Some(function) = unit.function(module, self.b.func, &code, &shape(m)) else {
            return false;
        };
        let list = match self.words {
            Some(list) => list,
            None => {
                let bytes = u32::try_from(8 * MOST_ARGUMENTS).expect("few arguments");
                let data = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 3);
                let list = self.b.create_sized_stack_slot(data);
                self.words = Some(list);
                list
            }
        };
        let at = self.b.ins().stack_addr(types::I64, list, 0);
        for (n, argument) in arguments.iter().enumerate() {
            let word = match argument {
                Argument::Address(place, origin, bytes) => {
                    let (base, _) = self.place(*place);
                    let origin = self.affine(origin);
                    let origin = self.mul(origin, Num::Const(*bytes));
                    self.offset(base, origin)
                }
                Argument::Number(n) => {
                    let n = self.affine(n);
                    self.value(n)
                }
                Argument::Width(n) => {
                    let n = self.affine(n);
                    let n = self.max(n, Num::Const(0));
                    self.value(n)
                }
            };
            let place = i32::try_from(8 * n).expect("few arguments");
            self.b.ins().store(flags(), word, at, place);
        }
        self.b.ins().call(function, &[at]);
        true
    }
}
