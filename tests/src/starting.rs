//! How a weight is drawn where a program says that it is.

use nestor_compiler::level::Initial;
use nestor_runtime::train::rng;

/// What draws its numbers; nothing where they are said, or are another weight's.
pub fn drawn(initial: &Initial) -> Option<rng::Initial> {
    match *initial {
        Initial::Normal(std) => Some(rng::Initial::Normal { std }),
        Initial::Uniform(bound) => Some(rng::Initial::Uniform { bound }),
        Initial::Orthogonal(gain) => Some(rng::Initial::Orthogonal { gain }),
        Initial::Values(_) | Initial::From(_) => None,
    }
}
