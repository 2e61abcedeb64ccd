"""What is the same where kernels of peers are compiled and where they run: environment, keys of the cache, what counts as a miss.

The kit is a folder, named by PEERS_KIT, with `site` (packages, Triton 3.7.1 among them) and `cache` (kernels).
"""

import os
import sys
from pathlib import Path

ROOT = Path(os.environ.get("PEERS_KIT", Path.cwd())).resolve()
BENCH = Path(__file__).resolve().parent.parent
KEY = "triton-3.7.1-peers"
ENV = {
    "TRITON_CACHE_DIR": str(ROOT / "cache"),
    "TRITON_MOCK_PTX_VERSION": "ptxas 12.8.93",  # only names the assembler in keys
    "TRITON_STORE_BINARY_ONLY": "1",
    "TRITON_DISABLE_LINE_INFO": "1",
    "TRITON_CACHE_AUTOTUNING": "1",
    "FLA_CACHE_RESULTS": "1",
    "FLA_CACHE_MODE": "disabled",
    "FLA_USE_TMA": "0",
    "FLA_TILELANG": "0",
    "TOKENIZERS_PARALLELISM": "false",
}
DROP = ["TRITON_INTERPRET", "TRITON_ALWAYS_COMPILE", "TRITON_KERNEL_DUMP", "TRITON_KERNEL_OVERRIDE", "TRITON_DEBUG",
        "FLA_TRIL_PRECISION", "FLA_USE_FAST_OPS", "FLA_GPU_NAME", "FLA_CONFIG_DIR", "FLA_CI_ENV", "PTXAS_OPTIONS"]


def environment():
    """Before triton is imported."""
    os.environ.update(ENV)
    for name in DROP:
        os.environ.pop(name, None)
    bundled = ROOT / "site/triton/backends/nvidia/bin/ptxas"
    if bundled.exists():
        os.environ["TRITON_PTXAS_PATH"] = str(bundled)
    sys.path[:0] = [str(ROOT / "site"), str(BENCH)]


def pin():
    """After triton is imported: keys that do not depend on the bytes of its library, groups of files without paths."""
    import triton
    import triton.runtime.autotuner as autotuner
    import triton.runtime.cache as cache

    assert triton.__version__ == "3.7.1", triton.__version__
    assert Path(triton.__file__).is_relative_to(ROOT), triton.__file__
    cache.triton_key = autotuner.triton_key = lambda: KEY

    def group(self, filename):
        if not self.has_file(filename):
            return None
        return {name: os.path.join(self.cache_dir, name) for name in os.listdir(self.cache_dir)
                if name.endswith((".json", ".cubin")) and not name.startswith("__grp__")
                and not name.endswith(".autotune.json")}

    cache.FileCacheManager.get_group = group


class Counter:
    """Compilations: hits, misses with their names, seconds."""

    def __init__(self):
        import triton

        self.hits, self.missed, self.seconds = 0, [], 0.0
        triton.knobs.compilation.listener = self

    def __call__(self, src, metadata, metadata_group, times, cache_hit):
        if cache_hit:
            self.hits += 1
        else:
            self.missed.append(f"{metadata['name']} warps {metadata['num_warps']} stages {metadata['num_stages']}")
            self.seconds += times.total / 1e6
