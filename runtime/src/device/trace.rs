//! Devices that need no hardware: one that says what it was told, and one that computes nothing.
//!
//! [`Trace`] stands before another device and keeps what is told, in order: launches with their grids and parameters,
//! memory taken and given back, graphs. [`Dry`] has memory, copies and graphs, and passes kernels over.

use super::{Command, Device, DeviceError, Graph, Module};
use nestor_ir::artifact::DeviceCode;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What a device was told.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// Memory was taken: address and bytes.
    Allocate(u64, usize),
    /// Memory was given back.
    Release(u64),
    /// Bytes came from the host: to where, and how many.
    Upload(u64, usize),
    /// Bytes went to the host: from where, and how many.
    Download(u64, usize),
    /// Code was loaded, with so many kernels.
    Load(Module, usize),
    /// Something was told, in a graph or at once.
    Tell(Command),
    /// A graph was begun.
    Begin,
    /// It was ended.
    End(Graph),
    /// A graph was done.
    Replay(Graph),
}

/// What was told so far.
#[derive(Clone, Default)]
pub struct Log {
    events: Arc<Mutex<Vec<Event>>>,
}

impl Log {
    /// Takes what was told since the last call.
    pub fn taken(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }
    fn add(&self, event: Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}

/// A device that keeps what it is told.
pub struct Trace {
    inner: Box<dyn Device>,
    log: Log,
}

impl Trace {
    /// Stands before a device; what is told can be read from the log.
    pub fn new(inner: Box<dyn Device>) -> (Self, Log) {
        let log = Log::default();
        (Self { inner, log: log.clone() }, log)
    }
}

impl Device for Trace {
    fn name(&self) -> String {
        self.inner.name()
    }
    fn capability(&self) -> (u32, u32) {
        self.inner.capability()
    }
    fn memory(&self) -> Result<(usize, usize), DeviceError> {
        self.inner.memory()
    }
    fn allocate(&mut self, bytes: usize) -> Result<u64, DeviceError> {
        let address = self.inner.allocate(bytes)?;
        self.log.add(Event::Allocate(address, bytes));
        Ok(address)
    }
    fn release(&mut self, address: u64) {
        self.log.add(Event::Release(address));
        self.inner.release(address);
    }
    fn upload(&mut self, to: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.log.add(Event::Upload(to, bytes.len()));
        self.inner.upload(to, bytes)
    }
    fn download(&mut self, from: u64, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.log.add(Event::Download(from, bytes.len()));
        self.inner.download(from, bytes)
    }
    fn load(&mut self, code: &DeviceCode) -> Result<Module, DeviceError> {
        let module = self.inner.load(code)?;
        self.log.add(Event::Load(module, code.entries.len()));
        Ok(module)
    }
    fn unload(&mut self, module: Module) {
        self.inner.unload(module);
    }
    fn tell(&mut self, command: &Command) -> Result<(), DeviceError> {
        self.log.add(Event::Tell(command.clone()));
        self.inner.tell(command)
    }
    fn begin(&mut self) -> Result<(), DeviceError> {
        self.log.add(Event::Begin);
        self.inner.begin()
    }
    fn end(&mut self) -> Result<Graph, DeviceError> {
        let graph = self.inner.end()?;
        self.log.add(Event::End(graph));
        Ok(graph)
    }
    fn replay(&mut self, graph: Graph) -> Result<(), DeviceError> {
        self.log.add(Event::Replay(graph));
        self.inner.replay(graph)
    }
    fn forget(&mut self, graph: Graph) {
        self.inner.forget(graph);
    }
    fn wait(&mut self) -> Result<(), DeviceError> {
        self.inner.wait()
    }
}

/// Graphs of devices that do their commands themselves, one after the other.
#[derive(Default)]
pub struct Graphs {
    kept: Vec<Vec<Command>>,
    open: Option<Vec<Command>>,
}

impl Graphs {
    /// Begins a graph.
    pub fn begin(&mut self) {
        self.open = Some(Vec::new());
    }
    /// Keeps a command where a graph is open; whether it did.
    pub fn keeps(&mut self, command: &Command) -> bool {
        let Some(open) = &mut self.open else { return false };
        open.push(command.clone());
        true
    }
    /// Ends the graph; nothing where none is open.
    pub fn end(&mut self) -> Option<Graph> {
        self.kept.push(self.open.take()?);
        Some(Graph(self.kept.len() - 1))
    }
    /// What a graph keeps.
    pub fn of(&self, graph: Graph) -> Vec<Command> {
        self.kept[graph.0].clone()
    }
    /// Forgets a graph.
    pub fn forget(&mut self, graph: Graph) {
        self.kept[graph.0].clear();
    }
}

/// A device with memory that computes nothing.
pub struct Dry {
    spans: BTreeMap<u64, Vec<u8>>,
    /// Bytes that it has.
    total: usize,
    next: u64,
    modules: usize,
    graphs: Graphs,
}

impl Dry {
    /// A device with so many bytes.
    pub fn new(total: usize) -> Self {
        let spans = BTreeMap::new();
        Self { spans, total, next: 1 << 40, modules: 0, graphs: Graphs::default() }
    }

