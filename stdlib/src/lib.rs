//! The library of Nestor, written in Nestor. This crate only embeds the files; they take the
//! same path through the compiler as a user's own.

macro_rules! library {
    ($($path:literal),* $(,)?) => {
        /// Every file of the library: its path and its text.
        pub const FILES: &[(&str, &str)] =
            &[$((concat!("stdlib/", $path), include_str!(concat!("../", $path)))),*];
    };
}

library![
    "algorithm/adam.nest",
    "algorithm/delta_momentum.nest",
    "algorithm/dgd.nest",
    "algorithm/dmgd.nest",
    "algorithm/m3.nest",
    "algorithm/minibatch.nest",
    "algorithm/momentum.nest",
    "algorithm/muon.nest",
    "algorithm/sgd.nest",
    "algorithm/shampoo.nest",
    "bias/dot.nest",
    "bias/huber.nest",
    "bias/l2.nest",
    "bias/lp.nest",
    "bias/total.nest",
    "bias/yaad.nest",
    "function/activation.nest",
    "function/newton_schulz.nest",
    "function/norm.nest",
    "layer/basic.nest",
    "layer/mlp.nest",
    "layer/titans.nest",
    "memory/atlas.nest",
    "memory/attention.nest",
    "memory/delta.nest",
    "memory/lact.nest",
    "memory/linear.nest",
    "memory/mesa.nest",
    "memory/miras.nest",
    "memory/recurrent.nest",
    "memory/titans.nest",
    "memory/ttt.nest",
    "retention/bregman.nest",
    "retention/decay.nest",
    "retention/elastic.nest",
    "retention/kl.nest",
    "retention/lq.nest",
    "retention/unit_columns.nest",
    "structure/glu.nest",
    "structure/matrix.nest",
    "structure/mlp.nest",
    "structure/rowwise.nest",
    "structure/ttt.nest",
];

/// Programs that hold every definition of the library, for checks of the compiler against what
/// the definitions mean; no part of the library.
pub const CHECKS: &[(&str, &str)] = &[
    ("stdlib/checks/memories.nest", include_str!("../checks/memories.nest")),
    ("stdlib/checks/axes.nest", include_str!("../checks/axes.nest")),
    ("stdlib/checks/layers.nest", include_str!("../checks/layers.nest")),
];
