"""A two-layer memory with momentum and decay, against NeuralMemory of titans-pytorch.

Both sides compute the same function: a write once a chunk, with gates of the chunk's mean, that moves
momentum and memory by the sum of its gradients; a read sees finished chunks. The peer takes all gradients
of a call at the memory's initial value, unless `batch_size` asks for a new anchor at every boundary,
which makes a loop of it; ours takes them at every `anchor` tokens.
"""

import warnings

import torch
from torch import nn

from . import rounds
from .ours import Ours

#: Anchors this far apart lie at the start of every sequence alone.
START = 1 << 20

#: What is put out and all gradients agree to this much of their largest value.
BOUND = 1e-4


def neural_memory(width, heads, chunk, anchor=None, bare=False):
    """The peer: two layers, four times the width.

    `bare` leaves the memory alone: the sequence itself is query, key and value, no norms, no gate
    on what is read, no residual; gates of the memory stay, a product of width by heads each.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from titans_pytorch import NeuralMemory
    except ImportError as error:
        raise SystemExit(f"{error}; `pip install titans-pytorch`") from error
    torch.manual_seed(0)
    layer = NeuralMemory(
        dim=width * heads,
        dim_head=width,
        heads=heads,
        chunk_size=chunk,
        batch_size=anchor,
        pre_rmsnorm=not bare,
        mem_model_norm_add_residual=not bare,
        default_model_kwargs={"depth": 2, "expansion_factor": 4.0},
    )
    # Heads share one block of memory in the package, which nothing can be copied into.
    own = (nn.Parameter(p.detach().clone().contiguous()) for p in layer.memory_model_parameters)
    layer.memory_model_parameters = nn.ParameterList(own)
    if bare:
        for name in ("to_queries", "to_keys", "to_values", "combine_heads"):
            setattr(layer, name, nn.Identity())
        layer.retrieve_gate = None
    return layer


def used(layer):
    """Parameters that a call depends on; the layer keeps a copy of the memory that it does not read."""
    return [p for n, p in layer.named_parameters() if not n.startswith("memory_model.")]


def linear(part):
    """The projection inside a part of the peer."""
    return next(m for m in part.modules() if isinstance(m, nn.Linear))


def named(layer, width, heads):
    """The peer's weights under the names of `neural_memory.nest`, as views of its own."""
    dim = width * heads
    found = {
        "r.RMSNorm.gain": layer.retrieve_norm.weight,
        "s.RMSNorm.gain": layer.store_norm.weight,
        "gate.Linear.W": linear(layer.retrieve_gate).weight.t(),
        "Linear.W": layer.combine_heads.weight.t(),
    }
    projections = {"q": layer.to_queries, "k": layer.to_keys, "v": layer.to_values}
    for name, part in projections.items():
        found[f"{name}.Linear.W"] = linear(part).weight.t().view(dim, heads, width)
    gates = {"alpha": layer.to_decay_factor, "eta": layer.to_momentum, "theta": layer.to_adaptive_step}
    for name, part in gates.items():
        found[f"{name}.Linear.W"] = linear(part).weight.t()
        found[f"{name}.Linear.b"] = linear(part).bias
    memory = {"norm.gamma": "M.gain", "model.weights.0": "M.W1", "model.weights.1": "M.W2"}
    for name, weight in zip(layer.memory_model_parameter_names, layer.memory_model_parameters):
        found[memory[name]] = weight
    return found


def flops(batch, time, heads, width, chunk, anchor, layer):
    """Of the forward pass; elementwise work (the peer's scans over all weights) is not counted.

    Keys through the network 2 P a token, P the weights, the gradient of what it puts out P, gradients of
    the weights 2 P, queries 2 P. Where every token is written (`chunk` 1, ours alone), memory and momentum
    move on by 4 P instead of 2 P, and reads are corrected by products with what the tokens since the
    anchor wrote, half of them. Projections of the layer are 8 dim^2.
    """
    weights = 8 * width**2
    token = 7 * weights
    if chunk == 1:
        token += 2 * weights + 10 * anchor * width
    whole = batch * time * heads * token
    return whole + (batch * time * 8 * (heads * width) ** 2 if layer else 0)


def agree(options, chunk, anchor, batch=2, time=64, heads=4, width=64):
    """Output and gradients of both layers; without an anchor they are those at the initial memory."""
    layer = neural_memory(width, heads, chunk, anchor)
    with torch.no_grad():
        # Steps of the size that the package draws make a memory that amplifies every rounding.
        linear(layer.to_adaptive_step).bias.fill_(-4)
    views = named(layer, width, heads)
    x = torch.randn(batch, time, heads * width, requires_grad=True)
    seed = torch.randn(batch, time, heads * width)
    ours = Ours(
        options, "both", "neural_memory.nest", "NeuralMemory", batch, time,
        d=heads * width, heads=heads, chunk=chunk, anchor=anchor or START,
    )
    weights = {n: v.detach().clone() for n, v in views.items()}
    ours.give(weights | {"x": x.detach(), "grad.out": seed})
    found = ours.outputs()
    ours.close()
    # In double precision, so that what differs is our rounding alone.
    layer, x, seed = layer.double(), x.detach().double().requires_grad_(), seed.double()
    out = layer(x)[0]
    parameters = used(layer)
    gradients = torch.autograd.grad(out, [x, *parameters], seed)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients[1:]):
            parameter.copy_(gradient)
    pairs = {"out": (found["out"], out), "grad.x": (found["grad.x"], gradients[0])}
    for name, view in named(layer, width, heads).items():
        pairs[f"grad.{name}"] = (found[f"grad.{name}"], view)
    what = f"memory, T={time}, chunk {chunk}, {anchored(anchor)}"
    return rounds.agreement(what, pairs, BOUND)


