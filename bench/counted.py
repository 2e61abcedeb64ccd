#!/usr/bin/env python3
"""What kernels execute beside those of flash-linear-attention, both counted in the emulator of PTX, without a GPU.

    cargo build --release --workspace --features nestor-tests/cuda --bin device_suite --bin count_traced
    PEERS_KIT=KIT python3 bench/counted.py                  # KIT as `peers/trace.py` says

A line says instructions of warps, and bytes of memory that are read and written, of ours, of the peer's, and their ratio: of 64 tokens of a head,
from what more tokens take more, so that what is done once for a sequence doesn't count. Of the configurations that the peer would measure, each
kernel is counted by the one that executes least. Attention's are of all tokens, whose work grows with those before them.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RULES = "linear_attention,simple_gla,gla,deltanet,gated_deltanet,kda,softmax_attention"
COUNT = re.compile(r"(\d+) instructions of warps, (\d+) bytes read and written")


def counts(command, **more):
    """Instructions and bytes by line that says both."""
    ran = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, text=True, **more)
    if ran.returncode:
        sys.exit(f"{command[0]} ended with status {ran.returncode}")
    return [tuple(map(int, m.groups())) for m in map(COUNT.search, ran.stdout.splitlines()) if m]


def ours(rule, shape, way):
    words = ["--device", "counted", "--products", "bf16", "--rules", rule, "--shapes", shape, "--ways", way]
    return counts([ROOT / "target/release/device_suite", *words])[0]


def theirs(rule, shape, way):
    with tempfile.TemporaryDirectory() as folder:
        trace = [sys.executable, ROOT / "bench/peers/trace.py", "--out", folder, f"{rule}:{shape}:{way}"]
        subprocess.run([str(c) for c in trace], check=True, stdout=subprocess.DEVNULL)
        file = Path(folder) / f"{rule}_{shape}_{way}.json"
        return counts([ROOT / "target/release/count_traced", file], stderr=subprocess.DEVNULL)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", default=RULES)
    parser.add_argument("--widths", default="128")
    parser.add_argument("--ways", default="fwd,both")
    options = parser.parse_args()
    if "PEERS_KIT" not in os.environ:
        sys.exit("PEERS_KIT says where the peer's packages are")
    print("| rule, width | | instructions | theirs | ratio | KB | theirs | ratio |\n|---|---|---|---|---|---|---|---|")
    for rule in options.rules.split(","):
        for width in options.widths.split(","):
            for way in options.ways.split(","):
                sides = [each(side, rule, width, way) for side in (ours, theirs)]
                cells = [f"{a:.0f} | {b:.0f} | {a / b:.2f}" for a, b in zip(*sides)]
                print(f"| {rule}, {width} | {way} | {' | '.join(cells)} |", flush=True)


def each(side, rule, width, way):
    """Instructions, and KB, of 64 tokens of a head; of attention, of all tokens."""
    instructions, moved = side(rule, f"1x512x2x{width}", way)
    if rule == "softmax_attention":
        return instructions, moved / 1e3
    fewer, less = side(rule, f"1x256x2x{width}", way)
    pieces = (512 - 256) // 64 * 2
    return (instructions - fewer) / pieces, (moved - less) / 1e3 / pieces


if __name__ == "__main__":
    main()
