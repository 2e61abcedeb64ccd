//! The assembler of NVIDIA's toolkit, where one is found: PTX to machine code, and what a kernel takes.
//!
//! Nothing needs it: drivers assemble PTX themselves.

use super::Target;
use nestor_mlir::rolled::rolled_whole;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// An assembler that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assembler {
    /// Its path.
    pub path: PathBuf,
    /// What named it.
    pub from: &'static str,
}

/// What a kernel takes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Its name in the PTX.
    pub symbol: String,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes that a thread spills: stored and loaded.
    pub spills: (u32, u32),
}

/// Looks in CUDA_HOME, on the search path, and in the Python package nvidia-cuda-nvcc.
pub fn find() -> Option<Assembler> {
    let home = std::env::var_os("CUDA_HOME").map(|h| Path::new(&h).join("bin/ptxas"));
    if let Some(path) = home.filter(|p| p.is_file()) {
        return Some(Assembler { path, from: "CUDA_HOME" });
    }
    let searched = std::env::var_os("PATH")?;
    let mut on_path = std::env::split_paths(&searched).map(|f| f.join("ptxas"));
    if let Some(path) = on_path.find(|p| p.is_file()) {
        return Some(Assembler { path, from: "PATH" });
    }
    let path = packages()?.iter().flat_map(|f| below(&f.join("nvidia"))).next()?;
    Some(Assembler { path, from: "the Python package nvidia-cuda-nvcc" })
}

/// Folders in which Python looks for packages.
fn packages() -> Option<Vec<PathBuf>> {
    let program = "import sys; print('\\n'.join(p for p in sys.path if p))";
    let output = Command::new("python3").args(["-c", program]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.lines().map(PathBuf::from).collect())
}

/// Assemblers in `nvidia/*/bin`, in order.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        entries.map(|e| e.path().join("bin/ptxas")).filter(|p| p.is_file()).collect();
    found.sort();
    found
}

/// Assembles a file of PTX to a file of machine code; gives what each kernel takes.
///
/// # Errors
/// What the assembler said.
pub fn assemble(
    assembler: &Assembler,
    target: Target,
    ptx: &Path,
    cubin: &Path,
) -> Result<Vec<Usage>, String> {
    let used = assemble_within(assembler, target, ptx, cubin, Duration::MAX)?;
    used.ok_or_else(|| "the assembler was stopped".to_owned())
}

