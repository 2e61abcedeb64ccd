//! A device that executes PTX in the emulator: what the runtime does on a GPU, without one.

use nestor_emulator::{Allocation, Launch, Memory, Module as Parsed, launch};
use nestor_ir::artifact::{DeviceCode, DeviceProduct};
use nestor_runtime::device::product::launch as product_launch;
use nestor_runtime::device::trace::Graphs;
use nestor_runtime::device::{Command, Device, DeviceError, Graph, Module};

/// Instructions that a launch may take.
const LIMIT: u64 = 1 << 34;

/// Memory and code in the emulator.
pub struct EmulatedDevice {
    memory: Memory,
    /// Lengths of allocations by address; what was released is no more.
    spans: Vec<(u64, usize)>,
    total: usize,
    modules: Vec<(Parsed, DeviceProduct)>,
    graphs: Graphs,
    /// The generation that it says it is of.
    capability: (u32, u32),
}

impl EmulatedDevice {
    /// A device with so many bytes.
    pub fn new(total: usize) -> Self {
        Self {
            memory: Memory::default(),
            spans: Vec::new(),
            total,
            modules: Vec::new(),
            graphs: Graphs::default(),
            capability: (8, 0),
        }
    }

    fn failed(&self, step: &str, why: String) -> DeviceError {
        DeviceError::Failed { device: self.name(), step: step.to_owned(), why }
    }

    fn done(&mut self, command: &Command) -> Result<(), DeviceError> {
        match command {
            Command::Kernel { module, symbol, grid, threads, shared, params } => {
                let how = Launch {
                    grid: *grid as u32,
                    block: *threads,
                    shared: *shared,
                    params: params.clone(),
                    limit: LIMIT,
                };
                let (code, _) = &self.modules[module.0];
                let ran = launch(code, symbol, &how, &mut self.memory);
                ran.map(|_| ()).map_err(|fault| self.failed(symbol, fault.to_string()))
            }
            Command::Product(module, what) => {
                let command = product_launch(*module, &self.modules[module.0].1, what);
                self.done(&command)
            }
            Command::Fill { at, bytes, value } => {
                let data = vec![*value; *bytes];
                let put = self.memory.put(*at, &data);
                put.map_err(|why| self.failed("fill", why))
            }
            Command::Copy { from, to, bytes } => {
                let taken = self.memory.take(*from, *bytes);
                let data = taken.map_err(|why| self.failed("copy", why))?;
                self.memory.put(*to, &data).map_err(|why| self.failed("copy", why))
            }
        }
    }
}

impl Device for EmulatedDevice {
    fn name(&self) -> String {
        "emulator".to_owned()
    }
    fn capability(&self) -> (u32, u32) {
        self.capability
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
        let address = self.memory.add(Allocation::unknown("device", bytes));
        self.spans.push((address, bytes));
        Ok(address)
    }
    fn release(&mut self, address: u64) {
        self.spans.retain(|(at, _)| *at != address);
        self.memory.release(address);
    }
    fn upload(&mut self, to: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.memory.put(to, bytes).map_err(|why| self.failed("upload", why))
    }
    fn download(&mut self, from: u64, bytes: &mut [u8]) -> Result<(), DeviceError> {
        let taken = self.memory.take(from, bytes.len());
        bytes.copy_from_slice(&taken.map_err(|why| self.failed("download", why))?);
        Ok(())
    }
    fn load(&mut self, code: &DeviceCode) -> Result<Module, DeviceError> {
        let parsed = Parsed::parse(&code.text);
        let parsed = parsed.map_err(|e| self.failed("load", e.to_string()))?;
        self.modules.push((parsed, code.product.clone()));
        Ok(Module(self.modules.len() - 1))
    }
    fn unload(&mut self, _: Module) {}
    fn tell(&mut self, command: &Command) -> Result<(), DeviceError> {
        match self.graphs.keeps(command) {
            true => Ok(()),
            false => self.done(command),
        }
    }
    fn begin(&mut self) -> Result<(), DeviceError> {
        self.graphs.begin();
        Ok(())
    }
    fn end(&mut self) -> Result<Graph, DeviceError> {
        let none = self.failed("end", "no graph is begun".to_owned());
        self.graphs.end().ok_or(none)
    }
    fn replay(&mut self, graph: Graph) -> Result<(), DeviceError> {
        self.graphs.of(graph).iter().try_for_each(|c| self.done(c))
    }
    fn forget(&mut self, graph: Graph) {
        self.graphs.forget(graph);
    }
    fn wait(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}
