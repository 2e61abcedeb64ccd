//! What is remembered of every byte of memory, and whether two who touch it are ordered.

/// Who touched a byte last.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Touch {
    /// The block, and the thread in it; `MANY` where there were several.
    pub(crate) block: u32,
    pub(crate) thread: u32,
    /// How many barriers that block had passed.
    pub(crate) epoch: u32,
}

/// What the number of a block is from where several blocks of a cluster are meant: this, and the cluster's number.
pub(crate) const TEAM: u32 = 1 << 31;

const NOBODY: u32 = u32::MAX;
pub(crate) const MANY: u32 = u32::MAX - 1;
pub(crate) const NO_TOUCH: Touch = Touch { block: NOBODY, thread: NOBODY, epoch: 0 };

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
    /// Its fences of the asynchronous proxy.
    pub(crate) fences: u16,
    /// It is not asked whether others are in its way.
    pub(crate) trusted: bool,
}

impl Actor {
    /// The same for several threads of its block: what any single one does beside them is not ordered.
    pub(crate) fn of_many(self) -> Self {
        Self { thread: MANY, ..self }
    }

    /// Whether a touch was by another block of its cluster, and there was a barrier of that since.
    #[inline]
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

/// What is remembered of a byte.
#[derive(Clone, Copy)]
pub(crate) struct Shadow {
    pub(crate) writer: Touch,
    pub(crate) reader: Touch,
    /// Fences of the asynchronous proxy that the writer had done before.
    pub(crate) fences: u16,
    /// Something has been written there.
    pub(crate) known: bool,
    /// An asynchronous copy to there has not been waited for.
    pub(crate) pending: bool,
    /// It came with a box of a tensor, by the asynchronous proxy itself.
    pub(crate) landed: bool,
}

impl Shadow {
    /// A byte that nobody has touched.
    pub(crate) fn fresh(known: bool) -> Self {
        let (pending, landed) = (false, false);
        let (writer, reader) = (NO_TOUCH, NO_TOUCH);
        Self { writer, reader, fences: 0, known, pending, landed }
    }

    /// Not zero where something else is remembered of another byte; without a branch, as products ask it of every byte.
    #[inline]
    pub(crate) fn differs(&self, other: &Self) -> u32 {
        let touch = |a: Touch, b: Touch| {
            (a.block ^ b.block) | (a.thread ^ b.thread) | (a.epoch ^ b.epoch)
        };
        let flags = u32::from(self.known ^ other.known)
            | u32::from(self.pending ^ other.pending)
            | u32::from(self.landed ^ other.landed)
            | u32::from(self.fences ^ other.fences);
        touch(self.writer, other.writer) | touch(self.reader, other.reader) | flags
    }
}

/// The other one, where a touch and an actor are of two threads with no barrier between them.
#[inline]
pub(crate) fn meets(touch: Touch, by: Actor) -> Option<Touch> {
    if by.trusted || by.met(touch) {
        return None;
    }
    let elsewhere = touch.block != by.block;
    let unordered = touch.epoch == by.epoch && touch.thread != by.thread;
    (touch.block != NOBODY && (elsewhere || unordered)).then_some(touch)
}

/// One more reader.
#[inline]
pub(crate) fn joined(touch: Touch, by: Actor) -> Touch {
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
