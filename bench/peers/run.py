#!/usr/bin/env python3
"""Times flash-linear-attention and titans-pytorch by the functions of `device.py`, with kernels that `fill.py` compiled beforehand.

    PEERS_KIT=KIT python3 bench/peers/run.py --seconds 300 --skip-missing --json peers.jsonl --tuned tuned.json

A file of --tuned that exists is read first (no tuning is done for what it holds) and is written again as results come. A line of which
`skipped` is not zero was tuned over fewer configurations than the library has, and is not its best.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

began = time.time()
import common

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--seconds", type=float, default=300)
parser.add_argument("--json", type=Path, default=Path("peers.jsonl"))
parser.add_argument("--tuned", type=Path, default=None)
parser.add_argument("--rules", default="gated_deltanet,gla,linear_attention,simple_gla,deltanet,kda,titans_mlp")
parser.add_argument("--shapes", default="1x8192x96x128,2x16384x16x128,4x2048x16x128,4x4096x64x128,8x2048x32x256,8x1024x8x64")
parser.add_argument("--titans-shapes", default="8x1024x8x64,1x2048x16x64")
parser.add_argument("--compile", action="store_true", help="compile configurations that are missing while tuning, too")
parser.add_argument("--no-checks", action="store_true")
parser.add_argument("--skip-missing", action="store_true", help="a rule and shape of which any kernel is missing is a line of error, nothing is compiled")
parser.add_argument("--fake", action="store_true", help="without a GPU: counts what is missing, runs nothing")
options = parser.parse_args()
if options.tuned is None:
    options.tuned = options.json.with_name("tuned.json")

common.environment()
cache = Path(os.environ["TRITON_CACHE_DIR"])
if not options.fake:
    for source in (common.ROOT / "tuned.json", options.tuned):
        if source.exists():
            for name, content in json.loads(source.read_text()).items():
                (cache / name).parent.mkdir(parents=True, exist_ok=True)
                (cache / name).write_text(content)

import torch
import triton
common.pin()
if options.fake:
    import fake
    fake.install()
from triton.runtime import autotuner, jit
from triton.runtime.errors import OutOfResources

import device

counter = common.Counter()
tuning = {"depth": 0, "seconds": 0.0, "kernels": 0, "configurations": 0, "skipped": 0}
files = {}  # of tuning


class Missing(RuntimeError):
    """A kernel is not in the cache."""


# Short benchmarks: a cleared cache of the second level before each run, which also hides the time of a launch.
state = {}


def bench(kernel_call, quantiles=None, **_):
    tuning["configurations"] += 1
    if options.fake:
        kernel_call()
        return [1.0, 1.0, 1.0]
    if "clear" not in state:
        state["clear"] = torch.empty(1 << 26, dtype=torch.int32, device="cuda")
        state["events"] = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(5)]
    kernel_call()
    kernel_call()
    for begin, end in state["events"]:
        state["clear"].zero_()
        begin.record()
        kernel_call()
        end.record()
    torch.cuda.synchronize()
    times = sorted(begin.elapsed_time(end) for begin, end in state["events"])
    return [times[2], times[0], times[4]]


autotuner.Autotuner.do_bench = property(lambda self: bench)
real_run, real_bench, real_compile = autotuner.Autotuner.run, autotuner.Autotuner._bench, jit.JITFunction._do_compile


def run(self, *args, **kwargs):
    before = time.time()
    known = len(self.cache)
    out = real_run(self, *args, **kwargs)
    if len(self.cache) > known:
        tuning["kernels"] += 1
        tuning["seconds"] += time.time() - before
    return out


def _bench(self, *args, config, **meta):
    tuning["depth"] += 1
    try:
        return real_bench(self, *args, config=config, **meta)
    finally:
        tuning["depth"] -= 1


def cached(self, dev, signature, constexprs, options_, attrs):
    _, _, target, backend, _ = self.device_caches[dev]
    src = self.ASTSource(self, signature, constexprs, attrs)
    key = jit.get_cache_key(src, backend, options_, jit.get_cache_invalidating_env_vars())
    import hashlib
    manager = triton.runtime.cache.get_cache_manager(hashlib.sha256(key.encode()).hexdigest())
    return manager.has_file(f"{src.name[:150]}.json")


def _do_compile(self, key, signature, dev, constexprs, options_, attrs, warmup):
    if not cached(self, dev, signature, constexprs, options_, attrs):
        if tuning["depth"] and not options.compile:
            tuning["skipped"] += 1
            raise OutOfResources(1, 0, "cache")
        if options.skip_missing:
            raise Missing(f"{self._fn_name} is not in the cache")
    return real_compile(self, key, signature, dev, constexprs, options_, attrs, warmup)


autotuner.Autotuner.run, autotuner.Autotuner._bench, jit.JITFunction._do_compile = run, _bench, _do_compile
if options.fake:
    autotuner.Autotuner.check_disk_cache = lambda self, key, configs, measure: (measure(), False)[1]


def save_tuned():
    if options.fake:
        return
    for path in cache.glob("*/*.autotune.json"):
        name = str(path.relative_to(cache))
        if name not in files:
            files[name] = path.read_text().replace("Infinity", "1e30")
    partial = options.tuned.with_suffix(".part")
    partial.write_text(json.dumps(files))
    partial.replace(options.tuned)


def line(one):
    one["at"] = round(time.time() - began, 1)
    with open(options.json, "a") as out:
        out.write(json.dumps(one) + "\n")
    text = " ".join(f"{key}={value}" for key, value in one.items() if key not in ("rule", "shape", "both"))
    print(f"{one.get('rule', ''):<17}{'x'.join(map(str, one.get('shape', []))):<16}{'both' if one.get('both') else 'fwd':<5}{text}", flush=True)


def reference(rule, t):
    """The rule token by token in float64; the inputs are those of `device.py`."""
    q, k, v = (t[n].double() for n in "qkv")
    width = q.shape[-1]
    if rule in ("gated_deltanet", "deltanet", "kda"):
        q, k = (x / (x.square().sum(-1, keepdim=True) + 1e-6).sqrt() for x in (q, k))
    memory = torch.zeros(*q.shape[:1], *q.shape[2:], width, dtype=torch.float64, device=q.device)
    outs = []
    for i in range(q.shape[1]):
        if "g" in t:
            g = t["g"][:, i].double().exp()
            memory = memory * (g[..., None, None] if g.dim() == 2 else g[..., None])
        new = v[:, i]
        if "beta" in t:
            new = (new - torch.einsum("bhk,bhkv->bhv", k[:, i], memory)) * t["beta"][:, i].double()[..., None]
        memory = memory + k[:, i, :, :, None] * new[..., None, :]
        outs.append(torch.einsum("bhk,bhkv->bhv", q[:, i], memory) * width**-0.5)
    return torch.stack(outs, 1)


def check(rule, of):
    """The peer's own call at a small shape against the recurrence: its inputs are read from the closure of `device.py`."""
    torch.manual_seed(0)
    call = of((8, 128, 8, 64), False)
    inside = dict(zip(call.__code__.co_freevars, (c.cell_contents for c in call.__closure__)))
    with torch.no_grad():
        out = inside["run"](**inside["made"])[0]
        if options.fake:
            return line({"rule": rule, "check": "fake", "misses": len(counter.missed)})
        want = reference(rule, inside["made"])
        error = ((out.double() - want).norm() / want.norm()).item()
    line({"rule": rule, "check": f"{error:.2e}", "right": error < 2e-2})


