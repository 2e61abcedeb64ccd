//! What `bench/device.py` runs on a machine with a GPU; a JSON object on the standard output.
//!
//! `device_suite --device cuda:0 --products bf16 --seconds 300 [--rules gated_deltanet,gla] [--shapes 1x8192x96x128,...]
//! [--ways fwd,both] [--chunk 64] [--tensors float32] [--target sm_80]`; what has a number for each token is bfloat16 outside of kernels but for
//! gates, as the field's is, where products are and nothing else is said; the device `emulator` executes the kernels' PTX without a GPU, for small shapes, and
//! `predicted` only says what an H100 is predicted to take, `counted` what blocks execute in the emulator.

#![allow(clippy::print_stdout, reason = "it is a command")]

use nestor_compiler::gpu::{Options, Products, Target};
use nestor_runtime::device::{Shared, open};
use nestor_tests::device_suite::{
    Counted, Limits, Made, Shape, Wanted, cases, counted, emulator_and_device, limits,
    made, spread, tensor_cores, timed,
};
use nestor_tests::emulated_device::EmulatedDevice;
use nestor_tests::gpu_costs;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Rules that are timed where none are named.
const RULES: &str =
    "gated_deltanet,gla,linear_attention,simple_gla,deltanet,kda,titans_mlp";
/// The shapes that the field times: batch, tokens, heads, width.
const SHAPES: &str =
    "1x8192x96x128,2x16384x16x128,4x2048x16x128,4x4096x64x128,8x2048x32x256,8x1024x8x64";
/// Cases on which the emulator is compared with the device: one of each form.
const COMPARED: &[&str] = &["gated_deltanet", "titans_mlp", "mesa", "softmax_attention"];

struct Asked {
    device: String,
    products: Products,
    target: Option<Target>,
    seconds: u64,
    rules: Vec<String>,
    shapes: Vec<Shape>,
    /// Forward, and with all gradients.
    ways: Vec<bool>,
    chunk: Option<usize>,
    /// Tensors with a number for each token are bfloat16.
    brain: bool,
    checks: bool,
}

impl Asked {
    /// What code is made for where no device says it.
    fn without_device(&self) -> Options {
        let target = self.target.unwrap_or(Target::Sm90a);
        Options { target, products: self.products }
    }
}

fn asked() -> Result<Asked, String> {
    let mut out = Asked {
        device: "cuda:0".to_owned(),
        products: Products::Brain,
        target: None,
        seconds: 300,
        rules: RULES.split(',').map(str::to_owned).collect(),
        shapes: shapes(SHAPES)?,
        ways: vec![false, true],
        chunk: None,
        brain: true,
        checks: true,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut next = || words.next().ok_or(format!("{word} wants a value"));
        match word.as_str() {
            "--device" => out.device = next()?,
            "--products" => {
                out.products = Products::find(&next()?).ok_or("no such products")?
            }
            "--target" => {
                let found = Target::find(&next()?).ok_or("no such target")?;
                out.target = Some(found);
            }
            "--seconds" => {
                out.seconds = next()?.parse().map_err(|e| format!("--seconds: {e}"))?
            }
            "--rules" => out.rules = next()?.split(',').map(str::to_owned).collect(),
            "--shapes" => out.shapes = shapes(&next()?)?,
            "--ways" => out.ways = ways(&next()?)?,
            "--chunk" => {
                out.chunk = Some(next()?.parse().map_err(|e| format!("--chunk: {e}"))?)
            }
            "--tensors" => {
                out.brain = match next()?.as_str() {
                    "bf16" => true,
                    "float32" => false,
                    other => {
                        return Err(format!(
                            "--tensors: {other} is neither float32 nor bf16"
                        ));
                    }
                }
            }
            "--no-checks" => out.checks = false,
            other => return Err(format!("{other} is not known")),
        }
    }
    out.brain &= out.products == Products::Brain;
    Ok(out)
}

