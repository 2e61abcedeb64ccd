"""What a figure depends on: processor, libraries, threads, load."""

import os
import platform
import re
from pathlib import Path

import torch


def facts(threads):
    """As much of the machine as belongs beside a figure."""
    built = torch.__config__.show()
    parallel = torch.__config__.parallel_info()
    libraries = re.findall(r"(?m)^\s*-?\s*(Intel\(R\)[^\n]*Version[^\n]*|Intel\(R\) MKL-DNN[^\n]*)", built)
    blas = re.search(r"BLAS_INFO=(\w+)", built)
    pool = re.search(r"ATen parallel backend: (\w+)", parallel)
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": list(os.getloadavg()),
        "threads": {"nestor": threads, "torch": torch.get_num_threads()},
        "python": platform.python_version(),
        "torch": torch.__version__,
        "matrix_library": blas[1] if blas else "unknown",
        "libraries": libraries,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "parallel_backend": pool[1] if pool else "unknown",
        "environment": {k: v for k, v in os.environ.items() if re.match("(OMP|MKL|GOMP|KMP)_", k)},
    }


def processor():
    """The model of the processor."""
    path = Path("/proc/cpuinfo")
    if path.exists():
        found = re.search(r"(?m)^model name\s*:\s*(.*)$", path.read_text())
        family = re.search(r"(?m)^model\s*:\s*(.*)$", path.read_text())
        if found:
            return f"{found[1]} (model {family[1]})" if family else found[1]
    return platform.processor()
