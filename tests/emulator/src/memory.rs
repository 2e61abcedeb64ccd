//! Memory that remembers who touched each byte, and refuses what would be a race.
//!
//! Buffers lie far apart, so that an address past the end of one is never in another. Between two
//! barriers a byte may be read by many threads or written by one that nobody else reads; blocks have no barrier at all.

use crate::shadow::{Actor, MANY, NO_TOUCH, Shadow, TEAM, Touch, joined, meets};

/// A piece of memory.
pub struct Allocation {
    name: String,
    data: Vec<u8>,
    shadow: Vec<Shadow>,
}

impl Allocation {
    /// Memory with contents.
    pub fn filled(name: &str, data: Vec<u8>) -> Self {
        Self::new(name, data, true)
    }
    /// Memory that must be written before it is read.
    pub fn unknown(name: &str, bytes: usize) -> Self {
        Self::new(name, vec![0; bytes], false)
    }
    /// Memory with contents that must be written before they are read.
    pub fn partly(name: &str, data: Vec<u8>) -> Self {
        Self::new(name, data, false)
    }
    fn new(name: &str, data: Vec<u8>, known: bool) -> Self {
        let shadow = vec![Shadow::fresh(known); data.len()];
        Self { name: name.to_owned(), data, shadow }
    }
    /// The bytes.
    pub fn data(&self) -> &[u8] {
        &self.data
    }
    /// The bytes, where something has been written to all of them.
    pub fn written(&self) -> Option<&[u8]> {
        self.shadow.iter().all(|s| s.known).then_some(&self.data)
    }
    /// Forgets who touched what: another launch begins.
    fn settle(&mut self) {
        for s in &mut self.shadow {
            (s.writer, s.reader) = (NO_TOUCH, NO_TOUCH);
        }
    }
    /// Forgets contents and touches: another block begins.
    pub(crate) fn renew(&mut self) {
        self.shadow.fill(Shadow::fresh(false));
    }

    fn range(&self, at: u64, bytes: usize) -> Result<std::ops::Range<usize>, String> {
        let from = at as usize;
        if from.checked_add(bytes).is_none_or(|end| end > self.data.len()) {
            let (name, len) = (&self.name, self.data.len());
            return Err(format!("{bytes} bytes at {from} of `{name}`, which has {len}"));
        }
        Ok(from..from + bytes)
    }

    pub(crate) fn read(
        &mut self,
        at: u64,
        bytes: usize,
        by: Actor,
    ) -> Result<u64, String> {
        let range = self.range(at, bytes)?;
        let mut out = 0;
        for (n, i) in range.enumerate() {
            self.note_read(i, by)?;
            out |= u64::from(self.data[i]) << (8 * n);
        }
        Ok(out)
    }

    /// Eight numbers of 16 bits that a product of a group of warps reads for all of their threads. It reads by another way than
    /// threads write: `settled` says how many fences between the two a thread had done when it came to its last barrier.
    pub(crate) fn read_part(
        &mut self,
        at: u64,
        by: Actor,
        settled: impl Fn(u32) -> u16,
    ) -> Result<[u16; 8], String> {
        let by = by.of_many();
        let range = self.range(at, 16)?;
        let from = range.start;
        // Bytes written together look alike: what holds for the first one holds for all.
        let first = self.shadow[from];
        let differs = |all: u32, s: &Shadow| all | s.differs(&first);
        if self.shadow[range.clone()].iter().fold(0, differs) == 0 {
            self.note_product(from, by, settled)?;
            let after = self.shadow[from];
            if after.differs(&first) != 0 {
                self.shadow[range].fill(after);
            }
        } else {
            for i in range {
                self.note_product(i, by, &settled)?;
            }
        }
        let pair = |n: usize| [self.data[from + 2 * n], self.data[from + 2 * n + 1]];
        Ok(std::array::from_fn(|n| u16::from_le_bytes(pair(n))))
    }

