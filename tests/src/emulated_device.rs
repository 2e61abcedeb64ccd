//! A device that executes PTX in the emulator: what the runtime does on a GPU, without one.

use nestor_emulator::{Allocation, Launch, Memory, Module as Parsed, Tensor, launch};
use nestor_ir::artifact::{DeviceCode, DeviceProduct, TensorMap};
use nestor_runtime::device::product::launch as product_launch;
use nestor_runtime::device::simulated::{Machine, Simulated};
use nestor_runtime::device::{Command, Module};

/// Instructions that a launch may take.
const LIMIT: u64 = 1 << 34;

/// A device that is the emulator.
pub type EmulatedDevice = Simulated<Emulator>;

/// Memory and code in the emulator.
#[derive(Default)]
pub struct Emulator {
    memory: Memory,
    modules: Vec<(Parsed, DeviceProduct)>,
}

impl Machine for Emulator {
    const NAME: &'static str = "emulator";

    fn allocate(&mut self, bytes: usize) -> u64 {
        self.memory.add(Allocation::unknown("device", bytes))
    }
    fn release(&mut self, address: u64) {
        self.memory.release(address);
    }
    fn put(&mut self, at: u64, bytes: &[u8]) -> Result<(), String> {
        self.memory.put(at, bytes)
    }
    fn take(&mut self, at: u64, bytes: usize) -> Result<Vec<u8>, String> {
        self.memory.take(at, bytes)
    }
    fn load(&mut self, code: &DeviceCode) -> Result<Module, String> {
        let parsed = Parsed::parse(&code.text).map_err(|e| e.to_string())?;
        self.modules.push((parsed, code.product.clone()));
        Ok(Module(self.modules.len() - 1))
    }
    fn launch(&mut self, command: &Command) -> Result<(), String> {
        match command {
            Command::Kernel { module, symbol, grid, threads, shared, params, maps } => {
                let how = Launch {
                    grid: *grid as u32,
                    block: *threads,
                    shared: *shared,
                    params: params.clone(),
                    maps: maps.iter().map(tensor).collect(),
                    limit: LIMIT,
                    trusted: false,
                };
                let (code, _) = &self.modules[module.0];
                let ran = launch(code, symbol, &how, &mut self.memory);
                ran.map(|_| ()).map_err(|fault| fault.to_string())
            }
            Command::Product(module, what) => {
                let (_, product) = &self.modules[module.0];
                self.launch(&product_launch(*module, product, what))
            }
            Command::Fill { .. } | Command::Copy { .. } => Ok(()),
        }
    }
}

/// A tensor and its boxes as the emulator takes them.
pub(crate) fn tensor(map: &TensorMap) -> Tensor {
    Tensor {
        address: map.address,
        width: map.width,
        sizes: map.sizes.to_vec(),
        strides: map.strides.to_vec(),
        boxes: map.boxes.to_vec(),
        exchanged: map.exchanged,
    }
}
