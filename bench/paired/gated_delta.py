"""The gated delta rule on given keys, values, queries and gates.

The peer is the same chunked algorithm in PyTorch: products and one batched triangular solve a
chunk. PyTorch has no kernel of its own for it, and the published reference (a Python loop over
the rows of each chunk) is slower.
"""

import torch
import torch.nn.functional as F

from . import rounds
from .ours import Ours

#: Tensors in float32 agree to this much of their largest value.
BOUND = 1e-4


def gated_delta(q, k, v, g, beta, first, chunk=64):
    """Reads `[B, T, H, D]` of the rule; the chunk divides T.

    q, k and v are `[B, T, H, D]`, g and beta `[B, T, H]`, the memory at first `[H, D, D]`.
    """
    batch, time, heads, width = q.shape
    count = time // chunk

    def chunked(x):
        return x.transpose(1, 2).reshape(batch, heads, count, chunk, *x.shape[3:])

    q, k, v, g, beta = (chunked(x) for x in (q * width**-0.5, k, v, g, beta))
    g = g.cumsum(-1)
    key_beta, value_beta = k * beta[..., None], v * beta[..., None]
    kept = (g[..., :, None] - g[..., None, :]).tril().exp().tril()
    grown = g.exp()[..., None]
    mixing = ((key_beta @ k.transpose(-1, -2)) * kept).tril(-1)
    right = torch.cat([value_beta, key_beta * grown], -1)
    solved = torch.linalg.solve_triangular(mixing, right, upper=False, unitriangular=True)
    written, erased = solved.split(width, -1)
    scores = (q @ k.transpose(-1, -2)) * kept
    queries = q * grown
    keys = (k * (g[..., -1:] - g).exp()[..., None]).transpose(-1, -2)
    decay = g[..., -1, None, None].exp()
    memory = first
    reads = []
    # unbind, because the derivative of a slice is as large as the whole.
    parts = (x.unbind(2) for x in (written, erased, queries, scores, keys, decay))
    for w, e, q_c, s, k_c, d in zip(*parts):
        new = w - e @ memory
        reads.append(q_c @ memory + s @ new)
        memory = memory * d + k_c @ new
    return torch.stack(reads, 2).reshape(batch, heads, time, width).transpose(1, 2)


def flops(batch, time, heads, width, chunk=64):
    """Of the forward pass in chunks, per head: dense products of a chunk and the substitution."""
    token = 10 * chunk * width + 6 * width**2 + chunk**2 / 3
    return batch * heads * time * token


def drawn(batch, time, heads, width):
    """Inputs as models give them: keys of length one, gates between zero and one."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(batch, time, heads, width) for _ in range(3))
    g = F.logsigmoid(torch.randn(batch, time, heads) + 3)
    beta = torch.randn(batch, time, heads).sigmoid()
    first = torch.randn(heads, width, width) * 0.02
    return {"q": q, "k": F.normalize(k, dim=-1), "v": v, "g": g, "beta": beta, "M.W": first}


VARIANTS = {
    "default": {},
    "autotune": {"mode": "max-autotune-no-cudagraphs"},
    "cpp-wrapper": {"options": {"cpp_wrapper": True}},
}


def variants(options, function):
    """The peer as it is and compiled, each once in every way asked for."""
    yield "eager", function
    for name in options.compile:
        # Each its own code object: they would share one cache of graphs else.
        torch._dynamo.reset()
        yield f"compile {name}", torch.compile(function, dynamic=False, **VARIANTS[name])


def program(options, what, batch, time, heads, width):
    """Our side with its inputs, and the peer's."""
    ours = Ours(
        options, what, "gated_delta_op.nest", "GatedDeltaOp", batch, time, heads=heads, d=width
    )
    inputs = drawn(batch, time, heads, width)
    named = dict(inputs)
    if what == "both":
        named["grad.y"] = torch.randn(batch, time, heads, width)
    ours.give(named)
    return ours, [x.requires_grad_() for x in inputs.values()], named


def agree(options, batch=2, time=256, heads=4, width=64, chunk=64):
    """Output and gradients of both sides on the same inputs."""
    ours, inputs, named = program(options, "both", batch, time, heads, width)
    found = ours.outputs()
    ours.close()
    out = gated_delta(*inputs, chunk=chunk)
    pairs = rounds.pairs(found, out, inputs, named)
    return rounds.agreement(f"gated delta, T={time} D={width}", pairs, BOUND)


def run(options):
    """The comparisons of `op`."""
    shape = (options.batch, options.time, options.heads, options.width)
    if options.time % options.peer_chunk:
        raise SystemExit(f"the peer's chunks of {options.peer_chunk} do not divide {options.time}")
    yield agree(options, *shape, options.peer_chunk)
    for what in ("forward", "both"):
        ours, inputs, named = program(options, what, *shape)
        count = flops(*shape) * (1 if what == "forward" else 3)
        mine = lambda ours=ours: ours.measure(options.calls)
        sides = [rounds.Side("nestor", mine, count, ours.compile_ms, ours=True)]

        def function(*inputs):
            return gated_delta(*inputs, chunk=options.peer_chunk)

        for name, peer in variants(options, function):

            def call(peer=peer):
                if what == "forward":
                    with torch.inference_mode():
                        peer(*inputs)
                else:
                    torch.autograd.grad(peer(*inputs), inputs, named["grad.y"])

            first = rounds.timed(call)
            measure = lambda call=call: rounds.timed(call, options.calls)
            sides.append(rounds.Side(f"torch {name}", measure, count, first))
        title = "B={} T={} H={} D={}".format(*shape)
        yield rounds.compare(f"gated delta, {what}, {title}", sides, options.rounds)
        ours.close()
