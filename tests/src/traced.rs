//! What kernels of a peer execute, counted in the emulator: launches that `bench/peers/trace.py` has written down.

use indexmap::IndexMap;
use nestor_emulator::{Allocation, Launch, Memory, Module, Stats, launch};
use serde_json::Value;
use std::path::Path;

/// A launch, by the configuration that executes fewest instructions of warps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Traced {
    /// The kernel.
    pub name: String,
    /// Its blocks.
    pub blocks: u64,
    /// Threads of a block.
    pub threads: u64,
    /// What all of them take.
    pub stats: Stats,
    /// Of how many configurations, and of how many that say what was not understood.
    pub tried: usize,
    /// What stands in the way of the others.
    pub errors: Vec<String>,
}

/// All launches of a call.
///
/// # Errors
/// What stands in the way of reading them, or of every configuration of one.
pub fn traced(file: &Path) -> Result<Vec<Traced>, String> {
    let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
    let all: Vec<Vec<Value>> = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    let folder = file.parent().unwrap_or(Path::new("."));
    all.iter().map(|tried| least(folder, tried)).collect()
}

/// The configuration of a launch that takes least.
fn least(folder: &Path, tried: &[Value]) -> Result<Traced, String> {
    let (mut best, mut errors): (Option<(Stats, &Value)>, _) = (None, Vec::new());
    for one in tried {
        match run(folder, one) {
            Ok(stats) => {
                let less = |(b, _): &(Stats, _)| stats.instructions < b.instructions;
                if best.as_ref().is_none_or(less) {
                    best = Some((stats, one));
                }
            }
            Err(why) => errors.push(why),
        }
    }
    let (stats, one) = best.ok_or_else(|| errors.join("\n"))?;
    let number = |name: &str| one[name].as_u64().unwrap_or(0);
    Ok(Traced {
        name: one["name"].as_str().unwrap_or("").to_owned(),
        blocks: number("blocks"),
        threads: number("threads"),
        stats,
        tried: tried.len(),
        errors,
    })
}

/// Runs one launch on memory of zeros.
fn run(folder: &Path, one: &Value) -> Result<Stats, String> {
    let number = |value: &Value, name: &str| {
        value[name].as_u64().ok_or_else(|| format!("`{name}` is no number in {value}"))
    };
    let file = one["ptx"].as_str().ok_or("a launch without a kernel")?;
    let named = |e: &dyn std::fmt::Display| format!("{file}: {e}");
    let text = std::fs::read_to_string(folder.join(file)).map_err(|e| named(&e))?;
    let module = Module::parse(&text).map_err(|e| named(&e))?;
    let kernel = module.names().next().ok_or("no kernel")?.to_owned();
    let mut memory = Memory::default();
    let mut buffers = IndexMap::new();
    let mut params = Vec::new();
    for param in one["params"].as_array().ok_or("a launch without parameters")? {
        params.push(if param.get("buffer").is_some() {
            let bytes = number(param, "bytes")? as usize;
            let begins = *buffers.entry(number(param, "buffer")?).or_insert_with(|| {
                memory.add(Allocation::filled("buffer", vec![0; bytes]))
            });
            begins + number(param, "offset")?
        } else if let Some(x) = param["float"].as_f64() {
            u64::from((x as f32).to_bits())
        } else {
            param["int"].as_i64().ok_or("a parameter that is no number")? as u64
        });
    }
    // Places for what the compiler would keep between launches: none is asked for.
    params.extend([0, 0]);
    let how = Launch {
        grid: number(one, "blocks")? as u32,
        block: number(one, "threads")? as u32,
        shared: number(one, "shared")? as usize,
        params,
        maps: vec![],
        limit: 10_000_000_000,
        trusted: true,
    };
    launch(&module, &kernel, &how, &mut memory).map_err(|e| named(&e))
}
