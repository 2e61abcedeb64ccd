//! Memories drawn at random over all axes, with inputs that are hard on their forms: keys that
//! resemble one another or repeat, gates of 0 and of exp(-20), lengths that divide nothing.

use indexmap::IndexMap;
use nestor_compiler::Program;
use nestor_compiler::interpret::Array;
use nestor_ir::dim::Dim;
use nestor_runtime::train::rng::Stream;

/// A die that is thrown by name, so that one more choice changes no other.
struct Die {
    seed: u64,
}

impl Die {
    fn below(&self, name: &str, n: usize) -> usize {
        let mut stream = Stream::new(self.seed, name);
        ((stream.uniform() * n as f64) as usize).min(n - 1)
    }

    fn of<'t>(&self, name: &str, choices: &[&'t str]) -> &'t str {
        choices[self.below(name, choices.len())]
    }
}

/// A memory and a layer `Case` that uses it.
pub fn text(seed: u64) -> String {
    let die = Die { seed };
    let linear = die.below("structure", 3) < 2;
    let structure = if linear {
        "matrix(d_k, d_v)"
    } else {
        die.of(
            "deep",
            &[
                "mlp(d_k, d_v, hidden = 3)",
                "mlp_norm(d_k, d_v, hidden = 3, act = gelu_tanh)",
                "glu(d_k, d_v, hidden = 3)",
                "deep(d_k, d_v, hidden = 3, act = tanh)",
            ],
        )
    };
    let bias = die.of(
        "bias",
        &[
            "dot",
            "l2",
            "l2",
            "l2",
            "lp(p = 3)",
            "huber(delta)",
            "yaad(delta)",
            "yaad_smooth(delta)",
        ],
    );
    let clocked = die.below("clocked", 6) == 0;
    let windowed = !clocked && die.below("window", 5) == 0;
    let weighted = die.below("weighted", 2) == 0;
    let bias = match (windowed, weighted) {
        (true, true) => format!("{bias} over last 3 tokens weighted gamma"),
        (true, false) => format!("{bias} over last 3 tokens"),
        (false, true) => format!("{bias} weighted eta"),
        (false, false) => bias.to_owned(),
    };
    // Gates of channels act along a dimension that every weight has; a window is reduced.
    let channel = linear && !clocked;
    let shape = |name: &str, last: &[&'static str]| {
        if channel { die.of(name, last) } else { "" }
    };
    let (alpha_shape, eta_shape) = (
        shape("alpha", &["", "", ": [d_k]", ": [d_v]"]),
        shape("eta", &["", "", "", ": [d_v]", ": [d_k]"]),
    );
    let gate = |name: &str| {
        if clocked { format!("mean({name})") } else { name.to_owned() }
    };
    let (alpha, rate, beta) = (gate("alpha"), gate("rate"), gate("beta"));
    let retention = match die.below("retention", 9) {
        0 | 1 => "none".to_owned(),
        2 if alpha_shape.is_empty() => format!("lq({alpha})"),
        3 if alpha_shape.is_empty() => format!("elastic({alpha}, 0.01, 0.1)"),
        4 => "unit_columns".to_owned(),
        5 => format!("kl({alpha})"),
        _ => format!("decay({alpha})"),
    };
    let plain = eta_shape.is_empty();
    let algorithm = match die.below("algorithm", 9) {
        0 | 1 => format!("momentum({beta}, {rate})"),
        2 => format!("heavy_ball({beta}, {rate})"),
        3 => format!("nesterov({beta}, {rate})"),
        4 if linear && plain && !windowed && !clocked => format!("dgd({rate})"),
        5 if linear && plain && !windowed && !clocked => format!("implicit({rate})"),
        6 if plain => format!("delta_momentum({beta}, {rate})"),
        7 if plain => format!("muon({beta}, {rate})"),
        _ => format!("sgd({rate})"),
    };
    let anchor = match die.below("anchor", 5) {
        0 | 1 => "",
        2 if !clocked => "\n    gradient at kept",
        3 => "\n    gradient at every 4 tokens",
        4 => "\n    gradient at every 8 tokens",
        _ => "",
    };
    let clock = if clocked { "\n    update every 4 tokens" } else { "" };
    let order = if die.below("order", 4) == 0 {
        "y = M.read(q)\n    M.write(k, v)"
    } else {
        "M.write(k, v)\n    y = M.read(q)"
    };
    let heads = 1 + die.below("heads", 2);
    let d_k = 2 + die.below("d_k", 4);
    let d_v = if structure.starts_with("mlp") { d_k } else { 2 + die.below("d_v", 4) };
    let own = |shape: &str| match shape {
        ": [d_k]" => ", d_k",
        ": [d_v]" => ", d_v",
        _ => "",
    };
    format!(
        "memory Drawn(d_k, d_v; alpha{alpha_shape}, rate{eta_shape}, beta, delta, eta, gamma: [3]) {{
    structure {structure}
    bias      {bias}
    retention {retention}
    algorithm {algorithm}{anchor}{clock}
}}
layer Case(heads = {heads}, d_k = {d_k}, d_v = {d_v}) {{
    in q, k: [heads, d_k]
    in v: [heads, d_v]
    in alpha: [heads{}]
    in rate: [heads{}]
    in beta, delta, eta: [heads]
    in gamma: [heads, 3]
    M = Drawn(d_k, d_v; alpha, rate, beta, delta, eta, gamma)
    {order}
    out y
}}
",
        own(alpha_shape),
        own(eta_shape)
    )
}

