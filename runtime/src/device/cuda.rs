//! A GPU through CUDA's driver, which is looked for when a device is opened: a build with this file runs without one.
//!
//! # Contract of the unsafe code
//! Contexts, streams, modules and graphs are made here, used while they live, and destroyed once. Addresses come from
//! [`Device::allocate`] and are as long as the executor asked for; kernels take the parameters that their
//! compiler says. Whoever calls is made current first.
#![allow(unsafe_code, reason = "the driver works on addresses")]

use super::cublas::{Library, WORKSPACE};
use super::product;
use super::tensor_map;
use super::{Command, Device, DeviceError, Graph, Module};
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use indexmap::IndexMap;
use nestor_ir::artifact::{DeviceCode, TensorMap};
use std::ffi::{CString, c_void};

/// Shared memory that a kernel may have without asking for more.
const SHARED: usize = 48 * 1024;

/// Products of the library side by side: each needs memory to work in.
const LANES: usize = 4;

/// A GPU.
pub struct Cuda {
    name: String,
    number: i32,
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    capability: (u32, u32),
    modules: Vec<Option<Loaded>>,
    graphs: Vec<Option<(sys::CUgraph, sys::CUgraphExec)>>,
    library: Option<Library>,
    /// What the library works in, once for each product that is under way.
    workspace: u64,
}

/// Code in the driver.
struct Loaded {
    module: sys::CUmodule,
    functions: IndexMap<String, sys::CUfunction>,
    code: DeviceCode,
}

// SAFETY: the driver's handles may be used from any thread whose current context is theirs.
unsafe impl Send for Cuda {}

