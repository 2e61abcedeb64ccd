//! The vocabulary of the compiler: what a stage may say to the next one.
//!
//! Four representations, in pipeline order: the [`level`] program (a checked model, token by
//! token), the [`tensor`] graph (whole sequences, scans explicit), [`tile`] kernels (one block of
//! work) and the [`plan`] (buffers and launches). Each has a text form, a verifier and a slow,
//! plain interpreter. This crate depends on nothing of ours and knows neither source text nor
//! any backend.

pub mod artifact;
pub mod dim;
pub mod entity;
pub mod interpret;
pub mod level;
pub mod plan;
pub mod tensor;
pub mod text;
pub mod tile;
pub mod ty;
