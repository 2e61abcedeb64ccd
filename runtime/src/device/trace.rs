//! Devices that need no hardware: one that says what it was told, and one that computes nothing.
//!
//! [`Trace`] stands before another device and keeps what is told, in order: launches with their grids and parameters,
//! memory taken and given back, graphs. [`Dry`] has memory, copies and graphs, and passes kernels over.

use super::simulated::{Machine, Simulated};
use super::{Command, Device, DeviceError, Graph, Module};
use nestor_ir::artifact::DeviceCode;
use std::collections::BTreeMap;
use std::ops::Range;
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
    /// Something was told.
    Tell(Command),
    /// Commands were kept as a graph, with what each waits for.
    Keep(Graph, Vec<Command>, Vec<Vec<usize>>),
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
    fn keep(
        &mut self,
        commands: &[Command],
        waits: &[Vec<usize>],
    ) -> Result<Graph, DeviceError> {
        let graph = self.inner.keep(commands, waits)?;
        self.log.add(Event::Keep(graph, commands.to_vec(), waits.to_vec()));
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

/// A device with memory that computes nothing.
pub type Dry = Simulated<Spans>;

/// Memory alone.
#[derive(Default)]
pub struct Spans {
    /// By address.
    spans: BTreeMap<u64, Vec<u8>>,
    /// Bytes up to where the last one ends.
    taken: u64,
    modules: usize,
}

impl Spans {
    /// Where bytes lie: the span, and the place in it.
    fn place(&self, at: u64, bytes: usize) -> Result<(u64, Range<usize>), String> {
        let wrong = || format!("{bytes} bytes at {at:#x} are not allocated");
        let (from, span) = self.spans.range(..=at).next_back().ok_or_else(wrong)?;
        let begin = usize::try_from(at - from).unwrap_or(usize::MAX);
        let end = begin.checked_add(bytes).filter(|end| *end <= span.len());
        Ok((*from, begin..end.ok_or_else(wrong)?))
    }
}

impl Machine for Spans {
    const NAME: &'static str = "dry";

    fn allocate(&mut self, bytes: usize) -> u64 {
        let address = (1 << 40) + self.taken;
        // What lies beyond a span is in none.
        self.taken += (bytes as u64).next_multiple_of(256) + 4096;
        self.spans.insert(address, vec![0; bytes]);
        address
    }
    fn release(&mut self, address: u64) {
        self.spans.remove(&address);
    }
    fn put(&mut self, at: u64, bytes: &[u8]) -> Result<(), String> {
        let (span, place) = self.place(at, bytes.len())?;
        if let Some(span) = self.spans.get_mut(&span) {
            span[place].copy_from_slice(bytes);
        }
        Ok(())
    }
    fn take(&mut self, at: u64, bytes: usize) -> Result<Vec<u8>, String> {
        let (span, place) = self.place(at, bytes)?;
        Ok(self.spans[&span][place].to_vec())
    }
    fn load(&mut self, _: &DeviceCode) -> Result<Module, String> {
        self.modules += 1;
        Ok(Module(self.modules - 1))
    }
    fn launch(&mut self, _: &Command) -> Result<(), String> {
        Ok(())
    }
}
