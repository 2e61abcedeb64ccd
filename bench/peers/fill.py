#!/usr/bin/env python3
"""Compiles, without a GPU, all kernels that flash-linear-attention's autotuner would try at given rules and shapes.

    pip install --target KIT/site --python-version 3.12 --only-binary=:all: --no-deps triton==3.7.1 fla-core==0.6.0 ...
    PEERS_KIT=KIT python3.12 bench/peers/fill.py --seconds 3000 gated_deltanet:1x8192x96x128,2x16384x16x128:both gla:8x1024x8x64:fwd

Needs PyTorch for CPUs beside the kit. What is in the cache already is found there, so that it may be stopped and called again. Then
`tar c site cache` is what `run.py` needs on a machine with an H100.
"""

import argparse
import time

import common

common.environment()
import triton  # The environment comes before it.

common.pin()
import device
import fake
from triton.runtime import autotuner

fake.install()


class Over(Exception):
    """The time is over."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3000)
    parser.add_argument("items", nargs="+", help="RULE:SHAPE,...:fwd|both")
    options = parser.parse_args()
    began, counter = time.time(), common.Counter()
    # Results of tuning that measures nothing are never kept.
    autotuner.Autotuner.check_disk_cache = lambda self, key, configs, bench: (bench(), False)[1]
    compile_one = triton.JITFunction._do_compile

    def limited(self, *args, **kwargs):
        if time.time() - began > options.seconds:
            raise Over
        return compile_one(self, *args, **kwargs)

    triton.JITFunction._do_compile = limited
    peers, note = device.fla()
    if note:
        print(note)
    for item in options.items:
        rule, shapes, way = item.split(":")
        for text in shapes.split(","):
            missed, since = len(counter.missed), time.time()
            try:
                with fake.Meta():
                    peers[rule](tuple(map(int, text.split("x"))), way == "both")()
                state = "ok"
            except Over:
                return print(f"the time is over at {rule} {text} {way}")
            except Exception as error:  # One that fails is a line, not the end.
                state = f"{type(error).__name__}: {error}"[:300]
            compiled = len(counter.missed) - missed
            print(f"{rule} {text} {way}: {state}; compiled {compiled} in {time.time() - since:.0f} s", flush=True)


if __name__ == "__main__":
    main()
