#!/usr/bin/env python3
"""Makes the kernels beside it: PTX that another compiler, Triton, writes for programs of a few lines. Needs no GPU.

    pip install triton==3.9.0
    python3 tests/emulator/tests/foreign/make.py

Their instructions of matrix products and copies run on hardware every day, so that what they compute is what these instructions mean,
whatever was understood of the book. Text is changed where the emulator wants more order than a device: nothing stands between the products of
a group and their wait, a barrier is fenced when it was made, and labels are those of the whole kernel.
"""

import os
import pathlib
import re

os.environ.update(TRITON_DISABLE_LINE_INFO="1", TRITON_DEFAULT_FP_FUSION="1")

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

HERE = pathlib.Path(__file__).parent
DEPTH = 256


@triton.jit
def product(
    a, b, c, depth, a_row: tl.constexpr, a_step: tl.constexpr, b_step: tl.constexpr, b_column: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, K: tl.constexpr,
):
    """c = a b, from plain addresses."""
    row, column, step = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    total = tl.zeros((M, N), tl.float32)
    for k in range(0, depth, K):
        left = tl.load(a + row[:, None] * a_row + (k + step)[None, :] * a_step)
        right = tl.load(b + (k + step)[:, None] * b_step + column[None, :] * b_column)
        total = tl.dot(left, right, total)
    tl.store(c + row[:, None] * N + column[None, :], total)


@triton.jit
def boxes(
    a, b, c, depth, a_turned: tl.constexpr, b_turned: tl.constexpr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr
):
    """c = a b, from boxes of tensors."""
    row, column = tl.arange(0, M), tl.arange(0, N)
    total = tl.zeros((M, N), tl.float32)
    for k in range(0, depth, K):
        if a_turned:
            left = a.load([k, 0]).T
        else:
            left = a.load([0, k])
        if b_turned:
            right = b.load([0, k]).T
        else:
            right = b.load([k, 0])
        total = tl.dot(left, right, total)
    tl.store(c + row[:, None] * N + column[None, :], total)


@triton.jit
def planes(a, b, c, depth, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    """c = a b, with a in boxes of three dimensions: half of the rows, and those that lie behind all of them."""
    row, column = tl.arange(0, M), tl.arange(0, N)
    total = tl.zeros((M, N), tl.float32)
    for k in range(0, depth, K):
        total = tl.dot(a.load([0, 0, k]).reshape(M, K), b.load([k, 0]), total)
    tl.store(c + row[:, None] * N + column[None, :], total)


@triton.jit
def attention(q, k, v, o, scale, M: tl.constexpr, N: tl.constexpr, D: tl.constexpr):
    """Causal attention of a piece of M tokens, to powers of two."""
    first = tl.program_id(0) * M
    row, token, d = first + tl.arange(0, M), tl.arange(0, N), tl.arange(0, D)
    query = tl.load(q + row[:, None] * D + d[None, :])
    top = tl.full((M,), -float("inf"), tl.float32)
    weight, total = tl.zeros((M,), tl.float32), tl.zeros((M, D), tl.float32)
    for n in range(0, first + M, N):
        key = tl.load(k + (n + token)[None, :] * D + d[:, None])
        score = tl.dot(query, key) * scale
        score = tl.where(row[:, None] >= (n + token)[None, :], score, -float("inf"))
        higher = tl.maximum(top, tl.max(score, 1))
        part, kept = tl.exp2(score - higher[:, None]), tl.exp2(top - higher)
        weight, total, top = weight * kept + tl.sum(part, 1), total * kept[:, None], higher
        value = tl.load(v + (n + token)[:, None] * D + d[None, :])
        total = tl.dot(part.to(tl.bfloat16), value, total)
    tl.store(o + row[:, None] * D + d[None, :], total / weight[:, None])


def plain(text, alone):
    """The kernel alone, as the emulator reads it; `alone` where nothing is to stand among products."""
    text = text.split(".section")[0]
    # Of what stands outside, only shared memory is its own.
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("//")]
    text = "".join(f"{line}\n" for line in lines if not line.startswith(".global"))
    # Loops that wait for a barrier have names of their own.
    count = [0]

    def named(match):
        count[0] += 1
        inside = match[1].replace("complete", f"%done{count[0]}").replace("waitLoop", f"wait{count[0]}")
        return re.sub(r"\t\.reg .*\n", "", inside)

    text = re.sub(r"\{\n(\t\.reg \.pred complete;\n[^}]*)\}\n", named, text)
    text = re.sub(r"(.* mbarrier\.init.*\n)", r"\1\tfence.proxy.async.shared::cta;\n", text)
    if not alone:
        return text
    # What stands among products goes before their fence: none of it touches their registers.
    out, held = [], None
    for line in text.splitlines(keepends=True):
        if "wgmma.fence" in line:
            held = []
        if held is not None and "wgmma" not in line:
            out.append(line)
        else:
            (out if held is None else held).append(line)
        if "wgmma.wait_group" in line:
            out, held = out + held, None
    return "".join(out)


