//! Runs a kernel over a grid: blocks one after another, in each its threads up to the next barrier.

use crate::cluster;
use crate::memory::{Actor, Allocation, Memory};
use crate::module::{Address, Instr, Kernel, Module, Op, Reg, SHARED, Space};
use thiserror::Error;

/// Lanes of a warp.
pub(crate) const LANES: usize = 32;

/// How a kernel is launched.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Blocks.
    pub grid: u32,
    /// Threads of a block: whole warps.
    pub block: u32,
    /// Bytes of shared memory beyond what the module declares.
    pub shared: usize,
    /// The parameters' values, in order.
    pub params: Vec<u64>,
    /// Instructions that all threads together may take.
    pub limit: u64,
}

/// What a launch took.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Instructions of all threads; one of a whole warp counts for each lane.
    pub instructions: u64,
    /// Barriers of all blocks.
    pub barriers: u64,
    /// Matrix products of all warps.
    pub products: u64,
    /// Barriers of clusters, counted for each block.
    pub meetings: u64,
}

/// What went wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("block {block}, thread {thread}, line {line} `{instruction}`: {what}")]
pub struct Fault {
    /// The block.
    pub block: u32,
    /// The thread in it.
    pub thread: u32,
    /// The line of the text.
    pub line: usize,
    /// The instruction.
    pub instruction: String,
    /// What happened.
    pub what: String,
}

/// Runs a kernel.
///
/// # Errors
/// The first fault; also where the launch does not fit the kernel.
pub fn launch(
    module: &Module,
    kernel: &str,
    launch: &Launch,
    memory: &mut Memory,
) -> Result<Stats, Fault> {
    let outside = |what: String| Fault {
        block: 0,
        thread: 0,
        line: 0,
        instruction: format!("launch of {kernel}"),
        what,
    };
    let found = module.kernels.iter().find(|k| k.name == kernel);
    let kernel = found.ok_or_else(|| outside("there is no such kernel".to_owned()))?;
    let (given, taken) = (launch.params.len(), kernel.params.len());
    if given != taken {
        return Err(outside(format!("{given} parameters for {taken}")));
    }
    if launch.block == 0 || !(launch.block as usize).is_multiple_of(LANES) {
        return Err(outside(format!("{} threads are not whole warps", launch.block)));
    }
    memory.settle();
    if !launch.grid.is_multiple_of(kernel.cluster) {
        let (grid, each) = (launch.grid, kernel.cluster);
        return Err(outside(format!("{grid} blocks are not whole clusters of {each}")));
    }
    let unknown = || Allocation::unknown("shared", launch.shared);
    let mut shared: Vec<Allocation> = (0..kernel.cluster).map(|_| unknown()).collect();
    let mut stats = Stats::default();
    for first in (0..launch.grid).step_by(kernel.cluster as usize) {
        shared.iter_mut().for_each(Allocation::renew);
        cluster::run(kernel, launch, first, (&mut *memory, &mut shared), &mut stats)?;
    }
    Ok(stats)
}

/// Where a thread stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    Running,
    Warp,
    Barrier,
    Meet,
    Exit,
}

/// Why a block does not go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Halt {
    /// All threads wait for the cluster's others.
    Meet,
    End,
}

/// An asynchronous copy under way: to, from, bytes, and how many of them are read; the rest are zeros.
type Pending = (u64, u64, usize, usize);

pub(crate) struct Thread {
    pub(crate) registers: Vec<u64>,
    pub(crate) at: usize,
    /// Where the functions that it is in return to.
    pub(crate) returns: Vec<usize>,
    pub(crate) stop: Stop,
    /// Groups of asynchronous copies, the last one open.
    copies: Vec<Vec<Pending>>,
}

