//! Memory that remembers who touched each byte, and refuses what would be a race.
//!
//! Buffers lie far apart, so that an address past the end of one is never in another. Between two
//! barriers a byte may be read by many threads or written by one that nobody else reads; blocks have no barrier at all.

/// Who touched a byte last.
#[derive(Clone, Copy)]
struct Touch {
    /// The block, and the thread in it; `MANY` where there were several.
    block: u32,
    thread: u32,
    /// How many barriers that block had passed.
    epoch: u32,
}

/// What the number of a block is from where several blocks of a cluster are meant: this, and the cluster's number.
const TEAM: u32 = 1 << 31;

const NOBODY: u32 = u32::MAX;
const MANY: u32 = u32::MAX - 1;
const NO_TOUCH: Touch = Touch { block: NOBODY, thread: NOBODY, epoch: 0 };

/// Who acts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Actor {
    pub(crate) block: u32,
    pub(crate) thread: u32,
    pub(crate) epoch: u32,
    /// The epoch that began with the last barrier of its cluster.
    pub(crate) since: u32,
    /// Blocks of a cluster.
    pub(crate) cluster: u32,
}

impl Actor {
    /// Whether a touch was by another block of its cluster, and there was a barrier of that since.
    fn met(&self, touch: Touch) -> bool {
        let own = self.block / self.cluster;
        let of = match touch.block {
            NOBODY | MANY => return false,
            several if several >= TEAM => several - TEAM,
            block if block == self.block => return false,
            block => block / self.cluster,
        };
        of == own && touch.epoch < self.since
    }
}

#[derive(Clone, Copy)]
struct Shadow {
    writer: Touch,
    reader: Touch,
    /// Something has been written there.
    known: bool,
    /// An asynchronous copy to there has not been waited for.
    pending: bool,
}

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
        let fresh = Shadow { writer: NO_TOUCH, reader: NO_TOUCH, known, pending: false };
        let shadow = vec![fresh; data.len()];
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
        let fresh =
            Shadow { writer: NO_TOUCH, reader: NO_TOUCH, known: false, pending: false };
        self.shadow.fill(fresh);
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
            if let Some(other) = other {
                return Err(self.race(i, "read", "written", other));
            }
            out |= u64::from(self.data[i]) << (8 * n);
        }
        Ok(out)
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
            s.known = true;
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

/// The other one, where a touch and an actor are of two threads with no barrier between them.
fn meets(touch: Touch, by: Actor) -> Option<Touch> {
    if by.met(touch) {
        return None;
    }
    let elsewhere = touch.block != by.block;
    let unordered = touch.epoch == by.epoch && touch.thread != by.thread;
    (touch.block != NOBODY && (elsewhere || unordered)).then_some(touch)
}

/// One more reader.
fn joined(touch: Touch, by: Actor) -> Touch {
    let Actor { block, thread, epoch, cluster, .. } = by;
    if touch.block == NOBODY || by.met(touch) {
        return Touch { block, thread, epoch };
    }
    let team = TEAM + block / cluster;
    let beside = touch.block < TEAM && touch.block / cluster == block / cluster;
    if touch.block == team || touch.block != block && beside && cluster > 1 {
        // As late as the last of them: their barriers are one count.
        return Touch { block: team, thread: MANY, epoch: epoch.max(touch.epoch) };
    }
    if touch.block != block {
        return Touch { block: MANY, thread: MANY, epoch };
    }
    let same = touch.epoch != epoch || touch.thread == thread;
    Touch { block, thread: if same { thread } else { MANY }, epoch }
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
