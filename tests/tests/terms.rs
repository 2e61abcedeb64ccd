//! Terms of the library's layers that papers give as numbers: how many weights of a shape a layer has. Where a
//! convolution stands, through how many channels a gate is made.

use nestor_tests::spec::Specs;

/// Width and heads of what is looked at: no two sizes of a paper's meet in them.
const WIDTH: usize = 96;
const HEADS: usize = 4;

/// A layer, the shape of a weight, how many of these it has, and why.
const TERMS: &[(&str, &[usize], usize, &str)] = &[
    ("TitansLMM", &[4, 96], 3, "a convolution after each of three projections"),
    ("MAC", &[4, 96], 1, "a convolution after the projection of queries"),
    ("TNT", &[4, 96], 3, "a convolution after each of three projections"),
    ("RWKV6", &[96, 32], 5, "five shifts through 32 channels"),
    ("RWKV6", &[96, 64], 1, "a decay through 64 channels"),
    ("MonetaLayer", &[96, 32], 2, "gates through 32 channels"),
    ("YaadLayer", &[96, 32], 2, "gates through 32 channels"),
    ("MemoraLayer", &[96, 32], 2, "gates through 32 channels"),
    ("MonetaLayer", &[4, 96], 3, "a convolution after each of three projections"),
    (
        "LaCTLayer",
        &[4, 24],
        4,
        "the memory's queries and keys scaled and shifted by channel",
    ),
    ("LaCTLayer", &[96, 4], 5, "three rates, a momentum and a scale a head"),
    ("LaCTLayer", &[96, 96], 1, "no projection of its own: one back"),
    ("OmegaNet", &[4, 96], 3, "a convolution after each of three projections"),
    ("AtlasLayer", &[4, 96], 3, "a convolution after each of three projections"),
];

/// Shapes of a layer's weights.
fn shapes(layer: &str) -> Vec<Vec<usize>> {
    let text = format!(
        "layer Looked(d = {WIDTH}) {{\n    in x: [d]\n    out x |> {layer}(d, heads = {HEADS})\n}}\n"
    );
    let specs = Specs::of("terms", &text);
    let made = specs.elaborate("Looked", &[]);
    let program =
        made.program.unwrap_or_else(|| panic!("{}", specs.render(&made.diagnostics)));
    let own = |w: &nestor_ir::level::Weight| {
        w.dims.iter().filter_map(|d| d.fixed()).collect::<Vec<usize>>()
    };
    program.weights.values().map(own).collect()
}

#[test]
fn layers_have_the_terms_of_their_papers() {
    let mut off = Vec::new();
    for (layer, shape, count, why) in TERMS {
        let found = shapes(layer).iter().filter(|s| s == shape).count();
        if found != *count {
            off.push(format!(
                "{layer}: {found} weights of {shape:?}, not {count}: {why}"
            ));
        }
    }
    assert!(off.is_empty(), "{}", off.join("\n"));
}
