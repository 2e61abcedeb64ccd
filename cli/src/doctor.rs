//! `doctor`: what this machine offers, what of it is used, and what a missing thing would add.

use crate::fail::Outcome;
use crate::tuned;
use nestor_compiler::Precision;
use nestor_compiler::gpu::Target;
use nestor_compiler::machine::{TARGETS, vectors};
use nestor_compiler::native::Machine;
use nestor_runtime::device;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A tool that may be there: nothing needs one to run programs on the CPU.
struct Tool {
    /// What people call it.
    name: &'static str,
    /// The name of its command, or how that begins: `llvm-config-22`.
    command: &'static str,
    /// What it would be for.
    adds: &'static str,
}

const TOOLS: &[Tool] = &[
    Tool {
        name: "LLVM",
        command: "llvm-config",
        adds: "building the backend for GPUs (feature `cuda`, version 22)",
    },
    Tool {
        name: "ptxas",
        command: "ptxas",
        adds: "machine code for GPUs ahead of time, and its registers and spills; drivers take PTX as it is",
    },
];

/// A tool that was found.
struct Found {
    path: PathBuf,
    version: Option<String>,
}

/// Says what there is.
pub(crate) fn doctor(as_json: bool) -> Outcome {
    let threads = threads();
    let vectors = vectors();
    let processor = fact("/proc/cpuinfo", "model name");
    let cores = cores();
    let memory = memory();
    let gpu = gpu();
    let tools: Vec<(&Tool, Option<Found>)> =
        TOOLS.iter().map(|tool| (tool, found(tool))).collect();
    let tuned = tuned();
    if as_json {
        let tools: serde_json::Map<String, serde_json::Value> = tools
            .iter()
            .map(|(tool, found)| {
                let found = found.as_ref().map(|f| {
                    json!({ "path": f.path.display().to_string(), "version": f.version })
                });
                (tool.name.to_lowercase(), json!(found))
            })
            .collect();
        anstream::println!(
            "{}",
            json!({ "processor": processor, "cores": cores, "threads": threads,
                    "memory_bytes": memory, "simd": vectors.level,
                    "vector_functions": vectors.functions, "targets": TARGETS,
                    "gpu": gpu.as_ref().ok(), "no_gpu": gpu.as_ref().err(),
                    "tools": tools, "tuned": tuned.0 })
        );
        return Ok(());
    }
    let row = |name: &str, what: String| anstream::println!("{name:<11}{what}");
    if let Some(processor) = processor {
        row("processor", processor);
    }
    if let Some(cores) = cores {
        row("cores", cores.to_string());
    }
    row("threads", threads.to_string());
    if let Some(memory) = memory {
        row("memory", format!("{:.1} GiB", memory as f64 / (1u64 << 30) as f64));
    }
    let functions = match vectors.functions {
        true => "element-wise work in float32 becomes vector functions of 16 numbers",
        false => {
            "element-wise work in vectors of 128 bits; x86-64 with AVX-512 F, DQ, BW and VL would \
             have 16 numbers at once"
        }
    };
    row("simd", format!("{}: {functions}", vectors.level));
    row("targets", TARGETS.join(", "));
    row("gpu", gpu.unwrap_or_else(|why| why));
    for (tool, found) in &tools {
        let what = match found {
            Some(Found { path, version }) => {
                let version = version.as_deref().unwrap_or("of unknown version");
                format!("{version} ({})", path.display())
            }
            None => {
                format!("not found, and not needed; it would be for {}", tool.adds)
            }
        };
        row(tool.name, what);
    }
    row("tuned", tuned.1);
    anstream::println!(
        "\nprograms are compiled and run by this command alone: nothing else is needed"
    );
    Ok(())
}

/// The file of `tune`: for programs, and in words.
fn tuned() -> (serde_json::Value, String) {
    let Some(path) = tuned::default_path() else {
        return (json!(null), "neither NESTOR_CACHE nor HOME is set".to_owned());
    };
    let (walks, what) = match tuned::load(&path) {
        Ok(Some(kept)) => {
            let done = kept.entries.iter().filter(|e| e.best.is_some());
            let own = tuned::machine_name(Machine::Cpu(Precision::F32));
            let here = done.clone().filter(|e| e.machine == own).count();
            let all = done.count();
            (Some(all), format!("{all} walks, {here} of them on this CPU"))
        }
        Ok(None) => (None, "nothing yet, and nothing is needed: costs choose".to_owned()),
        Err(why) => (None, why),
    };
    (json!({ "path": path, "walks": walks }), format!("{what} ({})", path.display()))
}

/// The first GPU with what it offers, or why there is none.
fn gpu() -> Result<String, String> {
    let device = device::open("cuda:0").map_err(|e| e.to_string().replace('\n', "; "))?;
    let held = device.hold();
    let (major, minor) = held.device.capability();
    let (free, total) = held.device.memory().map_err(|e| e.to_string())?;
    let gib = |bytes: usize| bytes as f64 / (1u64 << 30) as f64;
    Ok(format!(
        "{}, generation {major}.{minor}, {:.1} of {:.1} GiB free; code for {}",
        held.device.name(),
        gib(free),
        gib(total),
        Target::of((major, minor)).name()
    ))
}

/// The threads that programs run on.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The first value of a name in a file of `name: value` lines, where the system has one.
pub(crate) fn fact(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|l| l.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Cores of all processors, each of which may run several threads.
fn cores() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let value = |block: &str, name: &str| {
        let line = block.lines().find(|l| l.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let mut known: Vec<(String, String)> = text
        .split("\n\n")
        .filter_map(|block| {
            Some((value(block, "physical id")?, value(block, "core id")?))
        })
        .collect();
    known.sort();
    known.dedup();
    (!known.is_empty()).then_some(known.len())
}

/// Bytes of memory.
fn memory() -> Option<u64> {
    let kib = fact("/proc/meminfo", "MemTotal")?;
    Some(kib.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// A tool on the search path: under its own name, else the last of its versions by name.
fn found(tool: &Tool) -> Option<Found> {
    if tool.command == "ptxas" {
        let path = nestor_compiler::gpu::ptxas::find()?.path;
        return Some(Found { version: version(&path), path });
    }
    let path = std::env::var_os("PATH")?;
    let mut named: Vec<PathBuf> = Vec::new();
    for folder in std::env::split_paths(&path) {
        let plain = folder.join(tool.command);
        if plain.is_file() {
            return Some(Found { version: version(&plain), path: plain });
        }
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let rest = name
                .to_str()
                .and_then(|n| n.strip_prefix(tool.command)?.strip_prefix('-'));
            if rest.is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit())) {
                named.push(entry.path());
            }
        }
    }
    named.sort();
    named.pop().map(|path| Found { version: version(&path), path })
}

/// What a tool says of its version: the last line in which a number is.
fn version(tool: &Path) -> Option<String> {
    let output = Command::new(tool).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers = |l: &&str| l.chars().any(|c| c.is_ascii_digit());
    text.lines().rfind(numbers).map(|l| l.trim().to_owned())
}