def write(name, program, types, constants, arch, warps=4, stages=1):
    """Compiles for an architecture and so many warps a block; addresses and depths are multiples of sixteen. With several stages, what is under way
    at a time is left as it is."""
    signature = {n: types.get(n, "constexpr") for n in program.arg_names}
    even = [i for i, n in enumerate(program.arg_names) if types.get(n, "").startswith(("*", "i32"))]
    source = ASTSource(program, signature, constants, {(i,): [["tt.divisibility", 16]] for i in even})
    kernel = triton.compile(source, GPUTarget("cuda", arch, 32), {"num_stages": stages, "num_warps": warps})
    (HERE / f"{name}.ptx").write_text(plain(kernel.asm["ptx"], stages == 1))
    print(name, kernel.metadata.shared, "bytes shared")


def main():
    for turned in ["nn", "nt", "tn", "tt"]:
        a_turned, b_turned = (t == "t" for t in turned)

        def strides(m, n):
            a = (1, m) if a_turned else (DEPTH, 1)
            b = (1, DEPTH) if b_turned else (n, 1)
            return dict(zip(["a_row", "a_step", "b_step", "b_column"], a + b))

        narrow = dict(a="*bf16", b="*bf16", c="*fp32", depth="i32")
        for m, n, k in [(128, 32, 128), (64, 128, 16), (64, 16, 32)]:
            write(f"product_{turned}_{m}x{n}x{k}", product, narrow, dict(M=m, N=n, K=k, **strides(m, n)), 90)
        # Two groups have half of the columns each: the second one's begin within a line.
        m, n, k = 64, 64, 64
        write(f"halves_{turned}_{m}x{n}x{k}", product, narrow, dict(M=m, N=n, K=k, **strides(m, n)), 90, warps=8)
        halves = narrow | dict(c="*bf16")
        write(f"staged_{turned}_{m}x{n}x{k}", product, halves, dict(M=m, N=n, K=k, **strides(m, n)), 90, stages=3)
        m, n, k = 64, 128, 64
        write(f"warps_{turned}_{m}x{n}x{k}", product, narrow, dict(M=m, N=n, K=k, **strides(m, n)), 80)
        wide = narrow | dict(a="*fp32", b="*fp32")
        write(f"wide_{turned}_32x32x32", product, wide, dict(M=32, N=32, K=32, **strides(32, 32)), 80)
        sizes = [[k, m] if a_turned else [m, k], [n, k] if b_turned else [k, n]]
        tensors = [f"tensordesc<bf16[{r},{c}]>" for r, c in sizes]
        types = dict(a=tensors[0], b=tensors[1], c="*fp32", depth="i32")
        write(f"boxes_{turned}_{m}x{n}x{k}", boxes, types, dict(M=m, N=n, K=k, a_turned=a_turned, b_turned=b_turned), 90)
    types = dict(a="tensordesc<bf16[2,32,64]>", b="tensordesc<bf16[64,64]>", c="*fp32", depth="i32")
    write("planes_nn_64x64x64", planes, types, dict(M=64, N=64, K=64), 90)
    types = dict(q="*bf16", k="*bf16", v="*bf16", o="*fp32", scale="fp32")
    for arch in [80, 90]:
        write(f"attention_{arch}", attention, types, dict(M=64, N=64, D=64), arch)


if __name__ == "__main__":
    main()
