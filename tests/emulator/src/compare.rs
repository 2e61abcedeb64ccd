//! Comparisons: `setp` by its relation and its type.

use crate::table::{Binary, f32, f64, s16, s32, s64, u16, u32, u64};

macro_rules! ordered {
    ($relation:expr, $as:path) => {
        match $relation {
            "eq" => |a, b| u64::from($as(a) == $as(b)),
            "ne" => |a, b| u64::from($as(a) != $as(b)),
            "lt" | "lo" => |a, b| u64::from($as(a) < $as(b)),
            "le" | "ls" => |a, b| u64::from($as(a) <= $as(b)),
            "gt" | "hi" => |a, b| u64::from($as(a) > $as(b)),
            "ge" | "hs" => |a, b| u64::from($as(a) >= $as(b)),
            _ => return None,
        }
    };
}

macro_rules! floats {
    ($relation:expr, $as:path) => {
        match $relation {
            // True only where both are numbers.
            "eq" => |a, b| u64::from($as(a) == $as(b)),
            "ne" => |a, b| u64::from($as(a) < $as(b) || $as(a) > $as(b)),
            "lt" => |a, b| u64::from($as(a) < $as(b)),
            "le" => |a, b| u64::from($as(a) <= $as(b)),
            "gt" => |a, b| u64::from($as(a) > $as(b)),
            "ge" => |a, b| u64::from($as(a) >= $as(b)),
            "num" => |a, b| u64::from(!$as(a).is_nan() && !$as(b).is_nan()),
            // True also where one is none.
            "equ" => |a, b| 1 - u64::from($as(a) < $as(b) || $as(a) > $as(b)),
            "neu" => |a, b| u64::from($as(a) != $as(b)),
            "ltu" => |a, b| 1 - u64::from($as(a) >= $as(b)),
            "leu" => |a, b| 1 - u64::from($as(a) > $as(b)),
            "gtu" => |a, b| 1 - u64::from($as(a) <= $as(b)),
            "geu" => |a, b| 1 - u64::from($as(a) < $as(b)),
            "nan" => |a, b| u64::from($as(a).is_nan() || $as(b).is_nan()),
            _ => return None,
        }
    };
}

/// What a comparison computes, 0 or 1.
pub(crate) fn compare(relation: &str, ty: &str) -> Option<Binary> {
    Some(match ty {
        "s16" => ordered!(relation, s16),
        "u16" | "b16" => ordered!(relation, u16),
        "s32" => ordered!(relation, s32),
        "u32" | "b32" => ordered!(relation, u32),
        "s64" => ordered!(relation, s64),
        "u64" | "b64" => ordered!(relation, u64),
        "f32" => floats!(relation, f32),
        "f64" => floats!(relation, f64),
        _ => return None,
    })
}
