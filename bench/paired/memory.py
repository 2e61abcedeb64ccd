"""A two-layer memory with momentum and decay, against NeuralMemory of titans-pytorch.

Both take gradients at an anchor. Ours has gates, a momentum step and a write for every token,
and takes the anchor anew at every boundary. The peer writes once a chunk: momentum and decay act
on the sum of a chunk's gradients, a read sees finished chunks only, and all gradients of a call
are taken at the memory's initial value, unless `batch_size` asks for a new anchor, which makes a
loop of it. With chunks of one token and `batch_size` at the anchor it computes what ours does:
`agree` compares that.
"""

import warnings

import torch
from torch import nn

from . import rounds
from .ours import Ours

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


def flops(batch, time, heads, width, chunk, layer, ours):
    """Of the forward pass; elementwise work (the peer's scans over all weights) is not counted.

    Both: keys through the network and the gradient of what it puts out, 5 P a token, P the weights.
    The peer reads through chunk weights, 2 P. Ours reads through the anchor's, 2 P, corrects by the
    gradients since (products in the chunk, half of them), and moves memory and momentum, 4 P; the
    peer's gradients are those products. Projections of the layer are 8 dim^2.
    """
    weights = 8 * width**2
    token = 7 * weights
    if ours:
        token += 2 * weights + 10 * chunk * width
    whole = batch * time * heads * token
    return whole + (batch * time * 8 * (heads * width) ** 2 if layer else 0)


def agree(options, batch=2, time=64, heads=4, width=64, anchor=16):
    """Output and gradients of both layers, where the peer writes every token."""
    layer = neural_memory(width, heads, 1, anchor)
    with torch.no_grad():
        # Steps of the size that the package draws make a memory that amplifies every rounding.
        linear(layer.to_adaptive_step).bias.fill_(-4)
    views = named(layer, width, heads)
    x = torch.randn(batch, time, heads * width, requires_grad=True)
    seed = torch.randn(batch, time, heads * width)
    ours = Ours(
        options, "both", "neural_memory.nest", "NeuralMemory", batch, time,
        d=heads * width, heads=heads, anchor=anchor,
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
    return rounds.agreement(f"memory, T={time}, anchor {anchor}", pairs, BOUND)


def program(options, what, shape, chunk, layer):
    """Our side: the layer, or the memory alone on given keys, values, queries and gates."""
    batch, time, heads, width = shape
    if layer:
        ours = Ours(
            options, what, "neural_memory.nest", "NeuralMemory", batch, time,
            d=heads * width, heads=heads, anchor=chunk,
        )
        start = neural_memory(width, heads, chunk)
        weights = {n: v.detach().clone() for n, v in named(start, width, heads).items()}
        ours.give(weights | {"x": torch.randn(batch, time, heads * width)})
        return ours
    ours = Ours(
        options, what, "mlp_memory_op.nest", "MlpMemoryOp", batch, time,
        d=width, heads=heads, anchor=chunk,
    )
    gates = {n: torch.randn(batch, time, heads).sigmoid() for n in ("alpha", "eta", "theta")}
    gates["theta"] = gates["theta"] * 2 / width
    streams = {n: torch.randn(batch, time, heads, width) for n in "qkv"}
    ours.give(gates | streams)
    return ours


def peers(options, shape, chunk, layer):
    """The peer's ways: anchors at the initial memory or at every chunk; compiled where that works."""
    _, _, heads, width = shape
    for anchor in (None, chunk):
        tail = "initial anchor" if anchor is None else "anchor a chunk"
        peer = neural_memory(width, heads, chunk, anchor, bare=not layer)
        yield f"titans-pytorch, {tail}", peer, lambda x, peer=peer: peer(x)[0]
        if options.compile_peer and anchor is None:
            torch._dynamo.reset()
            compiled = torch.compile(lambda x, peer=peer: peer(x)[0], dynamic=False)
            yield f"titans-pytorch, {tail}, compile", peer, compiled


def run(options):
    """The comparisons of `memory`."""
    shape = (options.batch, options.time, options.heads, options.width)
    batch, time, heads, width = shape
    yield agree(options, heads=heads, width=width)
    for layer in (False, True):
        for chunk in options.chunk:
            for what in ("forward", "both"):
                yield pair(options, shape, chunk, layer, what)


def pair(options, shape, chunk, layer, what):
    """One comparison: memory or layer, one chunk, forward or both ways."""
    batch, time, heads, width = shape
    times = 1 if what == "forward" else 3
    ours = program(options, what, shape, chunk, layer)
    count = flops(*shape, chunk, layer, ours=True) * times
    mine = lambda: ours.measure(options.calls)
    sides = [rounds.Side(f"nestor, anchor {chunk}", mine, count, ours.compile_ms, True)]
    count = flops(*shape, chunk, layer, ours=False) * times
    x = torch.randn(batch, time, heads * width, requires_grad=True)
    seed = torch.randn(batch, time, heads * width)
    for name, peer, function in peers(options, shape, chunk, layer):
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
    title = f"{part}, {what}, B={batch} T={time} H={heads} D={width}, chunk {chunk}"
    result = rounds.compare(title, sides, options.rounds)
    ours.close()
    return result