    fn failed(&self, step: &str, why: String) -> DeviceError {
        DeviceError::Failed { device: self.name(), step: step.to_owned(), why }
    }

    fn bytes(
        &mut self,
        at: u64,
        bytes: usize,
        step: &str,
    ) -> Result<&mut [u8], DeviceError> {
        let wrong =
            self.failed(step, format!("{bytes} bytes at {at:#x} are not allocated"));
        let Some((from, span)) = self.spans.range_mut(..=at).next_back() else {
            return Err(wrong);
        };
        let from = usize::try_from(at - from).unwrap_or(usize::MAX);
        from.checked_add(bytes).and_then(|to| span.get_mut(from..to)).ok_or(wrong)
    }

    fn done(&mut self, command: &Command) -> Result<(), DeviceError> {
        match command {
            Command::Kernel { .. } | Command::Product(..) => {}
            Command::Fill { at, bytes, value } => {
                self.bytes(*at, *bytes, "fill")?.fill(*value);
            }
            Command::Copy { from, to, bytes } => {
                let data = self.bytes(*from, *bytes, "copy")?.to_vec();
                self.bytes(*to, *bytes, "copy")?.copy_from_slice(&data);
            }
        }
        Ok(())
    }
}

impl Device for Dry {
    fn name(&self) -> String {
        "dry".to_owned()
    }
    fn capability(&self) -> (u32, u32) {
        (8, 0)
    }
    fn memory(&self) -> Result<(usize, usize), DeviceError> {
        let used: usize = self.spans.values().map(Vec::len).sum();
        Ok((self.total - used, self.total))
    }
    fn allocate(&mut self, bytes: usize) -> Result<u64, DeviceError> {
        let (free, total) = self.memory()?;
        if bytes > free {
            let device = self.name();
            return Err(DeviceError::OutOfMemory { device, needed: bytes, free, total });
        }
        let address = self.next;
        // What lies beyond a span is in none.
        self.next += (bytes as u64).next_multiple_of(256) + 4096;
        self.spans.insert(address, vec![0; bytes]);
        Ok(address)
    }
    fn release(&mut self, address: u64) {
        self.spans.remove(&address);
    }
    fn upload(&mut self, to: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.bytes(to, bytes.len(), "upload")?.copy_from_slice(bytes);
        Ok(())
    }
    fn download(&mut self, from: u64, bytes: &mut [u8]) -> Result<(), DeviceError> {
        bytes.copy_from_slice(self.bytes(from, bytes.len(), "download")?);
        Ok(())
    }
    fn load(&mut self, _: &DeviceCode) -> Result<Module, DeviceError> {
        self.modules += 1;
        Ok(Module(self.modules - 1))
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