    /// One more matrix product that reads a byte.
    fn note_product(
        &mut self,
        i: usize,
        by: Actor,
        settled: impl Fn(u32) -> u16,
    ) -> Result<(), String> {
        self.note_read(i, by)?;
        let Shadow { writer: Touch { block, thread, .. }, fences, landed, .. } =
            self.shadow[i];
        if landed || by.trusted {
            return Ok(());
        }
        let name = &self.name;
        if block != by.block {
            return Err(format!(
                "byte {i} of `{name}` was written by block {block}: no fence makes that visible to a matrix product of another block"
            ));
        }
        if settled(thread) <= fences {
            return Err(format!(
                "byte {i} of `{name}` is read by a matrix product, with no `fence.proxy.async` of thread {thread}, which has written it, and barrier behind that between"
            ));
        }
        Ok(())
    }

    /// One more reader of a byte.
    #[inline]
    fn note_read(&mut self, i: usize, by: Actor) -> Result<(), String> {
        let s = &mut self.shadow[i];
        if !s.known {
            let name = &self.name;
            return Err(format!("byte {i} of `{name}` is read before it is written"));
        }
        if s.pending {
            let name = &self.name;
            return Err(format!(
                "byte {i} of `{name}` is read before its copy is waited for"
            ));
        }
        let other = meets(s.writer, by);
        s.reader = joined(s.reader, by);
        match other {
            Some(other) => Err(self.race(i, "read", "written", other)),
            None => Ok(()),
        }
    }

    pub(crate) fn write(
        &mut self,
        at: u64,
        bytes: usize,
        value: u64,
        by: Actor,
    ) -> Result<(), String> {
        for (n, i) in self.range(at, bytes)?.enumerate() {
            let s = &mut self.shadow[i];
            if s.pending {
                let name = &self.name;
                return Err(format!(
                    "byte {i} of `{name}` is written while a copy to it is under way"
                ));
            }
            let (writer, reader) = (meets(s.writer, by), meets(s.reader, by));
            s.writer = Touch { block: by.block, thread: by.thread, epoch: by.epoch };
            (s.fences, s.known, s.landed) = (by.fences, true, false);
            if let Some(other) = writer {
                return Err(self.race(i, "written", "written", other));
            }
            if let Some(other) = reader {
                return Err(self.race(i, "written", "read", other));
            }
            self.data[i] = (value >> (8 * n)) as u8;
        }
        Ok(())
    }

    /// An asynchronous copy to there begins: until it is waited for, nobody may touch it.
    pub(crate) fn begin_copy(
        &mut self,
        at: u64,
        bytes: usize,
        by: Actor,
    ) -> Result<(), String> {
        // The write itself: it must not meet readers of this epoch.
        for i in self.range(at, bytes)? {
            self.write(i as u64, 1, 0, by)?;
            self.shadow[i].pending = true;
        }
        Ok(())
    }

    /// The bytes of an asynchronous copy have arrived.
    pub(crate) fn end_copy(
        &mut self,
        at: u64,
        data: &[u8],
        by: Actor,
    ) -> Result<(), String> {
        for (i, byte) in self.range(at, data.len())?.zip(data) {
            self.shadow[i].pending = false;
            self.write(i as u64, 1, u64::from(*byte), by)?;
        }
        Ok(())
    }

    /// A box of a tensor is on its way to there: until it has landed, nobody may touch it. `settled` as for products: what threads have
    /// written there before must have been fenced.
    pub(crate) fn expect(
        &mut self,
        at: u64,
        bytes: usize,
        by: Actor,
        settled: impl Fn(u32) -> u16,
    ) -> Result<(), String> {
        for i in self.range(at, bytes)? {
            let Shadow { writer, fences, landed, .. } = self.shadow[i];
            let written =
                writer != NO_TOUCH && !landed && writer.block == by.block && !by.trusted;
            if written && settled(writer.thread) <= fences {
                let (name, thread) = (&self.name, writer.thread);
                return Err(format!(
                    "byte {i} of `{name}` is copied to with no `fence.proxy.async` of thread {thread}, which has written it, between"
                ));
            }
        }
        self.begin_copy(at, bytes, by)
    }

