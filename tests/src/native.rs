//! Runs a tensor graph as machine code on arrays.

use indexmap::IndexMap;
use nestor_compiler::gpu::Options;
use nestor_compiler::interpret::{Array, Data};
use nestor_compiler::native::{Machine, artifact, compiled};
use nestor_ir::artifact::{Artifact, Precision};
use nestor_ir::dim::Sizes;
use nestor_ir::tensor::Graph;
use nestor_runtime::device::Shared;
use nestor_runtime::executor::Executor;
use nestor_runtime::tensor_file::{self, HostTensor};

/// A graph as machine code, to be run at any length.
pub struct Compiled {
    executor: Executor,
    names: Vec<String>,
    precision: Precision,
}

impl Compiled {
    /// Compiles a graph. Memory will be filled with numbers that are none before each call.
    ///
    /// # Errors
    /// What stands in the way, in words.
    pub fn new(graph: &Graph, precision: Precision) -> Result<Self, String> {
        let artifact = artifact(graph, precision).map_err(|e| e.to_string())?;
        let executor = Executor::new(artifact).map_err(|e| e.to_string())?;
        Ok(Self::of(graph, executor, precision))
    }

    /// As [`Compiled::new`], in single precision on a device.
    ///
    /// # Errors
    /// As [`Compiled::new`].
    pub fn on(graph: &Graph, options: Options, device: &Shared) -> Result<Self, String> {
        let artifact =
            compiled(graph, Machine::Gpu(options)).map_err(|e| e.to_string())?;
        Self::made(graph, artifact, device)
    }

    /// Code that is made, on a device.
    ///
    /// # Errors
    /// What the device refuses.
    pub fn made(
        graph: &Graph,
        artifact: Artifact,
        device: &Shared,
    ) -> Result<Self, String> {
        let executor = Executor::on(artifact, device).map_err(|e| e.to_string())?;
        Ok(Self::of(graph, executor, Precision::F32))
    }

    fn of(graph: &Graph, mut executor: Executor, precision: Precision) -> Self {
        executor.poison(true);
        let names = graph.inputs.iter().map(|i| i.name.clone()).collect();
        Self { executor, names, precision }
    }

    /// Outputs by name; inputs are the graph's, in order.
    ///
    /// # Errors
    /// What stands in the way, in words.
    pub fn run(
        &mut self,
        inputs: &[Array],
        sizes: &Sizes,
    ) -> Result<IndexMap<String, Array>, String> {
        let pairs = self.names.iter().zip(inputs);
        let tensors: Vec<HostTensor> =
            pairs.map(|(name, array)| host(name, array, self.precision)).collect();
        let known: Vec<String> =
            self.executor.inputs().into_iter().map(|(n, _)| n.to_owned()).collect();
        let given: Vec<&HostTensor> =
            tensors.iter().filter(|t| known.contains(&t.name)).collect();
        let results = self.executor.run(&given, *sizes).map_err(|e| e.to_string())?;
        Ok(results.into_iter().map(|t| (t.name.clone(), array(&t))).collect())
    }
}

/// Outputs of one call, by name.
///
/// # Errors
/// What stands in the way, in words.
pub fn run(
    graph: &Graph,
    inputs: &[Array],
    sizes: &Sizes,
    precision: Precision,
) -> Result<IndexMap<String, Array>, String> {
    Compiled::new(graph, precision)?.run(inputs, sizes)
}

/// An array as a tensor of the executor's types.
pub fn host(name: &str, array: &Array, precision: Precision) -> HostTensor {
    let data = match (&array.data, precision) {
        (Data::Real(v), Precision::F32) => {
            tensor_file::Data::F32(v.iter().map(|x| *x as f32).collect())
        }
        (Data::Real(v), Precision::F64) => tensor_file::Data::F64(v.clone()),
        (Data::Int(v), _) => {
            tensor_file::Data::I32(v.iter().map(|x| *x as i32).collect())
        }
        (Data::Bool(v), _) => tensor_file::Data::Bool(v.clone()),
    };
    HostTensor { name: name.to_owned(), dims: array.dims.clone(), data }
}

fn array(t: &HostTensor) -> Array {
    let dims = t.dims.clone();
    match &t.data {
        tensor_file::Data::F32(v) => {
            Array::real(dims, v.iter().map(|x| f64::from(*x)).collect())
        }
        tensor_file::Data::F64(v) => Array::real(dims, v.clone()),
        tensor_file::Data::I32(v) => {
            Array::int(dims, v.iter().map(|x| i64::from(*x)).collect())
        }
        tensor_file::Data::I64(v) => Array::int(dims, v.clone()),
        tensor_file::Data::U8(v) => {
            Array::int(dims, v.iter().map(|x| i64::from(*x)).collect())
        }
        tensor_file::Data::Bool(v) => Array::bool(dims, v.clone()),
    }
}