/// Numbers for everything the program takes, cotangents of its output among them.
pub fn given(seed: u64, program: &Program) -> IndexMap<String, Array> {
    let die = Die { seed };
    let time = 3 + die.below("time", 40);
    let keys = die.below("keys", 3);
    let mut out = IndexMap::new();
    let own =
        |dims: &[Dim]| -> Vec<usize> { dims.iter().filter_map(|d| d.fixed()).collect() };
    for input in &program.inputs {
        let dims = [vec![2, time], own(&input.ty.dims)].concat();
        let size: usize = dims[2..].iter().product();
        let mut stream = Stream::new(seed, &format!("values of {}", input.name));
        let common: Vec<f64> = (0..2 * size).map(|_| stream.normal()).collect();
        let mut values: Vec<f64> = Vec::new();
        for row in 0..2 {
            for t in 0..time {
                for i in 0..size {
                    let z = stream.normal();
                    let last = values.len().checked_sub(size).map(|at| values[at]);
                    values.push(match input.name.as_str() {
                        // Near a common key, or the last one again for some tokens.
                        "k" => match (keys, last) {
                            (0, _) => 0.6 * z,
                            (1, Some(last)) if t % 5 != 0 => last,
                            _ => 0.5 * common[row * size + i] + 0.2 * z,
                        },
                        "alpha" => match (z.abs() * 1000.0) as usize % 9 {
                            0 => 0.0,
                            1 => (-20f64).exp(),
                            _ => 1.0 / (1.0 + (-z - 2.0).exp()),
                        },
                        "beta" | "eta" => 0.8 / (1.0 + (-z).exp()),
                        "rate" | "gamma" => 0.3 / (1.0 + (-z).exp()),
                        "delta" => 0.5 + z.abs(),
                        _ => z,
                    });
                }
            }
        }
        out.insert(input.name.clone(), Array::real(dims, values));
    }
    for weight in program.weights.values() {
        let dims = own(&weight.dims);
        let mut stream = Stream::new(seed, &format!("start of {}", weight.short));
        let values = (0..dims.iter().product()).map(|_| 0.4 * stream.normal()).collect();
        out.insert(weight.short.clone(), Array::real(dims, values));
    }
    for output in &program.code.outputs {
        let dims = [vec![2, time], own(&program.code.ty(output.value).dims)].concat();
        let mut stream = Stream::new(seed, "cotangents");
        let values = (0..dims.iter().product()).map(|_| stream.normal()).collect();
        out.insert(format!("grad.{}", output.name), Array::real(dims, values));
    }
    out
}