    /// Bytes of a box have landed, and a thread has waited for them.
    pub(crate) fn land(&mut self, at: u64, data: &[u8], by: Actor) -> Result<(), String> {
        let Actor { block, thread, epoch, .. } = by;
        for (i, byte) in self.range(at, data.len())?.zip(data) {
            self.data[i] = *byte;
            let s = &mut self.shadow[i];
            (s.writer, s.pending, s.landed) =
                (Touch { block, thread, epoch }, false, true);
        }
        Ok(())
    }

    fn race(&self, byte: usize, now: &str, then: &str, other: Touch) -> String {
        let who = match other.thread {
            MANY if (TEAM..MANY).contains(&other.block) => {
                "several threads of the cluster".to_owned()
            }
            MANY => format!("several threads, one of block {}", other.block),
            thread => format!("thread {thread} of block {}", other.block),
        };
        let name = &self.name;
        format!(
            "race: byte {byte} of `{name}` is {now} where {who} has {then} it, with no barrier between"
        )
    }
}

/// Global memory: every allocation in a part of the address space of its own.
#[derive(Default)]
pub struct Memory {
    allocations: Vec<Allocation>,
}

const PART: u32 = 40;

impl Memory {
    /// Adds an allocation and gives its address.
    pub fn add(&mut self, allocation: Allocation) -> u64 {
        self.allocations.push(allocation);
        (self.allocations.len() as u64) << PART
    }
    /// The allocation at an address that [`Memory::add`] gave.
    pub fn get(&self, address: u64) -> &Allocation {
        &self.allocations[(address >> PART) as usize - 1]
    }
    /// Writes from outside of any launch.
    ///
    /// # Errors
    /// Where the bytes are not all of one allocation.
    pub fn put(&mut self, address: u64, data: &[u8]) -> Result<(), String> {
        let (allocation, at) = self.find(address)?;
        let range = allocation.range(at, data.len())?;
        allocation.data[range.clone()].copy_from_slice(data);
        for shadow in &mut allocation.shadow[range] {
            (shadow.known, shadow.pending) = (true, false);
        }
        Ok(())
    }
    /// Reads from outside of any launch.
    ///
    /// # Errors
    /// Where the bytes are not all of one allocation.
    pub fn take(&mut self, address: u64, bytes: usize) -> Result<Vec<u8>, String> {
        let (allocation, at) = self.find(address)?;
        let range = allocation.range(at, bytes)?;
        Ok(allocation.data[range].to_vec())
    }
    /// Gives an allocation back: from now on there is nothing at its address.
    pub fn release(&mut self, address: u64) {
        if let Ok((allocation, _)) = self.find(address) {
            (allocation.data, allocation.shadow) = (Vec::new(), Vec::new());
        }
    }
    /// Bytes that were read and bytes that were written since it has settled.
    pub(crate) fn touched(&self) -> [u64; 2] {
        let all = || self.allocations.iter().flat_map(|a| &a.shadow);
        let count =
            |of: fn(&Shadow) -> Touch| all().filter(|s| of(s) != NO_TOUCH).count() as u64;
        [count(|s| s.reader), count(|s| s.writer)]
    }
    pub(crate) fn settle(&mut self) {
        self.allocations.iter_mut().for_each(Allocation::settle);
    }
    pub(crate) fn find(
        &mut self,
        address: u64,
    ) -> Result<(&mut Allocation, u64), String> {
        let part = (address >> PART) as usize;
        match part.checked_sub(1).and_then(|n| self.allocations.get_mut(n)) {
            Some(found) => Ok((found, address & ((1 << PART) - 1))),
            None => Err(format!("there is no memory at {address:#x}")),
        }
    }
}
