//! The processor's treatment of denormal numbers, a property of each thread.
//!
//! Decaying memories reach denormals, which are many times slower; kernels run with denormal
//! results and operands taken as zero.
//!
//! # Contract of the unsafe code
//! The control register is read into and written from one word on the stack; only its two bits
//! about denormals change.
#![allow(unsafe_code, reason = "a control register")]

/// The control register before a change; give it back to [`restore_float_mode`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FloatMode(u32);

/// Flush to zero, and denormals are zero.
#[cfg(target_arch = "x86_64")]
const BITS: u32 = 1 << 15 | 1 << 6;

#[cfg(target_arch = "x86_64")]
fn get() -> u32 {
    let mut word = 0u32;
    // SAFETY: the contract above.
    unsafe {
        std::arch::asm!("stmxcsr [{}]", in(reg) &mut word, options(nostack, preserves_flags))
    };
    word
}

#[cfg(target_arch = "x86_64")]
fn set(word: u32) {
    // SAFETY: the contract above.
    unsafe {
        std::arch::asm!("ldmxcsr [{}]", in(reg) &word, options(nostack, preserves_flags))
    };
}

/// From here on this thread takes denormals as zero. Elsewhere than on x86-64 nothing changes.
pub fn flush_to_zero() -> FloatMode {
    #[cfg(target_arch = "x86_64")]
    {
        let old = get();
        set(old | BITS);
        FloatMode(old)
    }
    #[cfg(not(target_arch = "x86_64"))]
    FloatMode(0)
}

/// Treats denormals on this thread as before.
pub fn restore_float_mode(old: FloatMode) {
    #[cfg(target_arch = "x86_64")]
    set(get() & !BITS | old.0 & BITS);
    #[cfg(not(target_arch = "x86_64"))]
    let FloatMode(_) = old;
}
