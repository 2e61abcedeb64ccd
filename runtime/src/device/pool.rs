//! The pool: memory that was given back waits for the next one who needs as much.
//!
//! A driver's allocation waits for all that a device does; taking from the pool does not. What nobody takes goes back to
//! the device when the device says that it has no more.

use super::{Device, DeviceError};

/// Memory of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// Where it begins.
    pub address: u64,
    /// How long it is.
    pub bytes: usize,
}

/// Spans of less than this are of one length.
const LEAST: usize = 512;
/// A span may be so many times longer than what is asked for.
const SLACK: usize = 2;

/// Memory that waits.
#[derive(Default)]
pub struct Pool {
    idle: Vec<Span>,
}

impl Pool {
    /// Memory of at least so many bytes: the shortest span that waits and is not much too long, else new memory.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`] where all that waits, given back, is not enough.
    pub fn take(
        &mut self,
        device: &mut dyn Device,
        bytes: usize,
    ) -> Result<Span, DeviceError> {
        let bytes = bytes.max(1).next_multiple_of(LEAST);
        let fits = |s: &Span| s.bytes >= bytes && s.bytes / SLACK <= bytes;
        let idle = self.idle.iter().enumerate().filter(|(_, s)| fits(s));
        if let Some((n, _)) = idle.min_by_key(|(_, s)| s.bytes) {
            return Ok(self.idle.swap_remove(n));
        }
        let address = match device.allocate(bytes) {
            Err(DeviceError::OutOfMemory { .. }) if !self.idle.is_empty() => {
                self.empty(device);
                device.allocate(bytes)?
            }
            other => other?,
        };
        Ok(Span { address, bytes })
    }

    /// Gives memory back to the pool.
    pub fn give(&mut self, span: Span) {
        if span.bytes > 0 {
            self.idle.push(span);
        }
    }

    /// Bytes that wait.
    pub fn waiting(&self) -> usize {
        self.idle.iter().map(|s| s.bytes).sum()
    }

    /// Gives everything back to the device.
    pub fn empty(&mut self, device: &mut dyn Device) {
        for span in self.idle.drain(..) {
            device.release(span.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LEAST, Pool};
    use crate::device::trace::Dry;
    use crate::device::{Device, DeviceError};

    #[test]
    fn what_was_given_back_is_taken_again_before_new_memory() {
        let (mut device, mut pool) = (Dry::new(1 << 20), Pool::default());
        let mut take =
            |pool: &mut Pool, n| pool.take(&mut device, n).expect("there is room");
        let (small, large) = (take(&mut pool, 1000), take(&mut pool, 100_000));
        assert_eq!(small.bytes % LEAST, 0);
        pool.give(small);
        pool.give(large);
        // One that is much too long is left for those who need it.
        assert_eq!(take(&mut pool, 900), small);
        assert_eq!(take(&mut pool, 90_000), large);
        assert_eq!(pool.waiting(), 0);
    }

    #[test]
    fn what_waits_is_given_up_where_it_is_needed_as_a_whole() {
        let (mut device, mut pool) = (Dry::new(1 << 20), Pool::default());
        let parts: Vec<_> = (0..4)
            .map(|_| pool.take(&mut device, 1 << 18).expect("there is room"))
            .collect();
        parts.into_iter().for_each(|p| pool.give(p));
        pool.take(&mut device, 1 << 20).expect("what waits makes room");
        let error = pool.take(&mut device, 1).expect_err("all is taken");
        assert!(matches!(error, DeviceError::OutOfMemory { free: 0, .. }), "{error}");
        assert_eq!(device.memory().expect("it says").0, 0);
    }
}
