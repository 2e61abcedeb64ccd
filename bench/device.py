#!/usr/bin/env python3
"""What is measured on a machine with a GPU, within ten minutes: are all rules right there, is the emulator the device, and
how long do rules take at the shapes that others publish, beside flash-linear-attention and titans-pytorch where they are installed.

    cargo build --release --workspace --features nestor-tests/cuda,nestor/cuda --bin device_suite
    python3 bench/device.py --json bench/results/device.json
    python3 bench/device.py --device emulator --shapes 1x40x2x16 --rules gated_deltanet --seconds 600     # without a GPU

A line says milliseconds of ours, of the peer, and which part of the two physical floors ours reaches: bytes of inputs and
outputs over the measured copy bandwidth, operations of the form over the measured rate of a large matrix product.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHAPES = "1x8192x96x128,2x16384x16x128,4x2048x16x128,4x4096x64x128,8x2048x32x256,8x1024x8x64"
# Gated DeltaNet with as many heads of values as published figures have, one sequence of 8192 and of 32768.
MORE = "1x32768x64x128,1x8192x64x128,1x32768x32x128,1x8192x32x128,1x32768x8x128"
RULES = "gated_deltanet,gla,linear_attention,simple_gla,deltanet,kda,titans_mlp"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0", help="or `emulator`")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/device_suite")
    parser.add_argument("--products", default="bf16", help="float32, tf32x3, tf32 or bf16")
    parser.add_argument("--seconds", type=int, default=540, help="of all together")
    parser.add_argument("--shapes", default=SHAPES)
    parser.add_argument("--more", action="store_true", help="long sequences of Gated DeltaNet, too")
    parser.add_argument("--rules", default=RULES)
    parser.add_argument("--no-checks", action="store_true")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def ours(options, seconds, rules, shapes, checks):
    """Runs our side; its report."""
    command = [options.binary, "--device", options.device, "--products", options.products]
    command += ["--seconds", str(seconds), "--rules", rules, "--shapes", shapes]
    if not checks:
        command.append("--no-checks")
    ran = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, text=True, timeout=2 * seconds + 120)
    if ran.returncode:
        sys.exit(f"{options.binary} ended with status {ran.returncode}")
    return json.loads(ran.stdout)


def fla():
    """Peers by rule: a function of a shape that gives a function to time and its inputs."""
    try:
        import torch
        import torch.nn.functional as F
        from fla.ops import attn, delta_rule, gated_delta_rule, gla, kda, linear_attn, simple_gla
    except ImportError as error:
        return {}, f"flash-linear-attention is not timed: {error}"
    if not torch.cuda.is_available():
        return {}, "flash-linear-attention is not timed: PyTorch sees no GPU"

    def tensors(shape, gates):
        batch, length, heads, width = shape
        full, scalar = (batch, length, heads, width), (batch, length, heads)
        kind = dict(device="cuda", dtype=torch.bfloat16)
        q, k, v = (torch.randn(full, **kind).requires_grad_() for _ in range(3))
        made = {"q": q, "k": k, "v": v}
        if gates in ("scalar", "delta-gated"):
            made["g"] = F.logsigmoid(torch.randn(scalar, device="cuda")).requires_grad_()
        if gates in ("channel", "delta-channel"):
            made["g"] = F.logsigmoid(torch.randn(full, device="cuda")).clamp_min(-5).requires_grad_()
        if gates.startswith("delta"):
            made["beta"] = torch.rand(scalar, **kind).requires_grad_()
        return made

    def delta(run):
        return lambda **t: run(use_qk_l2norm_in_kernel=True, **t)

    table = {
        "gated_deltanet": (delta(gated_delta_rule.chunk_gated_delta_rule), "delta-gated"),
        "deltanet": (delta(delta_rule.chunk_delta_rule), "delta"),
        "kda": (delta(kda.chunk_kda), "delta-channel"),
        "gla": (gla.chunk_gla, "channel"),
        "simple_gla": (simple_gla.chunk_simple_gla, "scalar"),
        "linear_attention": (lambda **t: linear_attn.chunk_linear_attn(normalize=False, **t), "none"),
        "softmax_attention": (lambda **t: (attn.parallel_attn(**t),), "none"),
    }

    def peer(run, gates):
        def of(shape, both):
            made = tensors(shape, gates)
            for tensor in made.values():
                tensor.requires_grad_(both)
            out = run(**made)[0]
            cotangent = torch.randn_like(out)

            def call():
                out = run(**made)[0]
                if both:
                    torch.autograd.grad(out, list(made.values()), cotangent)

            return call

        return of

    return {rule: peer(*what) for rule, what in table.items()}, None


def titans():
    """The two-layer memory of titans-pytorch."""
    try:
        import torch
        from titans_pytorch import NeuralMemory
    except ImportError as error:
        return {}, f"titans-pytorch is not timed: {error}"
    if not torch.cuda.is_available():
        return {}, "titans-pytorch is not timed: PyTorch sees no GPU"

    def of(shape, both):
        batch, length, heads, width = shape
        model = NeuralMemory(dim=heads * width, dim_head=width, heads=heads, chunk_size=16).cuda()
        x = torch.randn(batch, length, heads * width, device="cuda", requires_grad=both)

        def call():
            out = model(x)[0]
            if both:
                torch.autograd.grad(out.sum(), [x, *(p for p in model.parameters() if p.requires_grad)], allow_unused=True)

        return call

    return {"titans_mlp": of}, None


def timed(of, shape, both):
    """Milliseconds of a peer, the median of rounds of a tenth of a second."""
    import torch

    call = of(shape, both)
    for _ in range(5):
        call()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    times = []
    for _ in range(10):
        begin.record()
        call()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    return sorted(times)[len(times) // 2]


def main():
    options = arguments()
    began = time.time()
    left = lambda: options.seconds - (time.time() - began)
    report = ours(options, int(options.seconds * 0.5), options.rules, options.shapes, not options.no_checks)
    if options.more:
        more = ours(options, max(20, int(left() * 0.3)), "gated_deltanet", MORE, False)
        report["timings"] += more["timings"]
    peers, notes = {}, []
    for made, note in (fla(), titans()):
        peers |= made
        notes += [note] if note else []
    for one in report["timings"]:
        if one["rule"] not in peers:
            continue
        if left() < 15:
            one["peer_error"] = "no time is left"
            continue
        try:
            one["peer_milliseconds"] = timed(peers[one["rule"]], one["shape"], one["both"])
        except Exception as error:  # A peer that fails is a line of the table, not the end of it.
            one["peer_error"] = f"{type(error).__name__}: {error}"
    report["notes"], report["machine"] = notes, platform.platform()
    show(report)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    if report.get("cases", {}).get("wrong"):
        sys.exit(1)


def show(report):
    print(f"{report['device']}, {report['target']}, products {report['products']}")
    if "cases" in report:
        print(f"{report['cases']['all'] - report['cases']['wrong']} of {report['cases']['all']} golden cases are right")
        for case in report["each_case"]:
            if case.get("error") or case.get("share", 0) > 1:
                print(f"  {case['case']}: {case.get('error') or case}")
        for case in report["emulator"]:
            print(f"  emulator and device, {case['case']}: {case.get('error') or '%.1e apart' % case['apart']}")
    limits = report["limits"]
    print(f"copies {limits['copy_bytes_per_second'] / 1e9:.1f} GB/s, products {limits['product_operations_per_second'] / 1e12:.3f} Tflop/s")
    print(f"{'rule':<18} {'B T H D':<18} {'':<5} {'ms':>9} {'peer ms':>9} {'peer/ours':>9} {'of copy':>8} {'of product':>10}")
    for one in report["timings"]:
        shape, both = " ".join(map(str, one["shape"])), "both" if one["both"] else "fwd"
        head = f"{one['rule']:<18} {shape:<18} {both:<5}"
        if "error" in one:
            print(head, one["error"].splitlines()[0])
            continue
        peer = one.get("peer_milliseconds")
        beside = f"{peer:>9.3f} {peer / one['milliseconds']:>9.2f}" if peer else f"{'-':>9} {'-':>9}"
        print(head, f"{one['milliseconds']:>9.3f} {beside} {one['of_copy']:>8.3f} {one['of_product']:>10.3f}")
    for note in report["notes"]:
        print(note)


if __name__ == "__main__":
    main()
