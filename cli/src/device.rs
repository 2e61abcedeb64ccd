//! Where a command runs: the CPU, or a device that programs are compiled for and executed on.

use crate::doctor::threads;
use crate::fail::Failure;
use clap::Args;
use clap::builder::PossibleValuesParser;
use nestor_compiler::Precision;
use nestor_compiler::artifact::Artifact;
use nestor_compiler::gpu::{Options, Products, Target};
use nestor_compiler::native::Machine;
use nestor_runtime::device::{self, DeviceError, Shared};
use nestor_runtime::executor::{Executor, RunError};

/// Where a command is to run.
#[derive(Args, Debug, Clone)]
pub(crate) struct Where {
    /// The device: `cpu`, or a GPU, `cuda:0`, `cuda:1` and so on.
    #[arg(long, default_value = "cpu", value_name = "DEVICE")]
    pub(crate) device: String,
    /// How a GPU computes products: in float32, or on tensor cores, operands rounded to this.
    #[arg(long, default_value = "float32", value_parser = PossibleValuesParser::new(Products::ALL.iter().map(|(n, _)| *n)))]
    pub(crate) products: String,
}

impl Where {
    /// Opens the device.
    pub(crate) fn open(&self) -> Result<Place, Failure> {
        if self.device == "cpu" {
            return Ok(Place { device: None, products: Products::default() });
        }
        let device = device::open(&self.device).map_err(refused)?;
        let products = Products::find(&self.products).unwrap_or_default();
        Ok(Place { device: Some(device), products })
    }

    /// The words that say it to another command; none for the CPU.
    pub(crate) fn words(&self) -> Vec<String> {
        if self.device == "cpu" {
            return Vec::new();
        }
        let words = ["--device", &self.device, "--products", &self.products];
        words.map(str::to_owned).to_vec()
    }
}

/// An open device, or the CPU.
#[derive(Clone)]
pub(crate) struct Place {
    device: Option<Shared>,
    products: Products,
}

impl Place {
    /// A device that is open already, or the CPU.
    #[cfg(all(test, feature = "cuda"))]
    pub(crate) fn of(device: Option<Shared>, products: Products) -> Self {
        Self { device, products }
    }

    /// What programs of single precision are compiled for.
    pub(crate) fn machine(&self) -> Machine {
        self.machine_of(Precision::F32)
    }

    /// What programs of a precision are compiled for; double precision is the CPU's.
    pub(crate) fn machine_of(&self, precision: Precision) -> Machine {
        match (&self.device, precision) {
            (Some(device), Precision::F32) => {
                let target = Target::of(device.hold().device.capability());
                Machine::Gpu(Options { target, products: self.products })
            }
            (_, precision) => Machine::Cpu(precision),
        }
    }

    /// Workers that each of so many sequences has to itself; nothing on a GPU, where walks are split for its processors.
    pub(crate) fn workers(&self, batch: usize) -> Option<usize> {
        self.device.is_none().then(|| threads() / batch)
    }

    /// What a GPU is called; nothing for the CPU.
    pub(crate) fn name(&self) -> Option<String> {
        self.device.as_ref().map(|d| d.hold().device.name())
    }

    /// The device, where there is one.
    pub(crate) fn device(&self) -> Option<&Shared> {
        self.device.as_ref()
    }

    /// An executor of a program where it was compiled for.
    pub(crate) fn executor(&self, artifact: Artifact) -> Result<Executor, RunError> {
        match (&self.device, &artifact.device) {
            (Some(device), Some(_)) => Executor::on(artifact, device),
            (_, _) => Executor::new(artifact),
        }
    }
}

/// What to say of a device that is not there, or not enough; everything else is our fault.
fn refused(error: DeviceError) -> Failure {
    match error {
        DeviceError::Absent { .. } => Failure::usage(error),
        DeviceError::OutOfMemory { .. } => Failure::data(error),
        DeviceError::Failed { .. } => Failure::bug(error),
    }
}

/// What to say of a program that was not made ready.
pub(crate) fn unready(error: RunError) -> Failure {
    match error {
        RunError::Device(error) => refused(error),
        error @ RunError::TooLarge { .. } => Failure::data(error),
        error => Failure::bug(error),
    }
}
