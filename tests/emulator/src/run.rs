//! Runs a kernel over a grid: blocks one after another, in each its threads up to the next barrier.

use crate::cluster;
use crate::launch::{Fault, Launch, Stats};
use crate::memory::{Allocation, Memory};
use crate::module::{Address, Instr, Kernel, Op, Reg, SHARED, Space};
use crate::phases::Phases;
use crate::progress::{Progress, Stage};
use crate::shadow::Actor;

/// Lanes of a warp.
pub(crate) const LANES: usize = 32;

/// Where a thread stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    Running,
    /// It runs, but not every instruction may be next: it stands between those of matrix products of its group.
    Bound,
    Warp,
    Barrier,
    Meet,
    /// It waits for a phase of a barrier that counts, and looks again when the others have gone on.
    Later,
    Exit,
}

/// Why a block does not go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Halt {
    /// All threads wait for the cluster's others.
    Meet,
    End,
}

const NEVER: &str = "a thread waits for a phase that does not end";

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
    /// Where it is with the products of its group of warps.
    pub(crate) progress: Progress,
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
        let (stop, progress) = (Stop::Running, Progress::default());
        Self { registers, at: 0, returns, stop, copies, progress }
    }
    /// Leaves the barrier that it waits at.
    pub(crate) fn pass(&mut self) {
        self.progress.pass();
        self.go_on();
    }
    /// Leaves the instruction that it waits at.
    pub(crate) fn go_on(&mut self) {
        self.stop = match self.progress.stage {
            Stage::Free => Stop::Running,
            Stage::Fenced | Stage::UnderWay | Stage::Committed => Stop::Bound,
        };
        self.at += 1;
    }
    /// Whether an instruction's guard lets it be done.
    fn takes(&self, instr: &Instr) -> bool {
        instr.guard.is_none_or(|(condition, wanted)| (self.get(condition) != 0) == wanted)
    }
    /// Whether it stands where another one does, and came from where that did. Mostly both are in no function: then there is nothing to
    /// compare, which takes a processor longer than one thinks.
    fn is_beside(&self, other: &Self) -> bool {
        let nowhere = self.returns.is_empty() && other.returns.is_empty();
        self.at == other.at && (nowhere || self.returns == other.returns)
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
    /// Its barriers that count.
    pub(crate) phases: Phases,
    pub(crate) stats: Stats,
}

impl Block<'_> {
    pub(crate) fn run(&mut self) -> Result<Halt, Fault> {
        loop {
            let arrivals = self.phases.arrivals;
            for warp in 0..self.threads.len() / LANES {
                self.run_warp(warp * LANES)?;
            }
            if let Some(later) = self.threads.iter().position(|t| t.stop == Stop::Later) {
                if self.phases.arrivals == arrivals {
                    return Err(self.fault(later, NEVER.to_owned()));
                }
                let waits = self.threads.iter_mut().filter(|t| t.stop == Stop::Later);
                waits.for_each(|t| t.stop = Stop::Running);
                continue;
            }
            let stands = |t: &Thread| matches!(t.stop, Stop::Barrier | Stop::Meet);
            let Some(waits) = self.threads.iter().position(stands) else {
                self.groups_agree()?;
                return Ok(Halt::End);
            };
            let at = &self.threads[waits];
            let elsewhere = |t: &Thread| t.stop == Stop::Exit || !t.is_beside(at);
            if let Some(other) = self.threads.iter().position(elsewhere) {
                let what = match self.threads[other].stop {
                    Stop::Exit => {
                        format!("thread {other} has ended without this barrier")
                    }
                    _ => format!("thread {other} waits at another barrier"),
                };
                return Err(self.fault(waits, what));
            }
            self.groups_agree()?;
            if self.threads[waits].stop == Stop::Meet {
                return Ok(Halt::Meet);
            }
            self.threads.iter_mut().for_each(Thread::pass);
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
            if lanes.iter().any(|t| t.stop == Stop::Later) {
                return Ok(());
            }
            let missing =
                |t: &Thread| t.stop != Stop::Warp || !t.is_beside(&lanes[waits]);
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
        while self.threads[n].stop == Stop::Running || self.is_freed(n)? {
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

    /// Whether a thread runs again whose last instruction bound the next one, after a look at that.
    fn is_freed(&mut self, n: usize) -> Result<bool, Fault> {
        let t = &mut self.threads[n];
        if t.stop != Stop::Bound {
            return Ok(false);
        }
        t.stop = Stop::Running;
        let next = self.kernel.code.get(t.at).filter(|i| t.takes(i));
        let next = next.map(|i| &i.op);
        t.progress.meanwhile(next).map_err(|what| self.fault(n, what))?;
        Ok(true)
    }

    fn step(&mut self, n: usize, instr: &Instr) -> Result<(), String> {
        let t = &mut self.threads[n];
        if !t.takes(instr) {
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
            Op::Bulk(op) => self.bulk(n, op)?,
            Op::ProxyFence => t.progress.fence()?,
            Op::Nothing => {}
        }
        self.threads[n].at += 1;
        Ok(())
    }

    pub(crate) fn actor(&self, n: usize) -> Actor {
        let Self { block, epoch, since, kernel, .. } = self;
        let (thread, cluster) = (n as u32, kernel.cluster);
        let fences = self.threads[n].progress.fences;
        let (block, epoch, since, trusted) =
            (*block, *epoch, *since, self.launch.trusted);
        Actor { block, thread, epoch, since, cluster, fences, trusted }
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

    pub(crate) fn bytes(
        &mut self,
        n: usize,
        from: u64,
        count: usize,
    ) -> Result<Vec<u8>, String> {
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
