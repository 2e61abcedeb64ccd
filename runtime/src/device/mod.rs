//! Where a plan runs: the CPU, or a device with memory and a queue of its own.
//!
//! A device does what it is told in the order it is told. Commands that it keeps as a graph ([`Device::keep`]) are done when the
//! graph is told, side by side where none waits for another ([`waits`]). Addresses are the device's.

pub mod cpu;
#[cfg(feature = "cuda")]
mod cublas;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod pool;
pub mod product;
pub mod simulated;
#[cfg(feature = "cuda")]
mod tensor_map;
pub mod trace;
pub mod waits;

#[cfg(test)]
mod tests;

use nestor_ir::artifact::{DeviceCode, TensorMap};
use pool::Pool;
use product::Product;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Why a device did not do what it was told.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum DeviceError {
    /// There is no such device here.
    #[error("there is no device `{name}`: {why}")]
    Absent {
        /// What was asked for.
        name: String,
        /// Why it is not there, and what to do.
        why: String,
    },
    /// Its memory is used up.
    #[error("{needed} bytes are needed on {device}, {free} of {total} are free")]
    OutOfMemory {
        /// Its name.
        device: String,
        /// Bytes that were asked for.
        needed: usize,
        /// Bytes that are free.
        free: usize,
        /// Bytes that it has.
        total: usize,
    },
    /// It refused.
    #[error("{device}: {step}: {why}")]
    Failed {
        /// Its name.
        device: String,
        /// What it was told.
        step: String,
        /// What it said.
        why: String,
    },
}

/// Something to do.
#[derive(Clone, PartialEq, Debug)]
pub enum Command {
    /// A kernel of loaded code.
    Kernel {
        /// The code.
        module: Module,
        /// Its name in it.
        symbol: String,
        /// Blocks.
        grid: usize,
        /// Threads of a block.
        threads: u32,
        /// Bytes of shared memory of a block.
        shared: usize,
        /// Its parameters.
        params: Vec<u64>,
        /// Behind them, what it has the device copy by itself.
        maps: Vec<TensorMap>,
    },
    /// A dense product.
    Product(Module, Product),
    /// Sets every byte.
    Fill {
        /// From here on.
        at: u64,
        /// So many.
        bytes: usize,
        /// To this.
        value: u8,
    },
    /// Copies memory.
    Copy {
        /// Source.
        from: u64,
        /// Target.
        to: u64,
        /// How much.
        bytes: usize,
    },
}

/// Code that a device has loaded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Module(pub usize);

/// Commands that a device keeps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Graph(pub usize);

/// A device.
pub trait Device: Send {
    /// What people call it.
    fn name(&self) -> String;
    /// What it can run: its generation and the step in it.
    fn capability(&self) -> (u32, u32);
    /// Bytes that are free, and bytes that it has.
    ///
    /// # Errors
    /// Where the device fails; so for all that follow.
    fn memory(&self) -> Result<(usize, usize), DeviceError>;
    /// Memory, on a boundary of 256 bytes.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`] where there is not enough.
    fn allocate(&mut self, bytes: usize) -> Result<u64, DeviceError>;
    /// Gives memory back.
    fn release(&mut self, address: u64);
    /// Copies from the host, behind what was told before.
    ///
    /// # Errors
    /// As [`Device::memory`].
    fn upload(&mut self, to: u64, bytes: &[u8]) -> Result<(), DeviceError>;
    /// Copies to the host, behind what was told before.
    ///
    /// # Errors
    /// As [`Device::memory`].
    fn download(&mut self, from: u64, bytes: &mut [u8]) -> Result<(), DeviceError>;
    /// Loads code.
    ///
    /// # Errors
    /// As [`Device::memory`].
    fn load(&mut self, code: &DeviceCode) -> Result<Module, DeviceError>;
    /// Forgets code.
    fn unload(&mut self, module: Module);
    /// Does something.
    ///
    /// # Errors
    /// As [`Device::memory`]; a device may say later what went wrong.
    fn tell(&mut self, command: &Command) -> Result<(), DeviceError>;
    /// Keeps commands as a graph, each behind those before it that it waits for and in no other order.
    ///
    /// # Errors
    /// As [`Device::memory`].
    fn keep(
        &mut self,
        commands: &[Command],
        waits: &[Vec<usize>],
    ) -> Result<Graph, DeviceError>;
    /// Does what a graph keeps.
    ///
    /// # Errors
    /// As [`Device::tell`].
    fn replay(&mut self, graph: Graph) -> Result<(), DeviceError>;
    /// Forgets a graph.
    fn forget(&mut self, graph: Graph);
    /// Waits until all is done.
    ///
    /// # Errors
    /// What went wrong since the last wait.
    fn wait(&mut self) -> Result<(), DeviceError>;
}

/// A device with its pool of memory, which programs share.
#[derive(Clone)]
pub struct Shared {
    inner: Arc<Mutex<Held>>,
}

/// A device while it is held.
pub struct Held {
    /// The device.
    pub device: Box<dyn Device>,
    /// Memory that was given back.
    pub pool: Pool,
}

impl Shared {
    /// A device to be shared.
    pub fn new(device: Box<dyn Device>) -> Self {
        Self { inner: Arc::new(Mutex::new(Held { device, pool: Pool::default() })) }
    }

    /// Holds it.
    pub fn hold(&self) -> MutexGuard<'_, Held> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The device of a name, `cuda:0` or another number.
///
/// # Errors
/// Where there is none, with the reason and a way out.
pub fn open(name: &str) -> Result<Shared, DeviceError> {
    let number = name.strip_prefix("cuda:").and_then(|n| n.parse::<usize>().ok());
    let absent =
        |why: &str| DeviceError::Absent { name: name.to_owned(), why: why.to_owned() };
    let Some(number) = number else {
        return Err(absent("devices are called `cuda:0`, `cuda:1` and so on"));
    };
    opened(name, number)
}

#[cfg(feature = "cuda")]
fn opened(name: &str, number: usize) -> Result<Shared, DeviceError> {
    Ok(Shared::new(Box::new(cuda::Cuda::open(name, number)?)))
}

#[cfg(not(feature = "cuda"))]
fn opened(name: &str, _: usize) -> Result<Shared, DeviceError> {
    let why = "this build runs on the CPU alone\nhelp: build it with `cargo build --release --features cuda`";
    Err(DeviceError::Absent { name: name.to_owned(), why: why.to_owned() })
}
