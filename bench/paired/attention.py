"""Causal softmax attention on given queries, keys and values, beside PyTorch's own kernel."""

import torch
import torch.nn.functional as F

from . import rounds
from .ours import Ours

#: Tensors in float32 agree to this much of their largest value.
BOUND = 1e-4


def attention(q, k, v):
    """Reads `[B, T, H, D]` by PyTorch's fused kernel, which stores no scores."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)


def flops(batch, time, heads, width):
    """Of the forward pass: the half of two products that a token may see."""
    return batch * heads * 2 * time * time * width


def program(options, what, batch, time, heads, width):
    """Our side with its inputs, and the peer's."""
    ours = Ours(options, what, "attention_op.nest", "AttentionOp", batch, time, heads=heads, d=width)
    torch.manual_seed(0)
    inputs = {name: torch.randn(batch, time, heads, width) for name in ("q", "k", "v")}
    named = dict(inputs)
    if what == "both":
        named["grad.y"] = torch.randn(batch, time, heads, width)
    ours.give(named)
    return ours, [x.requires_grad_() for x in inputs.values()], named


def agree(options, batch=2, time=200, heads=4, width=64):
    """Output and gradients of both sides on the same inputs."""
    ours, inputs, named = program(options, "both", batch, time, heads, width)
    found = ours.outputs()
    ours.close()
    out = attention(*inputs)
    pairs = rounds.pairs(found, out, inputs, named)
    return rounds.agreement(f"attention, T={time} D={width}", pairs, BOUND)


def run(options):
    """The comparisons of `attention`."""
    shape = (options.batch, options.time, options.heads, options.width)
    yield agree(options, *shape)
    for what in ("forward", "both"):
        ours, inputs, named = program(options, what, *shape)
        # Backward has five products beside the two.
        count = flops(*shape) * (1 if what == "forward" else 3.5)
        mine = lambda ours=ours: ours.measure(options.calls)

        def call():
            if what == "forward":
                with torch.inference_mode():
                    attention(*inputs)
            else:
                torch.autograd.grad(attention(*inputs), inputs, named["grad.y"])

        first = rounds.timed(call)
        peer = lambda call=call: rounds.timed(call, options.calls)
        sides = [
            rounds.Side("nestor", mine, count, ours.compile_ms, ours=True),
            rounds.Side("torch sdpa", peer, count, first),
        ]
        title = "B={} T={} H={} D={}".format(*shape)
        yield rounds.compare(f"attention, {what}, {title}", sides, options.rounds)
        ours.close()
