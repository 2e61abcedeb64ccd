//! A plan as text. Equal plans print alike.

use crate::entity::Entity;
use crate::plan::{Dense, DenseOperand, Launch, Plan, Role, Tensor};
use crate::tile::Kernel;
use crate::tile::text::{behind, number};
use std::fmt::{self, Write};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print(self, &[]))
    }
}

/// The text of a plan; launches say the names of those of its `kernels` that are given.
pub fn print(plan: &Plan, kernels: &[Kernel]) -> String {
    let mut out = String::from("plan {\n");
    for (id, data) in plan.tensors.iter() {
        let (first, last) = data.life;
        let role = role(&data.role);
        let narrow = if data.narrow { " bfloat16" } else { "" };
        let name = &data.name;
        put(
            &mut out,
            format_args!(
                "  {id} {name:?}: {} {role}{narrow} lives {first}..{last}",
                data.ty
            ),
        );
        if let Some(slot) = data.slot {
            put(&mut out, format_args!(" slot {slot}"));
        }
        out.push('\n');
    }
    let name = |t: Tensor| match plan.tensors.get(t) {
        Some(data) => data.name.escape_debug().to_string(),
        None => "?".to_owned(),
    };
    for (n, launch) in plan.launches.iter().enumerate() {
        let (text, told) = match launch {
            Launch::Kernel { kernel, buffers } => {
                let ids: Vec<String> = buffers.iter().map(ToString::to_string).collect();
                let names: Vec<String> = buffers.iter().map(|t| name(*t)).collect();
                let known = kernels.get(kernel.index()).map(|k| k.name.escape_debug());
                let known = known.map_or(String::new(), |name| format!("{name} "));
                (
                    format!("launch {kernel} ({})", ids.join(", ")),
                    format!("{known}({})", names.join(", ")),
                )
            }
            Launch::Dense(d) => {
                let [o, l, r] = [&d.out, &d.left, &d.right].map(|x| name(x.tensor));
                (dense(d), format!("{o} {} {l} @ {r}", sign(d)))
            }
            Launch::Zero(t) => (format!("zero {t}"), name(*t)),
            Launch::Copy { from, to } => (
                format!("copy {to} from {from}"),
                format!("{} from {}", name(*to), name(*from)),
            ),
        };
        put(&mut out, format_args!("  {n}: {text}  // {told}\n"));
    }
    out.push_str("}\n");
    out
}

fn role(role: &Role) -> String {
    match role {
        Role::Input(name) => format!("input {name:?}"),
        Role::Output(names) => {
            let names: Vec<String> = names.iter().map(|n| format!("{n:?}")).collect();
            format!("output {}", names.join(", "))
        }
        Role::InPlace { input, output } => format!("in place {input:?} -> {output:?}"),
        Role::Temporary => "temporary".to_owned(),
    }
}

fn sign(d: &Dense) -> &'static str {
    if d.accumulate { "+=" } else { "=" }
}

fn dense(d: &Dense) -> String {
    let Dense { batch, m, n, k, alpha, left, right, out, shape, accumulate: _ } = d;
    let factor = if alpha.to_bits() == 1f64.to_bits() {
        String::new()
    } else {
        format!("{} * ", number(*alpha))
    };
    let [out, left, right] = [out, left, right].map(operand);
    let (sign, shape) = (sign(d), behind(*shape));
    format!(
        "dense {batch} x [{m}, {n}, {k}] {out} {sign} {factor}{left} @ {right}{shape}"
    )
}

fn operand(x: &DenseOperand) -> String {
    format!("{}[{}; {}, {}, {}]", x.tensor, x.origin, x.batch, x.row, x.column)
}

fn put(out: &mut String, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a string does not fail");
}
