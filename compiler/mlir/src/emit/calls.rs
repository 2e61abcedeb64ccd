//! What a kernel has often: functions, and calls of them.

use super::build::{Builder, V};
use super::number::Num;
use super::{About, Emit, SHARED, name, nested, parsed};
use crate::often::{Call, Function, Often};
use crate::placement::Placement;
use crate::rolled::OF;
use crate::strips::Strips;
use melior::Context;
use melior::dialect::llvm::r#type as types;
use melior::ir::attribute::{
    DenseI32ArrayAttribute, FlatSymbolRefAttribute, TypeAttribute,
};
use melior::ir::block::BlockLike;
use melior::ir::{Attribute, BlockRef};
use nestor_ir::tile::Place;

fn symbol(kernel: &str, n: usize) -> String {
    format!("{kernel}{OF}{n}")
}

/// Appends the functions of a kernel.
pub(super) fn functions<'c: 'a, 'a>(
    context: &'c Context,
    block: BlockRef<'c, 'a>,
    about: About<'_>,
) {
    for (n, function) in about.often.functions.iter().enumerate() {
        let own = About {
            symbol: &symbol(about.symbol, n),
            kernel: &function.kernel,
            exchanged: &function.exchanged,
            kept: &function.kept,
            placement: &Placement {
                homes: Vec::new(),
                scratch: Vec::new(),
                ahead: Vec::new(),
                strips: Strips::default(),
                ..*about.placement
            },
            often: &Often::default(),
            ..about
        };
        one(context, block, own, function);
    }
}

fn one<'c: 'a, 'a>(
    context: &'c Context,
    block: BlockRef<'c, 'a>,
    about: About<'_>,
    function: &Function,
) {
    let b = Builder::new(context, block);
    let places = function.places.iter();
    let pointer = |shared: bool| b.pointer(if shared { 3 } else { 1 });
    let mut arguments: Vec<_> = places.map(|(_, shared)| pointer(*shared)).collect();
    arguments.extend(function.numbers.iter().map(|_| b.float()));
    let ty = types::function(types::void(context), &arguments, false);
    let attributes = [
        ("sym_name", name(context, about.symbol)),
        ("function_type", TypeAttribute::new(ty).into()),
        ("linkage", parsed(context, "#llvm.linkage<internal>")),
        ("no_inline", Attribute::unit(context)),
        // All threads wait for one another in it.
        ("convergent", Attribute::unit(context)),
    ];
    let body = nested(context, block, "llvm.func", &attributes, &arguments);
    let argument =
        |n: usize| -> V<'c, 'a> { body.argument(n).expect("an argument").into() };
    let mut emit = Emit::new(Builder::new(context, body), about);
    for (n, (place, _)) in function.places.iter().enumerate() {
        match place {
            Place::Tile(_) => emit.tiles.push(argument(n)),
            Place::Buffer(_) => emit.buffers.push(argument(n)),
        }
    }
    let behind = function.places.len();
    let numbers = function.numbers.iter().enumerate();
    emit.numbers = numbers.map(|(n, which)| (*which, argument(behind + n))).collect();
    emit.work(&about.kernel.body[0]);
    emit.b.leave();
}

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    pub(super) fn call(&mut self, call: &Call) {
        self.anew_for(|e| {
            // Addresses that other calls are given too would be kept in registers from one to the other.
            let shared = e.b.address_of(SHARED, 3);
            e.shared = Some(e.b.anew(shared));
            let mut given: Vec<V<'c, 'a>> = Vec::new();
            for (place, from) in &call.places {
                let from = e.affine(from);
                given.push(match from {
                    Num::Known(0) => e.base(*place),
                    from => e.address(*place, from).0,
                });
            }
            e.shared = None;
            given.extend(call.numbers.iter().map(|x| e.b.real(*x)));
            let context = e.b.context;
            let callee = symbol(e.about.symbol, call.function);
            let callee = FlatSymbolRefAttribute::new(context, &callee).into();
            let sizes = [given.len() as i32, 0];
            let sizes = DenseI32ArrayAttribute::new(context, &sizes).into();
            let bundles = DenseI32ArrayAttribute::new(context, &[]).into();
            let attributes = [
                ("callee", callee),
                ("operandSegmentSizes", sizes),
                ("op_bundle_sizes", bundles),
                ("convergent", Attribute::unit(context)),
            ];
            e.b.op("llvm.call", &given, &[], &attributes);
        });
    }

    /// A number that a statement computes with, by its place among them: what a function is given, or itself.
    pub(super) fn real(&mut self, n: usize, x: f64) -> V<'c, 'a> {
        let given = self.numbers.iter().find(|(which, _)| *which == n);
        given.map(|(_, v)| *v).unwrap_or_else(|| self.b.real(x))
    }
}
