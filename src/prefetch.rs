//! Asks the processor for memory that will be looked at soon.
//!
//! A batch holds a hundred thousand events, and accounts come in no order: nearly all that an event is decided by lies
//! outside of the processor's caches. Who knows which event comes next asks for it while the one before is decided.

#![allow(unsafe_code, reason = "the standard library has no safe prefetch")]

/// Bytes that the processor fetches at once.
const LINE_BYTES: usize = 64;

/// Asks for at most this much of a value: more at once would wait in line.
const LINES_MAX: usize = 16;

/// Asks for a value. It changes nothing, and processors that cannot be asked are not.
#[inline]
pub fn prefetch<T: ?Sized>(soon: &T) {
    let start = std::ptr::from_ref(soon).cast::<i8>();
    for line in 0..size_of_val(soon).div_ceil(LINE_BYTES).min(LINES_MAX) {
        let address = start.wrapping_add(line * LINE_BYTES);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a hint; whatever the address, nothing is read that the program could see.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(address);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = address;
    }
}
