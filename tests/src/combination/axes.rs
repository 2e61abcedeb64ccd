//! A choice on each axis: structure, bias, retention, algorithm, place of the gradient, clocks.

use super::{Clauses, Die};

pub(super) fn memory(die: &Die) -> Clauses {
    let linear = die.below("structure", 3) < 2;
    let structure = match linear {
        true => die.of(
            "linear",
            &["matrix(d_k, d_v)", "matrix(d_k, d_v)", "drawn_features(d_k, d_v)"],
        ),
        false => die.of("deep", DEEP),
    };
    let square = SQUARE.iter().any(|s| structure.starts_with(s));
    let clocked = die.once("clocked", 6);
    let period = [2, 4, 4, 8][die.below("period", 4)];
    let windowed = !clocked && die.once("window", 5);
    let window = [2, 3, 5][die.below("window size", 3)];
    // Gates of channels act along a dimension that every weight has; a window is reduced.
    let channel = linear && !clocked;
    let shape = |name: &str, last: &[&'static str]| -> &'static str {
        if channel { die.of(name, last) } else { "" }
    };
    let alpha = shape("alpha", &["", "", ": [d_k]", ": [d_v]"]);
    let rate = shape("rate", &["", "", "", ": [d_v]", ": [d_k]"]);
    let delta = match die.once("delta", 3) && !clocked {
        true => ": [d_v]",
        false => "",
    };
    let reduced = |name: &str| match clocked {
        true => format!("mean({name})"),
        false => name.to_owned(),
    };
    let bias = bias(die, delta, windowed.then_some(window));
    let (retention, positive) = retention(die, linear, alpha, &reduced);
    let every_token = !windowed && !clocked;
    let (step, one) = match retention.contains("reduced") {
        true => (retention.replace("reduced ", ""), true),
        false => (retention, false),
    };
    let algorithm = match one {
        true => "sgd(1)".to_owned(),
        false => algorithm(die, (linear, structure), rate, every_token, &reduced),
    };
    // The first of two layers may rest: the memory is then linear over its features.
    let two = ["mlp", "deep"].iter().any(|s| structure.starts_with(s));
    let (step, algorithm) = match two && step != "none" && die.once("resting", 4) {
        true => (
            format!("decay(1) on W1, {step} on W2"),
            format!("sgd(0) on W1, {algorithm} on W2"),
        ),
        false => (step, algorithm),
    };
    let mut clauses = vec![
        format!("structure {structure}"),
        format!("bias      {bias}"),
        format!("retention {step}"),
        format!("algorithm {algorithm}"),
    ];
    clauses.extend(clocks(die, clocked.then_some(period)));
    Clauses {
        clauses,
        shapes: vec![("alpha", alpha), ("rate", rate), ("delta", delta)],
        window: if windowed { window } else { 3 },
        square,
        apart: false,
        positive,
        arguments: 2,
    }
}

/// Where the gradient is taken, and all that happens every so many tokens: of any two clocks, one
/// divides the other.
fn clocks(die: &Die, period: Option<usize>) -> Vec<String> {
    let mut out = Vec::new();
    out.extend(period.map(|n| format!("update    every {n} tokens")));
    let read = die.once("read at", 10).then(|| [2, 4, 8][die.below("at", 3)]);
    out.extend(read.map(|n| format!("read      at every {n} tokens")));
    let reset = die.once("reset", 8);
    let alone = period.is_none() && read.is_none() && !reset;
    let anchor = match die.below("anchor", 6) {
        0 | 1 => None,
        2 if period.is_none() => Some("at kept".to_owned()),
        3 => Some("at every 4 tokens".to_owned()),
        4 => Some("at every 8 tokens".to_owned()),
        5 if alone => Some(format!("at every {} tokens", 3 + die.below("odd", 4))),
        _ => None,
    };
    let anchored = anchor.as_ref().is_some_and(|a| a.contains("every"));
    out.extend(anchor.map(|a| format!("gradient  {a}")));
    if reset {
        let tokens = match period.is_none() && read.is_none() && !anchored {
            true => 4 + die.below("again", 13),
            false => [8, 16][die.below("again", 2)],
        };
        out.push(format!("reset     every {tokens} tokens"));
    }
    out
}

const DEEP: &[&str] = &[
    "mlp(d_k, d_v, hidden = 3)",
    "mlp_norm(d_k, d_v, hidden = 3, act = gelu_tanh)",
    "glu(d_k, d_v, hidden = 3)",
    "deep(d_k, d_v, hidden = 3, act = tanh)",
    "drawn_biased(d_k, d_v, act = silu)",
    "drawn_scaled(d_k, d_v)",
    "drawn_tied(d_k, d_v)",
    "drawn_three(d_k, d_v)",
];

/// Structures that need keys and values of one size.
const SQUARE: &[&str] = &["mlp", "drawn_tied"];

/// Structures with weights that are vectors.
const VECTORS: &[&str] = &["drawn_biased", "drawn_scaled"];

fn bias(die: &Die, delta: &str, window: Option<usize>) -> String {
    let bias = match die.below("bias", 12) {
        0 => "dot",
        1..=4 => "l2",
        5 => "lp(p = 3)",
        6 => "lp(p = 4)",
        7 => "huber(delta)",
        8 if delta.is_empty() => "yaad(delta)",
        9 if delta.is_empty() => "yaad_smooth(delta)",
        10 => "drawn_cosh",
        _ => "drawn_cross",
    };
    let weighted = die.once("weighted", 2);
    match (window, weighted) {
        (Some(c), true) => format!("{bias} over last {c} tokens weighted gamma"),
        (Some(c), false) => format!("{bias} over last {c} tokens"),
        (None, true) => format!("{bias} weighted eta"),
        (None, false) => bias.to_owned(),
    }
}

/// The retention, and whether it asks for weights between 0 and 1. One that begins with `reduced`
/// holds the step's size itself.
fn retention(
    die: &Die,
    linear: bool,
    alpha: &str,
    gate: &dyn Fn(&str) -> String,
) -> (String, bool) {
    let a = gate("alpha");
    // The size of a step, never 0: it divides.
    let eta = format!("0.5 + {}", gate("beta"));
    let plain = alpha.is_empty();
    let one = |text: String| (text, false);
    match die.below("retention", 18) {
        0 | 1 => one("none".to_owned()),
        2 if plain => one(format!("lq({a})")),
        3 if plain => one(format!("lq_dual(0.05 + {a})")),
        4 => one(format!("reduced elastic({eta}, 0.01, 0.1)")),
        5 => one(format!("reduced drawn_ridge({eta}, {})", gate("beta"))),
        6 => one(format!("reduced drawn_lasso({eta}, 0.02)")),
        7 => one("unit_columns".to_owned()),
        8 => one(format!("kl({a})")),
        9 if linear => one("elastic_ftrl(0.05)".to_owned()),
        10 if linear => ("bregman_sigmoid".to_owned(), true),
        11 if linear && plain => (format!("simplex(0.05 + 0.9 * {a})"), true),
        12 if linear && plain => {
            (format!("reduced kl_entropy({eta}, 0.5 + {})", gate("rho")), true)
        }
        13 if plain => one(format!("decay(1 - {a})")),
        _ => one(format!("decay({a})")),
    }
}

fn algorithm(
    die: &Die,
    (linear, structure): (bool, &str),
    rate: &str,
    every_token: bool,
    gate: &dyn Fn(&str) -> String,
) -> String {
    let (r, b, o) = (gate("rate"), gate("beta"), gate("rho"));
    let plain = rate.is_empty();
    match die.below("algorithm", 18) {
        0 | 1 => format!("momentum({b}, {r})"),
        2 => format!("heavy_ball({b}, {r})"),
        3 => format!("nesterov({b}, {r})"),
        4 if linear && plain && every_token => format!("dgd({r})"),
        5 if linear && plain && every_token => format!("implicit({r})"),
        6 if linear && plain && every_token => format!("dgd_exact({r})"),
        // It takes matrices.
        7 if plain && !VECTORS.iter().any(|s| structure.starts_with(s)) => {
            format!("delta_momentum({b}, {r})")
        }
        8 if plain && linear => format!("muon({b}, 0.3 * {r})"),
        9 => format!("adagrad(eps = 0.1; {r})"),
        10 => format!("rmsprop(eps = 0.1; 0.3 * {r})"),
        11 => format!("adamw(eps = 0.1; 0.3 * {r})"),
        12 => format!("drawn_two({b}, {o}, {r})"),
        13 => format!("drawn_sign(0.3 * {r})"),
        14 => "sgd(0.1)".to_owned(),
        _ => format!("sgd({r})"),
    }
}