def program(options, what, shape, chunk, anchor, layer):
    """Our side: the layer, or the memory alone on given keys, values, queries and gates."""
    batch, time, heads, width = shape
    spec, entry = (
        ("neural_memory.nest", "NeuralMemory") if layer else ("mlp_memory_op.nest", "MlpMemoryOp")
    )
    ours = Ours(
        options, what, spec, entry, batch, time,
        d=heads * width if layer else width, heads=heads, chunk=chunk, anchor=anchor or START,
    )
    if layer:
        start = neural_memory(width, heads, chunk)
        weights = {n: v.detach().clone() for n, v in named(start, width, heads).items()}
        ours.give(weights | {"x": torch.randn(batch, time, heads * width)})
    else:
        gates = {n: torch.randn(batch, time, heads) for n in ("alpha", "eta", "theta")}
        gates["theta"] = gates["theta"].sigmoid() * 2 / width
        streams = {n: torch.randn(batch, time, heads, width) for n in "qkv"}
        ours.give(gates | streams)
    return ours


def peers(options, shape, chunk, anchor, layer):
    """The peer's ways with these anchors; compiled where that works."""
    _, _, heads, width = shape
    peer = neural_memory(width, heads, chunk, anchor, bare=not layer)
    yield "titans-pytorch", peer, lambda x: peer(x)[0]
    if options.compile_peer and anchor is None:
        torch._dynamo.reset()
        yield "titans-pytorch, compile", peer, torch.compile(lambda x: peer(x)[0], dynamic=False)


def anchored(anchor):
    """Where gradients are taken, in words."""
    return "initial anchor" if anchor is None else f"anchor every {anchor}"


def run(options):
    """The comparisons of `memory`."""
    shape = (options.batch, options.time, options.heads, options.width)
    for chunk, anchor in ((16, 16), (16, None), (1, 16)):
        yield agree(options, chunk, anchor, heads=options.heads, width=options.width)
    for layer in (False, True):
        for chunk in options.chunk:
            for what in ("forward", "both"):
                for anchor in (chunk, None):
                    yield pair(options, shape, chunk, anchor, layer, what)


def pair(options, shape, chunk, anchor, layer, what):
    """One comparison: memory or layer, one chunk, forward or both ways, anchors."""
    batch, time, heads, width = shape
    times = 1 if what == "forward" else 3
    ours = program(options, what, shape, chunk, anchor, layer)
    count = flops(*shape, chunk, anchor, layer) * times
    mine = lambda: ours.measure(options.calls)
    sides = [rounds.Side("nestor", mine, count, ours.compile_ms, True)]
    others = []
    if options.tokens and anchor is not None:
        # Written and read token by token: more than the peer can.
        exact = program(options, what, shape, 1, anchor, layer)
        others.append(exact)
        count = flops(*shape, 1, anchor, layer) * times
        mine = lambda: exact.measure(options.calls)
        sides.append(rounds.Side("nestor, a write a token", mine, count, exact.compile_ms))
    count = flops(*shape, chunk, anchor, layer) * times
    x = torch.randn(batch, time, heads * width, requires_grad=True)
    seed = torch.randn(batch, time, heads * width)
    for name, peer, function in peers(options, shape, chunk, anchor, layer):
        inputs = [x, *used(peer)]

        def call(function=function, inputs=inputs):
            if what == "forward":
                with torch.inference_mode():
                    function(x)
            else:
                torch.autograd.grad(function(x), inputs, seed)

        try:
            first = rounds.timed(call)
        except Exception as error:
            # torch.compile may refuse what the package does; eager must run.
            if "compile" not in name:
                raise
            rounds.say(f"{name} does not run: {type(error).__name__}: {str(error)[:300]}")
            continue
        measure = lambda call=call: rounds.timed(call, options.calls)
        sides.append(rounds.Side(name, measure, count, first))
    part = "whole layer" if layer else "memory alone"
    sizes = f"B={batch} T={time} H={heads} D={width}"
    title = f"{part}, {what}, {sizes}, chunk {chunk}, {anchored(anchor)}"
    result = rounds.compare(title, sides, options.rounds)
    for one in (ours, *others):
        one.close()
    return result