fn shapes(text: &str) -> Result<Vec<Shape>, String> {
    let one = |text: &str| {
        let sizes: Vec<usize> = text.split('x').filter_map(|n| n.parse().ok()).collect();
        let sizes = sizes.try_into().map_err(|_| format!("{text} is no BxTxHxD"))?;
        Ok(Shape { sizes })
    };
    text.split(',').map(one).collect()
}

fn ways(text: &str) -> Result<Vec<bool>, String> {
    let one = |text: &str| match text {
        "fwd" => Ok(false),
        "both" => Ok(true),
        _ => Err(format!("{text} is no way: fwd or both")),
    };
    text.split(',').map(one).collect()
}

fn main() -> Result<(), String> {
    let began = Instant::now();
    let asked = asked()?;
    match asked.device.as_str() {
        "predicted" => return predicted(&asked),
        "counted" => return executed(&asked),
        _ => {}
    }
    let emulated = asked.device == "emulator";
    let device = match emulated {
        true => Shared::new(Box::new(EmulatedDevice::new(1 << 32))),
        false => open(&asked.device).map_err(|e| e.to_string())?,
    };
    let (name, capability) = {
        let held = device.hold();
        (held.device.name(), held.device.capability())
    };
    let target = asked.target.unwrap_or_else(|| Target::of(capability));
    let exact = Options { target, products: Products::Float32 };
    let options = Options { products: asked.products, ..exact };
    let end = began + Duration::from_secs(asked.seconds);
    let mut report = json!({ "device": name, "capability": [capability.0, capability.1],
        "target": exact.target.name(), "products": asked.products.name(),
        "tensors": if asked.brain { "bf16" } else { "float32" } });
    if asked.checks {
        // A third of the time for what must be right before it may be fast.
        let until = began + Duration::from_secs(asked.seconds / 3);
        let found = cases(exact, &device, until);
        let wrong =
            found.iter().filter(|(_, f)| !matches!(f, Ok((_, share)) if *share <= 1.0));
        report["cases"] = json!({ "all": found.len(), "wrong": wrong.count() });
        let each: Vec<Value> = found
            .iter()
            .map(|(name, found)| match found {
                Ok((tensor, share)) => {
                    json!({ "case": name, "worst": tensor, "share": share })
                }
                Err(why) => json!({ "case": name, "error": why }),
            })
            .collect();
        report["each_case"] = json!(each);
        let same =
            spread(COMPARED, |case| match emulator_and_device(case, exact, &device) {
                Ok(off) => json!({ "case": case, "apart": off }),
                Err(why) => json!({ "case": case, "error": why }),
            });
        report["emulator"] = json!(same);
        let rules: Vec<&str> = asked.rules.iter().map(String::as_str).collect();
        let same = spread(&rules, |rule| match tensor_cores(rule, options, &device) {
            Ok(off) => json!({ "rule": rule, "apart": off }),
            Err(why) => json!({ "rule": rule, "error": why }),
        });
        report["tensor_cores"] = json!(same);
    }
    let (bytes, rows) = if emulated { (1 << 16, 64) } else { (1 << 30, 8192) };
    let most = limits(&device, options, bytes, rows)?;
    report["limits"] = json!({ "copy_bytes_per_second": most.copy,
        "product_operations_per_second": most.product });
    report["timings"] = json!(timings(&asked, options, &device, &most, end));
    report["seconds"] = json!(began.elapsed().as_secs_f64());
    println!("{report:#}");
    Ok(())
}

/// What is to be timed: every rule at every shape, one way and both.
fn wanted(asked: &Asked) -> Vec<Wanted> {
    let rules = asked.rules.iter();
    let shapes =
        rules.flat_map(|rule| asked.shapes.iter().map(move |shape| (rule, *shape)));
    let ways = shapes.flat_map(|(rule, shape)| {
        asked.ways.iter().map(move |both| (rule.clone(), shape, *both))
    });
    let (chunk, brain) = (asked.chunk, asked.brain);
    let one = |(rule, shape, both)| Wanted { rule, shape, both, chunk, brain };
    ways.map(one).collect()
}