def main():
    peers = {}
    for made, note in (device.fla(), device.titans() if "titans_mlp" in options.rules else ({}, None)):
        peers |= made
        if note:
            line({"note": note})
    line({"note": f"ready: {'no GPU' if options.fake else torch.cuda.get_device_name(0)}, torch {torch.__version__}, triton {triton.__version__}"})
    shape = lambda text: tuple(map(int, text.split("x")))
    rules = options.rules.split(",")
    work = []
    for rule in rules:
        for text in (options.titans_shapes if rule == "titans_mlp" else options.shapes).split(","):
            work += [(rule, shape(text), both) for both in (False, True)]
    checked = set()
    for rule, size, both in work:
        if rule not in peers:
            continue
        if time.time() - began > options.seconds:
            line({"rule": rule, "shape": size, "both": both, "error": "no time is left"})
            continue
        misses, tuned, skipped, seconds = len(counter.missed), tuning["seconds"], tuning["skipped"], counter.seconds
        start = time.time()
        one = {"rule": rule, "shape": size, "both": both}
        try:
            if rule not in checked and rule != "titans_mlp" and not options.no_checks:
                checked.add(rule)
                check(rule, peers[rule])
            if options.fake:
                peers[rule](size, both)()
            else:
                one["milliseconds"] = round(device.timed(peers[rule], size, both), 4)
        except Exception as error:  # A peer that fails is a line, not the end.
            one["error"] = f"{type(error).__name__}: {error}"[:400]
        if not options.fake:
            torch.cuda.empty_cache()
        one |= {"took": round(time.time() - start, 2), "tuning": round(tuning["seconds"] - tuned, 2),
                "compiled": len(counter.missed) - misses, "compile_s": round(counter.seconds - seconds, 2), "skipped": tuning["skipped"] - skipped}
        if counter.missed[misses:]:
            one["compiled_what"] = counter.missed[misses:]
        line(one)
        save_tuned()
    line({"note": f"kernels from the cache {counter.hits}, compiled {len(counter.missed)} in {counter.seconds:.1f} s, "
                  f"tuned {tuning['kernels']} kernels with {tuning['configurations']} configurations in {tuning['seconds']:.1f} s, "
                  f"configurations skipped since not in the cache {tuning['skipped']}"})


if __name__ == "__main__":
    if options.fake:
        with fake.Meta():
            main()
    else:
        main()
