//! Barriers that count bytes: objects in shared memory whose phases end when all that were announced have arrived, threads and the bytes
//! of copies.

use crate::bulk::Landing;
use rustc_hash::FxHashMap;

/// Who touches such a barrier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Visitor {
    pub(crate) thread: u32,
    /// How many barriers its block has passed.
    pub(crate) epoch: u32,
}

/// A barrier that counts.
struct Phase {
    /// Arrivals of a phase, and how many of them are missing in this one.
    count: u32,
    missing: u32,
    /// Bytes that are announced and have not come; below zero where more have come than were announced.
    bytes: i64,
    /// The phase, from zero on.
    number: u64,
    /// What is copied in it.
    copies: Vec<Landing>,
    /// Who has made it, and how many fences of the asynchronous proxy that thread had done before.
    maker: Visitor,
    fences: u16,
}

/// All of a block, by their places in shared memory.
#[derive(Default)]
pub(crate) struct Phases {
    all: FxHashMap<u64, Phase>,
    /// What has come, and no thread has waited for.
    arrived: Vec<(u64, Landing)>,
    /// Arrivals so far, of threads and of copies.
    pub(crate) arrivals: u64,
}

impl Phases {
    pub(crate) fn make(
        &mut self,
        at: u64,
        count: u32,
        maker: Visitor,
        fences: u16,
    ) -> Result<(), String> {
        if count == 0 {
            return Err("nobody arrives at it".to_owned());
        }
        let phase = Phase {
            count,
            missing: count,
            bytes: 0,
            number: 0,
            copies: Vec::new(),
            maker,
            fences,
        };
        match self.all.insert(at, phase) {
            None => Ok(()),
            Some(_) => Err("it is made already".to_owned()),
        }
    }

    /// What was a barrier is none any more; nothing of it may be under way.
    pub(crate) fn unmake(&mut self, at: u64) -> Result<(), String> {
        let phase = self.all.remove(&at).ok_or("there is no such barrier")?;
        if phase.missing < phase.count || phase.bytes != 0 {
            return Err("a phase of it has not ended".to_owned());
        }
        Ok(())
    }

    fn found(&mut self, at: u64, by: Visitor) -> Result<&mut Phase, String> {
        let phase = self.all.get_mut(&at).ok_or("there is no such barrier")?;
        let Visitor { thread, epoch } = phase.maker;
        if thread != by.thread && epoch == by.epoch {
            return Err(format!(
                "thread {thread} has made the barrier, with no barrier of the block between"
            ));
        }
        Ok(phase)
    }

    /// A thread arrives and announces bytes.
    pub(crate) fn arrive(
        &mut self,
        at: u64,
        bytes: u32,
        by: Visitor,
    ) -> Result<(), String> {
        let phase = self.found(at, by)?;
        if phase.missing == 0 {
            return Err("more arrive at it than it counts".to_owned());
        }
        phase.missing -= 1;
        phase.bytes += i64::from(bytes);
        self.arrivals += 1;
        self.end(at);
        Ok(())
    }

    /// A copy whose bytes it counts has been made: `fences` says how many of its maker's fences of the asynchronous proxy the hardware
    /// has seen.
    pub(crate) fn copied(
        &mut self,
        at: u64,
        landing: Landing,
        by: Visitor,
        fences: impl FnOnce(u32) -> u16,
    ) -> Result<(), String> {
        let phase = self.found(at, by)?;
        if fences(phase.maker.thread) <= phase.fences {
            return Err("its barrier was made with no `fence.proxy.async` behind that its copies see".to_owned());
        }
        phase.bytes -= landing.data.len() as i64;
        phase.copies.push(landing);
        self.arrivals += 1;
        self.end(at);
        Ok(())
    }

    /// Ends a phase at which all have arrived.
    fn end(&mut self, at: u64) {
        let Some(phase) = self.all.get_mut(&at) else { return };
        if phase.missing == 0 && phase.bytes == 0 {
            phase.missing = phase.count;
            phase.number += 1;
            self.arrived.extend(phase.copies.drain(..).map(|copy| (at, copy)));
        }
    }

    /// Whether a phase of a parity has ended; what was copied in it is there then.
    pub(crate) fn waited(
        &mut self,
        at: u64,
        parity: u64,
        by: Visitor,
    ) -> Result<Option<Vec<Landing>>, String> {
        let phase = self.found(at, by)?;
        if phase.number % 2 == parity {
            return Ok(None);
        }
        let (here, others) = self.arrived.drain(..).partition(|(of, _)| *of == at);
        self.arrived = others;
        let here: Vec<(u64, Landing)> = here;
        Ok(Some(here.into_iter().map(|(_, copy)| copy).collect()))
    }
}
