"""Causal softmax attention on given queries, keys and values, of all tokens before or of a window, beside PyTorch's own kernel."""

import torch
import torch.nn.functional as F

from . import rounds
from .ours import Ours

#: Tensors in float32 agree to this much of their largest value.
BOUND = 1e-4


def seen(time, window):
    """Who sees whom in a window, as a mask; nothing where all before are seen."""
    if window is None:
        return None
    place = torch.arange(time)
    age = place[:, None] - place
    return (age >= 0) & (age < window)


def attention(q, k, v, mask=None):
    """Reads `[B, T, H, D]` by PyTorch's fused kernel, which stores no scores; it has no windows but as masks."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
    return found.transpose(1, 2)


def flops(batch, time, heads, width, window=None):
    """Of the forward pass: two products of what a token may see."""
    pairs = time * (time + 1) / 2 if window is None else time * min(window, time)
    return batch * heads * 4 * pairs * width


def program(options, what, batch, time, heads, width, window=None):
    """Our side with its inputs, and the peer's."""
    entry = "AttentionOp" if window is None else "WindowOp"
    settings = {"heads": heads, "d": width} | ({} if window is None else {"window": window})
    ours = Ours(options, what, "attention_op.nest", entry, batch, time, **settings)
    torch.manual_seed(0)
    inputs = {name: torch.randn(batch, time, heads, width) for name in ("q", "k", "v")}
    named = dict(inputs)
    if what == "both":
        named["grad.y"] = torch.randn(batch, time, heads, width)
    ours.give(named)
    return ours, [x.requires_grad_() for x in inputs.values()], named


def agree(options, batch=2, time=200, heads=4, width=64, window=None):
    """Output and gradients of both sides on the same inputs."""
    ours, inputs, named = program(options, "both", batch, time, heads, width, window)
    found = ours.outputs()
    ours.close()
    out = attention(*inputs, mask=seen(time, window))
    pairs = rounds.pairs(found, out, inputs, named)
    return rounds.agreement(f"{title(window)}, T={time} D={width}", pairs, BOUND)


def title(window):
    """What is measured."""
    return "attention" if window is None else f"attention over {window} tokens"


def run(options):
    """The comparisons of `attention`."""
    shape = (options.batch, options.time, options.heads, options.width, options.window)
    mask = seen(options.time, options.window)
    yield agree(options, *shape)
    for what in ("forward", "both"):
        ours, inputs, named = program(options, what, *shape)
        # Backward has five products beside the two.
        count = flops(*shape) * (1 if what == "forward" else 3.5)
        mine = lambda ours=ours: ours.measure(options.calls)

        def call():
            if what == "forward":
                with torch.inference_mode():
                    attention(*inputs, mask=mask)
            else:
                torch.autograd.grad(attention(*inputs, mask=mask), inputs, named["grad.y"])

        first = rounds.timed(call)
        peer = lambda call=call: rounds.timed(call, options.calls)
        sides = [
            rounds.Side("nestor", mine, count, ours.compile_ms, ours=True),
            rounds.Side("torch sdpa", peer, count, first),
        ]
        sizes = "B={} T={} H={} D={}".format(*shape)
        name = f"{title(options.window)}, {what}, {sizes}"
        yield rounds.compare(name, sides, options.rounds)
        ours.close()
