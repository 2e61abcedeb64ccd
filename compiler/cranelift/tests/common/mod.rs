//! What tests of kernels share.

#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod check;