/// How often an assembler with a limit is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// As [`assemble`]; nothing where it takes longer than a limit, and is stopped: processor time, where the system tells it, so that what else runs
/// does not count.
///
/// # Errors
/// What the assembler said.
pub fn assemble_within(
    assembler: &Assembler,
    target: Target,
    ptx: &Path,
    cubin: &Path,
    limit: Duration,
) -> Result<Option<Vec<Usage>>, String> {
    let named = |e: std::io::Error| format!("{}: {e}", assembler.path.display());
    let began = Instant::now();
    let mut child = Command::new(&assembler.path)
        .arg(format!("-arch={}", target.name()))
        .args(["-O3", "-v"])
        .arg(ptx)
        .arg("-o")
        .arg(cubin)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(named)?;
    let mut says = child.stderr.take().expect("its errors are heard");
    let hears = std::thread::spawn(move || {
        let mut said = Vec::new();
        let read = says.read_to_end(&mut said);
        read.map(|_| String::from_utf8_lossy(&said).into_owned())
    });
    let status = loop {
        if let Some(status) = child.try_wait().map_err(named)? {
            break status;
        }
        if spent(child.id()).unwrap_or_else(|| began.elapsed()) > limit {
            child.kill().map_err(named)?;
            child.wait().map_err(named)?;
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    };
    let said = hears.join().expect("reading does not fail so").map_err(named)?;
    if !status.success() {
        return Err(format!("{}: {}", assembler.path.display(), said.trim()));
    }
    Ok(Some(usages(&said)))
}

/// Processor time of another process so far, in hundredths of a second.
fn spent(process: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the name, which may hold anything: the state is the first, time as user and as system the 12th and 13th.
    let fields = text.rsplit(')').next()?.split_whitespace();
    let ticks: Option<u64> = fields.skip(11).take(2).map(|t| t.parse::<u64>().ok()).sum();
    ticks.map(|n| Duration::from_millis(10 * n))
}

/// The text of kernels, the loops of those that spill left as they are where that spills less; nothing where none of them spills.
///
/// The code is good without an assembler at hand as far as its registers can be foreseen; with one they are looked at.
///
/// # Errors
/// What the assembler said.
pub fn without_spills(
    assembler: &Assembler,
    target: Target,
    text: &str,
    [ptx, cubin]: [&Path; 2],
    used: &[Usage],
) -> Result<Option<String>, String> {
    let spilt = |used: &[Usage], name: &str| {
        let found = used.iter().find(|u| u.symbol == name);
        found.map_or(0, |u| u.spills.0 + u.spills.1)
    };
    if used.iter().all(|u| spilt(used, &u.symbol) == 0) {
        return Ok(None);
    }
    let written = |text: &str| {
        std::fs::write(ptx, text).map_err(|e| format!("{}: {e}", ptx.display()))
    };
    written(&rolled_whole(text, |name| spilt(used, name) > 0))?;
    let again = assemble(assembler, target, ptx, cubin)?;
    Ok(Some(rolled_whole(text, |name| spilt(&again, name) < spilt(used, name))))
}

/// Assembles PTX to machine code.
///
/// # Errors
/// What the assembler said.
pub fn image(
    assembler: &Assembler,
    target: Target,
    ptx: &str,
) -> Result<Vec<u8>, String> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let file = |end: &str| {
        std::env::temp_dir().join(format!("nestor-{}-{}.{end}", name.0, name.1))
    };
    let (text, cubin) = (file("ptx"), file("cubin"));
    let made = std::fs::write(&text, ptx)
        .map_err(|e| format!("{}: {e}", text.display()))
        .and_then(|()| assemble(assembler, target, &text, &cubin))
        .and_then(|_| {
            std::fs::read(&cubin).map_err(|e| format!("{}: {e}", cubin.display()))
        });
    for path in [&text, &cubin] {
        // One that was not made is not there.
        let _ = std::fs::remove_file(path);
    }
    made
}

/// Reads what the assembler says of each kernel; what its functions spill, it spills.
fn usages(text: &str) -> Vec<Usage> {
    let mut out: Vec<Usage> = Vec::new();
    let before = |line: &str, what: &str| -> Option<u32> {
        line.split(what).next()?.split_whitespace().next_back()?.parse().ok()
    };
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            let symbol = rest.split('\'').next().unwrap_or(rest).to_owned();
            out.push(Usage { symbol, ..Usage::default() });
        }
        let Some(last) = out.last_mut() else { continue };
        if line.contains("spill stores") {
            let stores = before(line, " bytes spill stores").unwrap_or(0);
            let loads = before(line, " bytes spill loads").unwrap_or(0);
            last.spills = (last.spills.0 + stores, last.spills.1 + loads);
        }
        if line.contains(" registers") {
            last.registers = before(line, " registers").unwrap_or(0);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::usages;

    #[test]
    fn what_the_assembler_says_is_read() {
        let text = "ptxas info    : 0 bytes gmem\n\
                    ptxas info    : Compiling entry function 'k0_sub' for 'sm_80'\n\
                    ptxas info    : Function properties for k0_sub\n    \
                    16 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads\n\
                    ptxas info    : Used 56 registers, used 1 barriers, 456 bytes cmem[0]\n\
                    ptxas info    : Function properties for k0_sub$0\n    \
                    0 bytes stack frame, 4 bytes spill stores, 0 bytes spill loads\n";
        let found = usages(text);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].symbol, "k0_sub");
        assert_eq!((found[0].registers, found[0].spills), (56, (16, 8)));
    }
}
