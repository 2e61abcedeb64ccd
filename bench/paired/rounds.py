"""Rounds: every side once in each, one after the other, so that all see the same load of the machine."""

import statistics
import sys
import time
from dataclasses import dataclass
from typing import Callable

import torch


@dataclass
class Side:
    """Something that is timed."""

    name: str
    #: Milliseconds of one call.
    measure: Callable[[], float]
    #: Operations of one call, a multiplication and an addition being two; 0 where not counted.
    flops: float
    #: Milliseconds until the first call could return.
    compile_ms: float
    #: Whether it is the compiler's; peers are compared with those that are.
    ours: bool = False


def timed(call, calls=1):
    """Milliseconds of one call; of several, one that is not counted comes first."""
    if calls > 1:
        call()
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) * 1e3 / calls


def say(text):
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


def compare(title, sides, rounds, pause=0.05):
    """Times all sides in turn. The first round warms up and is not counted."""
    samples = [[] for _ in sides]
    for number in range(rounds + 1):
        say(f"{title}: round {number} of {rounds}")
        for side, found in zip(sides, samples):
            # Workers of the side before may still spin in wait of work.
            time.sleep(pause)
            taken = side.measure()
            if number:
                found.append(taken)
    ours = [(s.name, found) for s, found in zip(sides, samples) if s.ours]
    rows = [row(side, found, ours) for side, found in zip(sides, samples)]
    return {"title": title, "rounds": rounds, "sides": rows}


def row(side, found, ours):
    """What is told of one side."""
    median = statistics.median(found)
    ratios = {}
    for name, reference in ours:
        each = [theirs / mine for theirs, mine in zip(found, reference)]
        if not side.ours:
            ratios[name] = {
                "median": statistics.median(each),
                "minimum": min(each),
                "maximum": max(each),
            }
    return {
        "name": side.name,
        "ours": side.ours,
        "compile_ms": side.compile_ms,
        "flops": side.flops,
        "median_ms": median,
        "minimum_ms": min(found),
        "gflops_per_s": side.flops / median / 1e6,
        "ratio": ratios,
        "samples_ms": found,
    }


def table(result):
    """A comparison as text."""
    lines = [
        f"\n{result['title']}",
        f"{'':44} {'median':>9} {'minimum':>9} {'GFLOP/s':>8} {'compile':>9}   times ours, by round",
    ]
    for side in result["sides"]:
        ratios = " | ".join(
            f"{r['median']:.2f} ({r['minimum']:.2f} to {r['maximum']:.2f})"
            for r in side["ratio"].values()
        )
        rate = f"{side['gflops_per_s']:8.1f}" if side["flops"] else f"{'':8}"
        lines.append(
            f"{side['name']:44} {side['median_ms']:6.2f} ms {side['minimum_ms']:6.2f} ms {rate}"
            f" {side['compile_ms'] / 1e3:7.2f} s   {ratios}"
        )
    return "\n".join(lines)


def difference(ours, theirs):
    """The largest difference of two tensors over the largest value of theirs."""
    scale = theirs.abs().max().item() or 1.0
    return ((ours.reshape(theirs.shape) - theirs).abs().max() / scale).item()


def pairs(found, out, inputs, named):
    """What ours put out beside the peer's output `y` and the gradients of its inputs, for the cotangent in `named`."""
    gradients = torch.autograd.grad(out, inputs, named["grad.y"])
    both = {"y": (found["y"], out)}
    for name, gradient in zip(named, gradients):
        both[f"grad.{name}"] = (found[f"grad.{name}"], gradient)
    return both


def agreement(title, pairs, bound):
    """Compares tensors of both sides by name, and stops where they differ."""
    worst = {name: difference(a.detach(), b.detach()) for name, (a, b) in pairs.items()}
    name = max(worst, key=lambda n: worst[n] if worst[n] == worst[n] else float("inf"))
    text = f"{title}: {len(pairs)} tensors agree to {worst[name]:.1e} ({name})"
    if not all(value <= bound for value in worst.values()):
        wrong = {n: f"{v:.1e}" for n, v in worst.items() if not v <= bound}
        sys.exit(f"{title}: both sides differ by more than {bound:.0e}: {wrong}")
    say(text)
    return {"title": title, "bound": bound, "worst": worst}