impl Thread {
    pub(crate) fn new(kernel: &Kernel, launch: &Launch, block: u32, n: u32) -> Self {
        let mut registers = kernel.start.clone();
        for (register, name) in &kernel.specials {
            registers[*register as usize] = u64::from(match name.as_str() {
                "%tid.x" => n,
                "%ntid.x" => launch.block,
                "%ctaid.x" => block,
                "%nctaid.x" => launch.grid,
                "%laneid" => n % LANES as u32,
                "%warpid" => n / LANES as u32,
                name if name.starts_with("%n") => 1,
                _ => 0,
            });
        }
        let (returns, copies) = (Vec::new(), vec![Vec::new()]);
        Self { registers, at: 0, returns, stop: Stop::Running, copies }
    }
    /// Leaves the barrier that it waits at.
    pub(crate) fn go_on(&mut self) {
        self.stop = Stop::Running;
        self.at += 1;
    }
    /// Where it stands, and where it came from.
    fn place(&self) -> (usize, &[usize]) {
        (self.at, &self.returns)
    }
    pub(crate) fn get(&self, r: Reg) -> u64 {
        self.registers[r as usize]
    }
    pub(crate) fn set(&mut self, r: Reg, value: u64) {
        self.registers[r as usize] = value;
    }
    pub(crate) fn address(&self, a: Address) -> u64 {
        self.get(a.base).wrapping_add(a.offset as u64)
    }
}

pub(crate) struct Block<'r> {
    pub(crate) kernel: &'r Kernel,
    pub(crate) launch: &'r Launch,
    pub(crate) memory: &'r mut Memory,
    /// That of all blocks of the cluster.
    pub(crate) shared: &'r mut [Allocation],
    /// Its number in the cluster.
    pub(crate) rank: usize,
    pub(crate) block: u32,
    pub(crate) epoch: u32,
    /// The epoch that began with the cluster's last barrier.
    pub(crate) since: u32,
    pub(crate) threads: Vec<Thread>,
    pub(crate) stats: Stats,
}