/// Prints what is predicted, in milliseconds, whole and by launch.
fn predicted(asked: &Asked) -> Result<(), String> {
    let options = asked.without_device();
    let all = wanted(asked);
    for (wanted, found) in
        all.iter().zip(spread(&all, |w| gpu_costs::predicted(w, options)))
    {
        let launches = found?;
        let whole: f64 = launches.iter().map(|(_, s)| s).sum();
        let [b, t, h, d] = wanted.shape.sizes;
        let way = if wanted.both { "both" } else { "forward" };
        print!("{} {b}x{t}x{h}x{d} {way}: {:.2} ms =", wanted.rule, whole * 1e3);
        for (name, seconds) in launches.iter().filter(|(_, s)| *s > whole / 100.0) {
            print!(" {name} {:.2}", seconds * 1e3);
        }
        println!();
    }
    Ok(())
}

/// Prints what blocks execute, kernel by kernel.
fn executed(asked: &Asked) -> Result<(), String> {
    let options = asked.without_device();
    let all = wanted(asked);
    for (wanted, found) in all.iter().zip(spread(&all, |w| counted(w, options))) {
        let way = if wanted.both { "both" } else { "forward" };
        let found = found?;
        let instructions: u64 =
            found.iter().map(|c| c.blocks as u64 * c.instructions).sum();
        let moved: u64 = found.iter().flat_map(|c| c.moved).sum();
        println!(
            "{} {:?} {way}: {instructions} instructions of warps, {moved} bytes read and written; of a block:",
            wanted.rule, wanted.shape.sizes
        );
        for Counted {
            name,
            blocks,
            threads,
            instructions,
            barriers,
            products,
            matrices,
            moved,
        } in found
        {
            let [read, written] = moved.map(|bytes| bytes / blocks.max(1) as u64);
            println!(
                "  {name:<16} {blocks:>6} x {threads:>3} threads {instructions:>10} instructions of warps \
                 {barriers:>6} barriers {products:>7} products of {matrices:>8} bytes, \
                 {read:>7} read {written:>7} written"
            );
        }
    }
    Ok(())
}

/// What every rule takes at every shape, one way and both.
fn timings(
    asked: &Asked,
    options: Options,
    device: &Shared,
    most: &Limits,
    end: Instant,
) -> Vec<Value> {
    let wanted = wanted(asked);
    let codes = spread(&wanted, |wanted| made(wanted, options));
    let count = wanted.len().max(1) as u64;
    let each = Duration::from_millis((asked.seconds * 300 / count).clamp(5, 500));
    let one = |(wanted, code): (&Wanted, Result<Made, String>)| {
        let about = json!({ "rule": wanted.rule, "shape": wanted.shape.sizes, "both": wanted.both });
        if Instant::now() > end {
            return with(about, json!({ "error": "no time is left" }));
        }
        let found = code.and_then(|code| {
            let compile = code.seconds;
            Ok((timed(wanted, code, device, each)?, compile))
        });
        with(
            about,
            match found {
                Ok((t, compile)) => {
                    json!({ "milliseconds": t.seconds * 1e3, "compile_seconds": compile,
                "bytes": t.bytes, "operations": t.operations,
                "of_copy": t.bytes / most.copy / t.seconds,
                "of_product": t.operations / most.product / t.seconds,
                "launches": t.launches.iter().map(|(n, s)| json!([n, s * 1e3])).collect::<Vec<_>>() })
                }
                Err(why) => json!({ "error": why }),
            },
        )
    };
    wanted.iter().zip(codes).map(one).collect()
}

fn with(mut about: Value, more: Value) -> Value {
    if let (Some(about), Some(more)) = (about.as_object_mut(), more.as_object()) {
        about.extend(more.clone());
    }
    about
}
