//! Boxes of tensors that are copied to shared memory at one thread's word, and the barriers that count their bytes.

use crate::descriptor::swizzled;
use crate::module::{Address, BulkOp, PARAMS, Reg, SHARED};
use crate::phases::Visitor;
use crate::run::{Block, Stop};

/// Bytes of a line of a box whose parts are exchanged.
const LINE: u64 = 128;

/// A tensor in memory and the boxes that are copied of it: what a driver makes a kernel's parameter of. The dimension of neighbours
/// comes first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tensor {
    /// Where it begins.
    pub address: u64,
    /// Bytes of an element.
    pub width: usize,
    /// Elements along each dimension.
    pub sizes: Vec<u64>,
    /// Bytes between neighbours along each dimension but the first.
    pub strides: Vec<u64>,
    /// Elements of a box along each dimension.
    pub boxes: Vec<u32>,
    /// Whether parts of sixteen bytes are exchanged in lines of 128 bytes.
    pub exchanged: bool,
}

/// What a copy brings: bytes by their places in shared memory.
#[derive(Clone, Debug)]
pub(crate) struct Landing {
    at: u64,
    exchanged: bool,
    pub(crate) data: Vec<u8>,
}

impl Landing {
    /// Each sixteen bytes with their place.
    fn parts(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let place = |n: usize| {
            let straight = self.at + 16 * n as u64;
            if self.exchanged { swizzled(straight, LINE) } else { straight }
        };
        self.data.chunks(16).enumerate().map(move |(n, part)| (place(n), part))
    }
}

impl Tensor {
    /// What a driver would refuse.
    pub(crate) fn check(&self) -> Result<(), String> {
        let rank = self.sizes.len();
        let ranks = [self.strides.len() + 1, self.boxes.len()];
        if !(1..=5).contains(&rank) || ranks != [rank; 2] {
            return Err("a tensor whose dimensions do not agree".to_owned());
        }
        let line = u64::from(self.boxes[0]) * self.width as u64;
        let good = self.address.is_multiple_of(16)
            && self.strides.iter().all(|s| s.is_multiple_of(16) && *s < 1 << 40)
            && self.sizes.iter().all(|n| (1..=1 << 32).contains(n))
            && self.boxes.iter().all(|n| (1..=256).contains(n))
            && line.is_multiple_of(16)
            && (!self.exchanged || line <= LINE);
        if !good {
            return Err(format!("a driver refuses {self:?}"));
        }
        Ok(())
    }

    /// The lines of the box at a place, in their order: where each lies, its first bytes that are not there, and how many of it are.
    fn lines(&self, place: &[i64]) -> Vec<(u64, usize, usize)> {
        let count = self.boxes[1..].iter().map(|n| *n as usize).product();
        let (first, length) = (place[0], i64::from(self.boxes[0]));
        let begins = first.clamp(0, self.sizes[0] as i64);
        let ends = (first + length).clamp(begins, self.sizes[0] as i64);
        let width = self.width as i64;
        let before = ((begins - first).min(length) * width) as usize;
        let line = |n: usize| {
            let (mut rest, mut is_there) = (n, true);
            let mut at = self.address.wrapping_add((begins * width) as u64);
            let others = self.sizes.iter().zip(&self.boxes).zip(place).skip(1);
            for (((size, each), first), stride) in others.zip(&self.strides) {
                let x = first + (rest % *each as usize) as i64;
                rest /= *each as usize;
                is_there &= (0..*size as i64).contains(&x);
                at = at.wrapping_add((x as u64).wrapping_mul(*stride));
            }
            let bytes = if is_there { ((ends - begins) * width) as usize } else { 0 };
            (at, before, bytes)
        };
        (0..count).map(line).collect()
    }
}

