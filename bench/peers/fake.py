"""A GPU that is not there: an H100 as Triton, fla and PyTorch would see it, for kernels that are compiled and never run."""
import types

import torch
import triton
from triton.backends.compiler import GPUTarget

PROPERTIES = {"max_shared_mem": 232448, "max_num_regs": 65536, "multiprocessor_count": 132, "warpSize": 32,
              "sm_clock_rate": 1980000, "mem_clock_rate": 2619000, "mem_bus_width": 5120}


class Utils:
    @staticmethod
    def get_device_properties(device):
        return PROPERTIES


class Driver:
    utils = Utils()
    launcher_cls = None

    @staticmethod
    def is_active():
        return True

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, device=None):
        return 0

    def get_device_capability(self, device=None):
        return (9, 0)

    def get_active_torch_device(self):
        return torch.device("cuda", 0)

    def get_device_interface(self):
        return torch.cuda

    def get_benchmarker(self):
        return bench


def bench(kernel_call, quantiles=None, **_):
    kernel_call()
    return [1.0, 1.0, 1.0]


def install():
    triton.runtime.driver.set_active(Driver())
    real = triton.JITFunction.run
    triton.JITFunction.run = lambda self, *args, grid, warmup, **kwargs: real(self, *args, grid=grid, warmup=True, **kwargs)
    cuda = torch.cuda
    cuda.is_available = lambda: True
    cuda.device_count = lambda: 1
    cuda.current_device = lambda: 0
    cuda.get_device_name = lambda *_: "NVIDIA H100 80GB HBM3"
    cuda.get_device_capability = lambda *_: (9, 0)
    cuda.get_device_properties = lambda *_: types.SimpleNamespace(
        name="NVIDIA H100 80GB HBM3", major=9, minor=0, multi_processor_count=132, total_memory=85 << 30,
        shared_memory_per_block=49152, shared_memory_per_block_optin=232448, shared_memory_per_multiprocessor=233472)
    cuda.synchronize = lambda *_: None
    # Tensors without storage have no index of a device, which fla takes for a device without shared memory.
    import fla.utils
    import fla.utils.hardware as hardware
    real_check = hardware.check_shared_mem
    fla.utils.check_shared_mem = hardware.check_shared_mem = lambda arch="none", tensor_idx=0: real_check(arch, tensor_idx or 0)

    class Event:
        def __init__(self, **_):
            pass

        def record(self, *_):
            pass

        def elapsed_time(self, other):
            return 1.0

    cuda.Event = Event


class Meta(torch.overrides.TorchFunctionMode):
    """Tensors asked of the GPU are made without storage, or where another device is said, there."""

    def __init__(self, device="meta"):
        super().__init__()
        self.device = device

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if str(kwargs.get("device", "")).startswith("cuda"):
            kwargs["device"] = self.device
        return func(*args, **kwargs)
