//! Kernels as PTX, in the emulator. Needs the feature `cuda`.

mod ahead;
mod assembled;
mod beside;
mod boxes;
mod cases;
mod columns;
mod faults;
mod functions;
mod groups;
mod host;
mod inner;
mod maps;
mod memories;
mod narrow;
mod often;
mod pairs;
mod places;
mod products;
mod runtime;
mod side_by_side;
mod strips;
mod systems;
mod tables;
mod teams;
mod together;
mod wide;
