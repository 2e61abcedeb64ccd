//! What is checked and timed on a machine with a GPU: every golden case against its stored results, the emulator
//! against the device, and rules at the shapes that others publish, beside the two physical floors.
//!
//! Code is made on all cores, and assembled where an assembler is found; what runs on the device runs alone.

mod checks;
#[cfg(feature = "cuda")]
mod counted;
mod limits;
mod made;
mod timed;

pub use checks::{Case, bound_of, cases, emulator_and_device, tensor_cores};
#[cfg(feature = "cuda")]
pub use counted::{Counted, counted};
pub use limits::{Limits, limits};
pub use made::spread;
pub use timed::{Made, Shape, Timed, Wanted, lowered, made, timed};

use nestor_runtime::device::DeviceError;

fn stop(error: DeviceError) -> String {
    error.to_string()
}