impl Cuda {
    /// The device of a number.
    ///
    /// # Errors
    /// Where there is no driver or no such device, with a way out.
    pub fn open(name: &str, number: usize) -> Result<Self, DeviceError> {
        let absent = |why: String| DeviceError::Absent { name: name.to_owned(), why };
        // SAFETY: only looks for the library's file.
        if !unsafe { sys::is_culib_present() } {
            return Err(absent(
                "CUDA's driver (libcuda) is not found\nhelp: install NVIDIA's driver, or leave `--device` out to run on the CPU"
                    .to_owned(),
            ));
        }
        let said = |e: DriverError| absent(format!("the driver says {}", what(&e)));
        result::init().map_err(said)?;
        let count = result::device::get_count().map_err(said)?;
        let number = i32::try_from(number).unwrap_or(i32::MAX);
        if number >= count {
            return Err(absent(format!("the driver sees {count} devices")));
        }
        let device = result::device::get(number).map_err(said)?;
        // SAFETY: a device that the driver gave.
        let (context, capability) = unsafe {
            use sys::CUdevice_attribute as Of;
            let of = |a| result::device::get_attribute(device, a);
            let major =
                of(Of::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR).map_err(said)?;
            let minor =
                of(Of::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR).map_err(said)?;
            let context = result::primary_ctx::retain(device).map_err(said)?;
            result::ctx::set_current(context).map_err(said)?;
            (context, (major as u32, minor as u32))
        };
        if capability < (8, 0) {
            let (major, minor) = capability;
            return Err(absent(format!(
                "it is of generation {major}.{minor}; kernels need 8.0 or later"
            )));
        }
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking);
        Ok(Self {
            name: name.to_owned(),
            number,
            device,
            context,
            stream: stream.map_err(said)?,
            capability,
            modules: Vec::new(),
            graphs: Vec::new(),
            library: Library::open(),
            workspace: 0,
        })
    }

    fn failed(&self, step: &str, error: &DriverError) -> DeviceError {
        DeviceError::Failed {
            device: self.name.clone(),
            step: step.to_owned(),
            why: what(error),
        }
    }

    /// Makes the device's context that of this thread.
    fn current(&self) -> Result<(), DeviceError> {
        // SAFETY: the context lives as long as this.
        let set = unsafe { result::ctx::set_current(self.context) };
        set.map_err(|e| self.failed("context", &e))
    }

    fn launch(
        &mut self,
        module: Module,
        symbol: &str,
        [grid, threads, shared]: [usize; 3],
        params: &[u64],
        maps: &[TensorMap],
    ) -> Result<(), DeviceError> {
        if grid == 0 {
            return Ok(());
        }
        let function = self.function(module, symbol)?;
        let mut values = params.to_vec();
        let encoded: Result<Vec<_>, _> = maps.iter().map(tensor_map::encoded).collect();
        let mut encoded = encoded.map_err(|e| self.failed(symbol, &e))?;
        let encoded = encoded.iter_mut().map(|m| std::ptr::from_mut(m).cast());
        let values = values.iter_mut().map(|v| std::ptr::from_mut(v).cast());
        let mut pointers: Vec<*mut c_void> = values.chain(encoded).collect();
        let blocks = u32::try_from(grid).unwrap_or(u32::MAX);
        // SAFETY: the driver copies the parameters before it comes back; the rest is the contract above.
        let told = unsafe {
            let (blocks, threads) = ((blocks, 1, 1), (threads as u32, 1, 1));
            let shared = shared as u32;
            result::launch_kernel(
                function,
                blocks,
                threads,
                shared,
                self.stream,
                &mut pointers,
            )
        };
        told.map_err(|e| self.failed(symbol, &e))
    }

    fn function(
        &self,
        module: Module,
        symbol: &str,
    ) -> Result<sys::CUfunction, DeviceError> {
        let loaded = self.modules.get(module.0).and_then(Option::as_ref);
        let found = loaded.and_then(|m| m.functions.get(symbol)).copied();
        found.ok_or_else(|| DeviceError::Failed {
            device: self.name.clone(),
            step: symbol.to_owned(),
            why: "there is no such kernel in what was loaded".to_owned(),
        })
    }

    /// Does a command; a product may use this workspace.
    fn told(&mut self, command: &Command, workspace: u64) -> Result<(), DeviceError> {
        match command {
            Command::Kernel { module, symbol, grid, threads, shared, params, maps } => {
                let shape = [*grid, *threads as usize, *shared];
                self.launch(*module, symbol, shape, params, maps)
            }
            Command::Product(module, what) => self.product(*module, what, workspace),
            Command::Fill { bytes: 0, .. } | Command::Copy { bytes: 0, .. } => Ok(()),
            Command::Fill { at, bytes, value } => {
                // SAFETY: the contract above.
                let told =
                    unsafe { result::memset_d8_async(*at, *value, *bytes, self.stream) };
                told.map_err(|e| self.failed("fill", &e))
            }
            Command::Copy { from, to, bytes } => {
                // SAFETY: the contract above.
                let told =
                    unsafe { result::memcpy_dtod_async(*to, *from, *bytes, self.stream) };
                told.map_err(|e| self.failed("copy", &e))
            }
        }
    }

    /// Tells commands to a capture, each behind what it waits for.
    fn captured(
        &mut self,
        commands: &[Command],
        waits: &[Vec<usize>],
    ) -> Result<(), DeviceError> {
        // What a command is in the graph: its last nodes, or those before it where it is none.
        let mut nodes: Vec<Vec<sys::CUgraphNode>> = Vec::new();
        let mut products = Vec::new();
        for (n, (command, waits)) in commands.iter().zip(waits).enumerate() {
            let mut workspace = self.workspace;
            let mut waits = waits.clone();
            if let Command::Product(..) = command {
                let lane = products.len() % LANES;
                workspace += (lane * WORKSPACE) as u64;
                // The last one in the same workspace.
                waits.extend(products.iter().rev().nth(LANES - 1));
                products.push(n);
            }
            let mut before: Vec<_> =
                waits.iter().flat_map(|w| nodes[*w].iter().copied()).collect();
            before.sort_unstable();
            before.dedup();
            self.behind(&mut before)?;
            self.told(command, workspace)?;
            nodes.push(self.last()?);
        }
        Ok(())
    }

    /// What is captured next waits for these nodes alone.
    fn behind(&self, nodes: &mut [sys::CUgraphNode]) -> Result<(), DeviceError> {
        use sys::CUstreamUpdateCaptureDependencies_flags as Of;
        let set = Of::CU_STREAM_SET_CAPTURE_DEPENDENCIES as u32;
        let (at, count) = (nodes.as_mut_ptr(), nodes.len());
        // SAFETY: nodes of the graph that the stream captures.
        unsafe { sys::cuStreamUpdateCaptureDependencies(self.stream, at, count, set) }
            .result()
            .map_err(|e| self.failed("order a graph", &e))
    }

    /// The nodes that what is captured next would wait for.
    fn last(&self) -> Result<Vec<sys::CUgraphNode>, DeviceError> {
        let mut status = sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE;
        let (mut at, mut count) = (std::ptr::null(), 0);
        let (id, graph) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: what the driver points to is its own until the stream is told more; it is copied before.
        unsafe {
            let found = sys::cuStreamGetCaptureInfo_v2(
                self.stream,
                &mut status,
                id,
                graph,
                &mut at,
                &mut count,
            );
            found.result().map_err(|e| self.failed("order a graph", &e))?;
            match count {
                0 => Ok(Vec::new()),
                count => Ok(std::slice::from_raw_parts(at, count).to_vec()),
            }
        }
    }

    fn product(
        &mut self,
        module: Module,
        what: &product::Product,
        workspace: u64,
    ) -> Result<(), DeviceError> {
        let loaded = self.modules.get(module.0).and_then(Option::as_ref);
        let Some(code) = loaded.map(|m| &m.code) else { return Ok(()) };
        if let Some(library) = &self.library {
            let told = library.tell(what, &code.products, workspace, self.stream);
            // What the library refuses, our own kernel takes.
            if let Ok(true) = told {
                return Ok(());
            }
        }
        let kernel = code.product.clone();
        let Command::Kernel { symbol, grid, threads, shared, params, .. } =
            product::launch(module, &kernel, what)
        else {
            return Ok(());
        };
        self.launch(module, &symbol, [grid, threads as usize, shared], &params, &[])
    }
}

