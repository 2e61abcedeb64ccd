#!/usr/bin/env python3
"""Writes down what flash-linear-attention launches at given rules and shapes: kernels as PTX, grids and parameters. Needs no GPU.

    pip install --target KIT/site --no-deps triton==3.7.1 fla-core==0.6.0 einops        # and PyTorch for CPUs beside it
    PEERS_KIT=KIT python3 bench/peers/trace.py --out traced gated_deltanet:1x256x2x128:both
    cargo run --release -p nestor-tests --bin count_traced -- traced/*.json

Where the library would measure configurations of a kernel and keep the fastest, all of them are written down, so that whoever counts may
take the one that does least. Results are never computed: a kernel is given what memory happens to hold, and its addresses.
"""

import argparse
import json
import os
import re
from pathlib import Path

import common

common.environment()
os.environ.pop("TRITON_STORE_BINARY_ONLY")
import torch
import triton  # The environment comes before it.

import device
import fake
from triton.runtime import autotuner

fake.install()


class Trace:
    """Launches of one call: each has configurations, of which one would be kept."""

    def __init__(self, folder):
        self.folder, self.launches, self.buffers, self.held, self.trying = folder, [], {}, [], None
        folder.mkdir(parents=True, exist_ok=True)

    def place(self, tensor):
        storage = tensor.untyped_storage()
        # What is given back may be given out again under the same address, as memory of a device is.
        self.held.append(storage)
        number = self.buffers.setdefault(storage.data_ptr(), len(self.buffers))
        return {"buffer": number, "bytes": storage.nbytes(), "offset": tensor.data_ptr() - storage.data_ptr()}

    def note(self, kernel, bound, grid):
        params = []
        for name, kind in kernel.src.signature.items():
            value = bound[name]
            if kind == "constexpr":
                continue
            if isinstance(value, torch.Tensor):
                params.append(self.place(value))
            elif isinstance(value, float):
                params.append({"float": value})
            else:
                params.append({"int": int(value)})
        grid = [*grid, 1, 1][:3]
        made = {"name": kernel.metadata.name, "blocks": grid[0] * grid[1] * grid[2], "threads": 32 * kernel.metadata.num_warps,
                "shared": kernel.metadata.shared, "params": params}
        text = linear(kernel.asm["ptx"], grid)
        file = f"{kernel.metadata.name}_{abs(hash(text)):x}.ptx"
        (self.folder / file).write_text(text)
        made["ptx"] = file
        if self.trying is None:
            self.launches.append([made])
        else:
            self.trying.append(made)


def linear(text, grid):
    """The kernel alone, with its blocks along one dimension."""
    text = re.sub(r"(?m)^\.global .*\n", "", text.split("\t.section")[0])
    if grid[1:] == [1, 1]:
        return text
    parts = {"x": (1, grid[0]), "y": (grid[0], grid[1]), "z": (grid[0] * grid[1], grid[2])}

    def place(match):
        to, (step, count) = match[1], parts[match[2]]
        return f"mov.u32 {to}, %ctaid.x;\n\tdiv.u32 {to}, {to}, {step};\n\trem.u32 {to}, {to}, {count};"

    return re.sub(r"mov\.u32 \t*(%r\d+), %ctaid\.([xyz]);", place, text)


def install(trace):
    compiled = triton.JITFunction.run

    def run(self, *args, grid, warmup, **kwargs):
        kernel = compiled(self, *args, grid=grid, warmup=True, **kwargs)
        binder = self.device_caches[0][4]
        bound = binder(*args, **kwargs)[0]
        trace.note(kernel, bound, grid(bound) if callable(grid) else grid)
        return kernel

    triton.JITFunction.run = run

    def tune(self, *args, **kwargs):
        """All configurations, none of them kept for the next call."""
        self.cache.clear()
        trace.trying = []
        try:
            self.nargs = dict(zip(self.arg_names, args))
            for config in self.prune_configs(kwargs):
                full = {**kwargs, **config.all_kwargs()}
                try:
                    self.fn.run(*args, **full)
                except Exception as error:
                    print(f"  {self.base_fn.__name__} {config}: {type(error).__name__}: {str(error)[:200]}")
        finally:
            kept, trace.trying = trace.trying, None
        if kept:
            trace.launches.append(kept)

    autotuner.Autotuner.run = tune


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("items", nargs="+", help="RULE:SHAPE:fwd|both")
    options = parser.parse_args()
    trace = Trace(options.out)
    install(trace)
    peers, note = device.fla()
    if note:
        raise SystemExit(note)
    for item in options.items:
        rule, shape, way = item.split(":")
        trace.buffers = {}
        # Tensors have storage of the CPU's, so that each has an address.
        with fake.Meta("cpu"):
            call = peers[rule](tuple(map(int, shape.split("x"))), way == "both")
            # What was launched to know the output's shape is no part of it.
            trace.launches = []
            call()
        (options.out / f"{rule}_{shape}_{way}.json").write_text(json.dumps(trace.launches, indent=1))
        print(f"{item}: {len(trace.launches)} launches, {sum(map(len, trace.launches))} configurations", flush=True)


if __name__ == "__main__":
    main()
