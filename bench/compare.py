#!/usr/bin/env python3
"""Paired timings of compiled programs against PyTorch; `bench/README.md` says what each command measures."""

import argparse
import json
import os
import sys
from pathlib import Path

try:
    import torch
except ImportError:
    sys.exit("PyTorch is missing: `pip install torch` (and titans-pytorch for `memory`)")

from paired import attention, gated_delta, language_model, limit, machine, memory, ours, rounds


def agree(options):
    """Both sides on the same inputs, at small sizes."""
    yield gated_delta.agree(options)
    yield gated_delta.agree(options, batch=1, time=192, heads=2, width=128)
    for chunk, anchor in ((16, 16), (16, None), (1, 16)):
        yield memory.agree(options, chunk, anchor)
    yield attention.agree(options)
    yield attention.agree(options, window=50)
    yield from language_model.agree(options)


def arguments():
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name, run, about, batch=2, time=1024):
        one = commands.add_parser(name, help=about, description=about)
        one.set_defaults(run=run, batch=batch, time=time)
        one.add_argument("--threads", type=int, default=os.cpu_count(), help="of both sides")
        one.add_argument("--rounds", type=int, default=10, help="counted ones, after one to warm up")
        one.add_argument("--binary", type=Path, help="nestor-bench; built where left out")
        one.add_argument("--json", type=Path, help="where everything measured goes")
        return one

    def shaped(one):
        one.add_argument("--batch", type=int)
        one.add_argument("--time", type=int)

    def compiled(one):
        one.add_argument(
            "--compile",
            nargs="*",
            default=["default"],
            choices=list(gated_delta.VARIANTS),
            help="ways of torch.compile to measure beside eager",
        )

    op = command("op", gated_delta.run, "the gated delta rule, forward and both ways")
    lm = command("step", language_model.run, "a step of training", batch=4, time=512)
    mlp = command("memory", memory.run, "the two-layer memory against titans-pytorch")
    pairs = command("attention", attention.run, "softmax attention, forward and both ways")
    for one in (op, lm, mlp, pairs):
        shaped(one)
    for one in (op, mlp, pairs):
        one.add_argument("--heads", type=int, default=4)
        one.add_argument("--width", type=int, default=64)
    for one in (op, lm):
        compiled(one)
    for one, calls in ((op, 10), (mlp, 2), (pairs, 5)):
        told = "calls a turn of each side; the first of several is not counted"
        one.add_argument("--calls", type=int, default=calls, help=told)
    lm.add_argument(
        "--whole", action="store_true", help="torch.compile the model at once, not block by block"
    )
    pairs.add_argument("--window", type=int, help="only the last so many tokens are seen")
    op.add_argument("--peer-chunk", type=int, default=64, help="tokens of the peer's chunks")
    mlp.add_argument("--chunk", type=int, nargs="+", default=[64, 16])
    mlp.add_argument("--tokens", action="store_true", help="measure our write at every token, too")
    mlp.add_argument("--compile-peer", action="store_true", help="try torch.compile on the peer")
    command("agree", agree, "both sides compute the same")
    command("limit", limit.run, "matrix products of both sides")
    return parser.parse_args()


def main():
    """Runs one command; tables go to standard output, progress to standard error."""
    options = arguments()
    torch.set_num_threads(options.threads)
    # The compiler's programs treat numbers too small to be normal as zero, so the peer may too.
    torch.set_flush_denormal(True)
    options.binary = options.binary or ours.build()
    facts = machine.facts(options.threads)
    told = f"{facts['processor']}, {options.threads} threads a side, torch {facts['torch']}"
    print(f"{told}, matrix library {facts['matrix_library']} ({'; '.join(facts['libraries'])})")
    results = []
    for result in options.run(options):
        results.append(result)
        if "sides" in result:
            print(rounds.table(result), flush=True)
        facts["load_after"] = list(os.getloadavg())
        if options.json:
            asked = {k: str(v) for k, v in vars(options).items() if k != "run"}
            whole = {"asked": asked, "machine": facts, "results": results}
            options.json.write_text(json.dumps(whole, indent=1))


if __name__ == "__main__":
    main()