/// What the driver says.
fn what(error: &DriverError) -> String {
    let name = error.error_name().map(|n| n.to_string_lossy().into_owned());
    name.unwrap_or_else(|_| format!("{error:?}"))
}

fn is_out_of_memory(error: &DriverError) -> bool {
    error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY
}

impl Device for Cuda {
    fn name(&self) -> String {
        format!("cuda:{}", self.number)
    }
    fn capability(&self) -> (u32, u32) {
        self.capability
    }
    fn memory(&self) -> Result<(usize, usize), DeviceError> {
        self.current()?;
        result::mem_get_info().map_err(|e| self.failed("memory", &e))
    }
    fn allocate(&mut self, bytes: usize) -> Result<u64, DeviceError> {
        self.current()?;
        // SAFETY: what is in the memory is written before it is read: the executor's plans see to that.
        match unsafe { result::malloc_sync(bytes) } {
            Ok(address) => Ok(address),
            Err(e) if is_out_of_memory(&e) => {
                let (free, total) = self.memory()?;
                let device = self.name();
                Err(DeviceError::OutOfMemory { device, needed: bytes, free, total })
            }
            Err(e) => Err(self.failed("allocate", &e)),
        }
    }
    fn release(&mut self, address: u64) {
        if self.current().is_ok() {
            // SAFETY: from `allocate`, and given back once.
            let _ = unsafe { result::free_sync(address) };
        }
    }
    fn upload(&mut self, to: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.current()?;
        // SAFETY: the bytes live until the stream is through.
        unsafe { result::memcpy_htod_async(to, bytes, self.stream) }
            .map_err(|e| self.failed("upload", &e))?;
        self.wait()
    }
    fn download(&mut self, from: u64, bytes: &mut [u8]) -> Result<(), DeviceError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.current()?;
        // SAFETY: the bytes live until the stream is through.
        unsafe { result::memcpy_dtoh_async(bytes, from, self.stream) }
            .map_err(|e| self.failed("download", &e))?;
        self.wait()
    }
    fn load(&mut self, code: &DeviceCode) -> Result<Module, DeviceError> {
        self.current()?;
        if self.library.is_some() && self.workspace == 0 {
            self.workspace = self.allocate(LANES * WORKSPACE)?;
        }
        let text = CString::new(code.text.as_str()).map_err(|_| DeviceError::Failed {
            device: self.name.clone(),
            step: "load".to_owned(),
            why: "the code holds a zero".to_owned(),
        })?;
        // SAFETY: machine code, or text that ends in zero.
        let image = code
            .image
            .as_deref()
            .and_then(|i| unsafe { result::module::load_data(i.as_ptr().cast()) }.ok());
        let module = match image {
            Some(module) => module,
            // SAFETY: as above. The driver assembles text for this very device.
            None => unsafe { result::module::load_data(text.as_ptr().cast()) }
                .map_err(|e| self.failed("load", &e))?,
        };
        let sizes = code.entries.iter().map(|e| (e.symbol.as_str(), e.shared));
        let own = (code.product.symbol.as_str(), code.product.shared);
        let mut functions = IndexMap::new();
        for (symbol, shared) in sizes.chain([own]) {
            let name = CString::new(symbol).expect("a symbol has no zero");
            use sys::CUfunction_attribute_enum as Of;
            let most = Of::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: of a module that is loaded.
            let found = unsafe {
                result::module::get_function(module, name).and_then(|f| {
                    if shared > SHARED {
                        result::function::set_function_attribute(f, most, shared as i32)?;
                    }
                    Ok(f)
                })
            };
            functions
                .insert(symbol.to_owned(), found.map_err(|e| self.failed(symbol, &e))?);
        }
        self.modules.push(Some(Loaded { module, functions, code: code.clone() }));
        Ok(Module(self.modules.len() - 1))
    }
    fn unload(&mut self, module: Module) {
        let loaded = self.modules.get_mut(module.0).and_then(Option::take);
        if let (Some(loaded), Ok(())) = (loaded, self.current()) {
            // SAFETY: loaded once, unloaded here.
            let _ = unsafe { result::module::unload(loaded.module) };
        }
    }
    fn tell(&mut self, command: &Command) -> Result<(), DeviceError> {
        self.current()?;
        self.told(command, self.workspace)
    }
    fn keep(
        &mut self,
        commands: &[Command],
        waits: &[Vec<usize>],
    ) -> Result<Graph, DeviceError> {
        self.current()?;
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: the stream lives as long as this.
        unsafe { result::stream::begin_capture(self.stream, mode) }
            .map_err(|e| self.failed("begin a graph", &e))?;
        let told = self.captured(commands, waits);
        // It is ended in any case, or nothing would be done any more.
        // SAFETY: a capture is begun.
        let graph = unsafe { result::stream::end_capture(self.stream) };
        told?;
        let flags = sys::CUgraphInstantiate_flags(0);
        // SAFETY: a graph is instantiated once.
        let made = graph.and_then(|graph| unsafe {
            Ok((graph, result::graph::instantiate(graph, flags)?))
        });
        self.graphs.push(Some(made.map_err(|e| self.failed("end a graph", &e))?));
        Ok(Graph(self.graphs.len() - 1))
    }
    fn replay(&mut self, graph: Graph) -> Result<(), DeviceError> {
        self.current()?;
        let Some((_, exec)) = self.graphs.get(graph.0).copied().flatten() else {
            return Ok(());
        };
        // SAFETY: instantiated and not destroyed.
        unsafe { result::graph::launch(exec, self.stream) }
            .map_err(|e| self.failed("replay", &e))
    }
    fn forget(&mut self, graph: Graph) {
        let made = self.graphs.get_mut(graph.0).and_then(Option::take);
        if let (Some((graph, exec)), Ok(())) = (made, self.current()) {
            // SAFETY: made once, destroyed here, when nothing of it is under way.
            unsafe {
                let _ = result::stream::synchronize(self.stream);
                let _ = result::graph::exec_destroy(exec);
                let _ = result::graph::destroy(graph);
            }
        }
    }
    fn wait(&mut self) -> Result<(), DeviceError> {
        self.current()?;
        // SAFETY: the stream lives as long as this.
        unsafe { result::stream::synchronize(self.stream) }
            .map_err(|e| self.failed("wait", &e))
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        (0..self.graphs.len()).for_each(|n| self.forget(Graph(n)));
        (0..self.modules.len()).for_each(|n| self.unload(Module(n)));
        if self.workspace != 0 {
            self.release(self.workspace);
        }
        self.library = None;
        if self.current().is_ok() {
            // SAFETY: made in `open`, destroyed here.
            unsafe {
                let _ = result::stream::destroy(self.stream);
                let _ = result::primary_ctx::release(self.device);
            }
        }
    }
}
