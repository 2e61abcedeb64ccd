//! A device that does each command itself, when it is told: what such devices have in common, whatever they make of kernels.

use super::waits::latest_first;
use super::{Command, Device, DeviceError, Graph, Module};
use nestor_ir::artifact::DeviceCode;

/// Memory and kernels of a device without hardware. What fails is told in words.
pub trait Machine: Send {
    /// What people call it.
    const NAME: &'static str;
    /// Memory, on a boundary of 256 bytes.
    fn allocate(&mut self, bytes: usize) -> u64;
    /// Gives memory back.
    fn release(&mut self, address: u64);
    /// Writes to memory.
    ///
    /// # Errors
    /// Where it is not allocated; so for all that follow.
    fn put(&mut self, at: u64, bytes: &[u8]) -> Result<(), String>;
    /// Reads memory.
    ///
    /// # Errors
    /// As [`Machine::put`].
    fn take(&mut self, at: u64, bytes: usize) -> Result<Vec<u8>, String>;
    /// Loads code.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn load(&mut self, code: &DeviceCode) -> Result<Module, String>;
    /// Runs a kernel or a product; other commands are none of its own.
    ///
    /// # Errors
    /// What went wrong in it.
    fn launch(&mut self, command: &Command) -> Result<(), String>;
}

/// A device that is a machine of this kind.
#[derive(Default)]
pub struct Simulated<M> {
    machine: M,
    /// Lengths of allocations by address; what was released is no more.
    spans: Vec<(u64, usize)>,
    total: usize,
    graphs: Vec<Vec<Command>>,
}

impl<M: Machine + Default> Simulated<M> {
    /// A device with so many bytes.
    pub fn new(total: usize) -> Self {
        Self { total, ..Self::default() }
    }
}

impl<M: Machine> Simulated<M> {
    fn done(&mut self, command: &Command) -> Result<(), DeviceError> {
        let machine = &mut self.machine;
        let (step, done) = match command {
            Command::Kernel { symbol, .. } => (symbol.as_str(), machine.launch(command)),
            Command::Product(..) => ("product", machine.launch(command)),
            Command::Fill { at, bytes, value } => {
                ("fill", machine.put(*at, &vec![*value; *bytes]))
            }
            Command::Copy { from, to, bytes } => {
                let taken = machine.take(*from, *bytes);
                ("copy", taken.and_then(|data| machine.put(*to, &data)))
            }
        };
        done.map_err(|why| failed::<M>(step, why))
    }
}

fn failed<M: Machine>(step: &str, why: String) -> DeviceError {
    DeviceError::Failed { device: M::NAME.to_owned(), step: step.to_owned(), why }
}

impl<M: Machine> Device for Simulated<M> {
    fn name(&self) -> String {
        M::NAME.to_owned()
    }
    fn capability(&self) -> (u32, u32) {
        (8, 0)
    }
    fn memory(&self) -> Result<(usize, usize), DeviceError> {
        let used: usize = self.spans.iter().map(|(_, bytes)| bytes).sum();
        Ok((self.total - used, self.total))
    }
    fn allocate(&mut self, bytes: usize) -> Result<u64, DeviceError> {
        let (free, total) = self.memory()?;
        if bytes > free {
            let device = self.name();
            return Err(DeviceError::OutOfMemory { device, needed: bytes, free, total });
        }
        let address = self.machine.allocate(bytes);
        self.spans.push((address, bytes));
        Ok(address)
    }
    fn release(&mut self, address: u64) {
        self.spans.retain(|(at, _)| *at != address);
        self.machine.release(address);
    }
    fn upload(&mut self, to: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.machine.put(to, bytes).map_err(|why| failed::<M>("upload", why))
    }
    fn download(&mut self, from: u64, bytes: &mut [u8]) -> Result<(), DeviceError> {
        let taken = self.machine.take(from, bytes.len());
        bytes.copy_from_slice(&taken.map_err(|why| failed::<M>("download", why))?);
        Ok(())
    }
    fn load(&mut self, code: &DeviceCode) -> Result<Module, DeviceError> {
        self.machine.load(code).map_err(|why| failed::<M>("load", why))
    }
    fn unload(&mut self, _: Module) {}
    fn tell(&mut self, command: &Command) -> Result<(), DeviceError> {
        self.done(command)
    }
    /// In the order that is farthest from the one they come in.
    fn keep(
        &mut self,
        commands: &[Command],
        waits: &[Vec<usize>],
    ) -> Result<Graph, DeviceError> {
        let order = latest_first(waits);
        self.graphs.push(order.into_iter().map(|n| commands[n].clone()).collect());
        Ok(Graph(self.graphs.len() - 1))
    }
    fn replay(&mut self, graph: Graph) -> Result<(), DeviceError> {
        let commands = self.graphs[graph.0].clone();
        commands.iter().try_for_each(|command| self.done(command))
    }
    fn forget(&mut self, graph: Graph) {
        self.graphs[graph.0].clear();
    }
    fn wait(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}
