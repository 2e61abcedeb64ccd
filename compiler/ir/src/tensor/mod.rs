//! The tensor graph: whole sequences, explicit scans, one table of ops.

pub mod graph;
pub mod infer;
pub mod ops;
pub mod rebuild;
pub mod scan;
pub mod text;
pub mod verify;

pub use graph::{Graph, Node, NodeData, Value, ValueData};
pub use ops::{Axes, AxisPairs, Fold, Group, Op, OpInfo};
pub use scan::{Axis, Feed, Layout, Reach, Scan, Stride, Yield};