impl Block<'_> {
    pub(crate) fn run(&mut self) -> Result<Halt, Fault> {
        loop {
            for warp in 0..self.threads.len() / LANES {
                self.run_warp(warp * LANES)?;
            }
            let stands = |t: &Thread| matches!(t.stop, Stop::Barrier | Stop::Meet);
            let Some(waits) = self.threads.iter().position(stands) else {
                return Ok(Halt::End);
            };
            let at = self.threads[waits].place();
            let elsewhere = |t: &Thread| t.stop == Stop::Exit || t.place() != at;
            if let Some(other) = self.threads.iter().position(elsewhere) {
                let what = match self.threads[other].stop {
                    Stop::Exit => {
                        format!("thread {other} has ended without this barrier")
                    }
                    _ => format!("thread {other} waits at another barrier"),
                };
                return Err(self.fault(waits, what));
            }
            if self.threads[waits].stop == Stop::Meet {
                return Ok(Halt::Meet);
            }
            self.threads.iter_mut().for_each(Thread::go_on);
            self.epoch += 1;
            self.stats.barriers += 1;
        }
    }

    /// Runs the lanes of a warp to a barrier or their end.
    fn run_warp(&mut self, first: usize) -> Result<(), Fault> {
        loop {
            for lane in first..first + LANES {
                self.run_thread(lane)?;
            }
            let lanes = &self.threads[first..first + LANES];
            let Some(waits) = lanes.iter().position(|t| t.stop == Stop::Warp) else {
                return Ok(());
            };
            let place = lanes[waits].place();
            let missing = |t: &Thread| t.stop != Stop::Warp || t.place() != place;
            if let Some(other) = lanes.iter().position(missing) {
                let what = format!("lane {other} of the warp is not here");
                return Err(self.fault(first + waits, what));
            }
            let (kernel, at) = (self.kernel, lanes[waits].at);
            if let Op::Warp(op) = &kernel.code[at].op {
                self.warp(op, first)
                    .map_err(|(lane, what)| self.fault(first + lane, what))?;
            }
            self.threads[first..first + LANES].iter_mut().for_each(Thread::go_on);
            self.stats.instructions += LANES as u64;
        }
    }

    fn run_thread(&mut self, n: usize) -> Result<(), Fault> {
        let kernel = self.kernel;
        while self.threads[n].stop == Stop::Running {
            let Some(instr) = kernel.code.get(self.threads[n].at) else {
                self.threads[n].stop = Stop::Exit;
                return Ok(());
            };
            self.stats.instructions += 1;
            if self.stats.instructions > self.launch.limit {
                let limit = self.launch.limit;
                return Err(self.fault(n, format!("more than {limit} instructions")));
            }
            self.step(n, instr).map_err(|what| self.fault(n, what))?;
        }
        Ok(())
    }

    fn step(&mut self, n: usize, instr: &Instr) -> Result<(), String> {
        let t = &mut self.threads[n];
        if let Some((condition, wanted)) = instr.guard
            && (t.get(condition) != 0) != wanted
        {
            t.at += 1;
            return Ok(());
        }
        match &instr.op {
            Op::Unary(f, to, a) => t.set(*to, f(t.get(*a))),
            Op::Binary(f, to, [a, b]) => t.set(*to, f(t.get(*a), t.get(*b))),
            Op::Ternary(f, to, [a, b, c]) => {
                t.set(*to, f(t.get(*a), t.get(*b), t.get(*c)));
            }
            Op::Compare(f, to, [a, b], join, with) => {
                t.set(*to, join(f(t.get(*a), t.get(*b)), t.get(*with)));
            }
            Op::Pack(to, parts, each) => {
                let low = |r: &Reg| t.get(*r) & (u64::MAX >> (64 - each));
                let all = parts.iter().rev().fold(0, |all, r| (all << each) | low(r));
                t.set(*to, all);
            }
            Op::Unpack(parts, from, each) => {
                let mut all = t.get(*from);
                for part in parts {
                    t.set(*part, all & (u64::MAX >> (64 - each)));
                    all >>= each;
                }
            }
            Op::Load { space, bytes, signed, to, at } => {
                let address = t.address(*at);
                for (i, register) in to.iter().enumerate() {
                    aligned(address, bytes * to.len())?;
                    let at = address + (i * bytes) as u64;
                    let value = self.load(n, *space, at, *bytes)?;
                    let value = match (signed, bytes) {
                        (true, 1) => i64::from(value as u8 as i8) as u64,
                        (true, 2) => i64::from(value as u16 as i16) as u64,
                        _ => value,
                    };
                    self.threads[n].set(*register, value);
                }
            }
            Op::Store { space, bytes, from, at } => {
                let address = t.address(*at);
                aligned(address, bytes * from.len())?;
                for (i, register) in from.iter().enumerate() {
                    let value = self.threads[n].get(*register);
                    let at = address + (i * bytes) as u64;
                    self.store(n, *space, at, *bytes, value)?;
                }
            }
            Op::Branch(to) => {
                t.at = *to;
                return Ok(());
            }
            Op::Call(to, given) => {
                for [to, from] in given {
                    t.set(*to, t.get(*from));
                }
                t.returns.push(t.at + 1);
                t.at = *to;
                return Ok(());
            }
            Op::Return => {
                t.at = t.returns.pop().ok_or("it returns from no call")?;
                return Ok(());
            }
            Op::Barrier => {
                t.stop = Stop::Barrier;
                return Ok(());
            }
            Op::Arrive => {
                let next = self.kernel.code.get(t.at + 1);
                if !next.is_some_and(|i| matches!(i.op, Op::Meet) && i.guard.is_none()) {
                    return Err("its thread does not wait at once".to_owned());
                }
            }
            Op::Meet => {
                t.stop = Stop::Meet;
                return Ok(());
            }
            Op::Warp(_) => {
                t.stop = Stop::Warp;
                // It counts when the warp is together.
                self.stats.instructions -= 1;
                return Ok(());
            }
            Op::Exit => {
                t.stop = Stop::Exit;
                return Ok(());
            }
            Op::Copy { to, from, bytes, given } => {
                let read = given.map_or(*bytes, |r| t.get(r) as u32 as usize);
                let (to, from) = (t.address(*to), t.address(*from));
                aligned(to, *bytes)?;
                aligned(from, *bytes)?;
                if read > *bytes {
                    return Err(format!("{read} bytes of {bytes} are copied"));
                }
                let open = t.copies.last_mut().expect("a group is open");
                open.push((to, from, *bytes, read));
                let by = self.actor(n);
                self.shared[self.rank].begin_copy(to.wrapping_sub(SHARED), *bytes, by)?;
                // It may be read at any time from now on.
                self.bytes(n, from, read)?;
            }
            Op::CopyCommit => t.copies.push(Vec::new()),
            Op::CopyWait(left) => {
                // All but the newest groups are there; what is not committed is in none.
                let left = left.unwrap_or_else(|| {
                    t.copies.push(Vec::new());
                    0
                });
                let done = (t.copies.len() - 1).saturating_sub(left);
                let ended: Vec<Pending> = t.copies.drain(..done).flatten().collect();
                let by = self.actor(n);
                for (to, from, bytes, read) in ended {
                    let mut data = self.bytes(n, from, read)?;
                    data.resize(bytes, 0);
                    self.shared[self.rank].end_copy(to - SHARED, &data, by)?;
                }
            }
            Op::Nothing => {}
        }
        self.threads[n].at += 1;
        Ok(())
    }

    pub(crate) fn actor(&self, n: usize) -> Actor {
        let Self { block, epoch, since, kernel, .. } = self;
        let (thread, cluster) = (n as u32, kernel.cluster);
        Actor { block: *block, thread, epoch: *epoch, since: *since, cluster }
    }

    fn load(
        &mut self,
        n: usize,
        space: Space,
        at: u64,
        bytes: usize,
    ) -> Result<u64, String> {
        let by = self.actor(n);
        match space {
            Space::Global => {
                let (allocation, at) = self.memory.find(at)?;
                allocation.read(at, bytes, by)
            }
            Space::Shared => {
                self.shared[self.rank].read(at.wrapping_sub(SHARED), bytes, by)
            }
            Space::Cluster => {
                let (memory, at) = self.of_cluster(at)?;
                memory.read(at, bytes, by)
            }
            Space::Param => {
                let params = self.kernel.params.iter().zip(&self.launch.params);
                let mut found = params.filter(|((from, _), _)| *from as u64 == at);
                let what = || format!("no parameter lies at {at}");
                found.next().map(|(_, value)| *value).ok_or_else(what)
            }
        }
    }

    fn bytes(&mut self, n: usize, from: u64, count: usize) -> Result<Vec<u8>, String> {
        let one = |i: usize| Ok(self.load(n, Space::Global, from + i as u64, 1)? as u8);
        (0..count).map(one).collect()
    }

    fn store(
        &mut self,
        n: usize,
        space: Space,
        at: u64,
        bytes: usize,
        value: u64,
    ) -> Result<(), String> {
        let by = self.actor(n);
        match space {
            Space::Global => {
                let (allocation, at) = self.memory.find(at)?;
                allocation.write(at, bytes, value, by)
            }
            Space::Shared => {
                self.shared[self.rank].write(at.wrapping_sub(SHARED), bytes, value, by)
            }
            Space::Cluster => {
                let (memory, at) = self.of_cluster(at)?;
                memory.write(at, bytes, value, by)
            }
            Space::Param => Err("parameters are not written".to_owned()),
        }
    }

    /// The shared memory that an address of the cluster is of, and where in it.
    fn of_cluster(&mut self, at: u64) -> Result<(&mut Allocation, u64), String> {
        let (block, at) = cluster::found(at, self.rank);
        let what = || format!("the cluster has no block {block}");
        Ok((self.shared.get_mut(block).ok_or_else(what)?, at))
    }

    pub(crate) fn fault(&self, n: usize, what: String) -> Fault {
        let instr = self.kernel.code.get(self.threads[n].at);
        Fault {
            block: self.block,
            thread: n as u32,
            line: instr.map_or(0, |i| i.line),
            instruction: instr.map_or_else(String::new, |i| i.text.clone()),
            what,
        }
    }
}

fn aligned(address: u64, bytes: usize) -> Result<(), String> {
    if !address.is_multiple_of(bytes as u64) {
        return Err(format!("{address:#x} is not a multiple of {bytes}"));
    }
    Ok(())
}