impl Block<'_> {
    /// Does what a thread says of barriers that count and of copies whose bytes they do.
    pub(crate) fn bulk(&mut self, n: usize, op: &BulkOp) -> Result<(), String> {
        let by = Visitor { thread: n as u32, epoch: self.epoch };
        let t = &self.threads[n];
        match op {
            BulkOp::Make { at, count } => {
                let (at, count) = (t.address(*at), t.get(*count) as u32);
                let fences = t.progress.fences;
                if !at.is_multiple_of(8) {
                    return Err(format!("{at:#x} is not a multiple of 8"));
                }
                let at = at.wrapping_sub(SHARED);
                let actor = self.actor(n);
                self.shared[self.rank].write(at, 8, 0, actor)?;
                self.phases.make(at, count, by, fences)
            }
            BulkOp::Unmake { at } => {
                self.phases.unmake(t.address(*at).wrapping_sub(SHARED))
            }
            BulkOp::Expect { at, bytes } => {
                let (at, bytes) = (t.address(*at), t.get(*bytes) as u32);
                self.phases.arrive(at.wrapping_sub(SHARED), bytes, by)
            }
            BulkOp::Wait { done, at, parity } => {
                let (at, parity) = (t.address(*at), t.get(*parity) & 1);
                let ended = self.phases.waited(at.wrapping_sub(SHARED), parity, by)?;
                self.threads[n].set(*done, u64::from(ended.is_some()));
                let Some(landings) = ended else {
                    self.threads[n].stop = Stop::Later;
                    return Ok(());
                };
                let actor = self.actor(n);
                for (at, part) in landings.iter().flat_map(Landing::parts) {
                    self.shared[self.rank].land(at, part, actor)?;
                }
                Ok(())
            }
            BulkOp::Copy { to, tensor, place, barrier } => {
                self.bulk_copy(n, *to, *tensor, place, *barrier)
            }
        }
    }

    fn bulk_copy(
        &mut self,
        n: usize,
        to: Address,
        tensor: Reg,
        place: &[Reg],
        barrier: Address,
    ) -> Result<(), String> {
        let t = &self.threads[n];
        let (to, barrier) = (t.address(to), t.address(barrier));
        let place: Vec<i64> =
            place.iter().map(|r| i64::from(t.get(*r) as u32 as i32)).collect();
        let param = t.get(tensor).wrapping_sub(PARAMS);
        let map = self.kernel.maps.iter().position(|at| *at as u64 == param);
        let tensor = map.and_then(|m| self.launch.maps.get(m));
        let tensor = tensor.ok_or("its tensor is no parameter")?.clone();
        if place.len() != tensor.sizes.len() {
            let (given, has) = (place.len(), tensor.sizes.len());
            return Err(format!("{given} coordinates in a tensor of {has} dimensions"));
        }
        let pattern = if tensor.exchanged { 8 * LINE } else { LINE };
        if !to.is_multiple_of(pattern) {
            return Err(format!("{to:#x} is not a multiple of {pattern}"));
        }
        let line = tensor.boxes[0] as usize * tensor.width;
        let mut data = Vec::new();
        for (from, before, count) in tensor.lines(&place) {
            let end = data.len() + line;
            data.resize(data.len() + if count > 0 { before } else { 0 }, 0);
            data.extend(self.bytes(n, from, count)?);
            data.resize(end, 0);
        }
        let (at, exchanged) = (to.wrapping_sub(SHARED), tensor.exchanged);
        let landing = Landing { at, exchanged, data };
        let by = self.actor(n);
        let (shared, threads) = (&mut self.shared[self.rank], &self.threads);
        let seen = |thread: u32| match &threads[thread as usize].progress {
            own if thread as usize == n => own.fences,
            other => other.settled,
        };
        for (at, part) in landing.parts() {
            shared.expect(at, part.len(), by, seen)?;
        }
        let visitor = Visitor { thread: n as u32, epoch: self.epoch };
        self.phases.copied(barrier.wrapping_sub(SHARED), landing, visitor, seen)
    }
}
