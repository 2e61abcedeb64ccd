"""A training step of the gated-delta language model of `gated_delta_lm.nest`: forward, backward, AdamW."""

import torch
import torch.nn.functional as F
from torch import nn

from . import rounds
from .gated_delta import VARIANTS, gated_delta
from .gated_delta import flops as memory_flops
from .ours import Ours

VOCABULARY, WIDTH, HEADS, DEPTH, TAPS = 4096, 256, 4, 9, 4
HEAD = WIDTH // HEADS
#: Loss, gradients and weights agree to this much of their largest value.
BOUND = 1e-4


class Mixer(nn.Module):
    """A gated DeltaNet layer. One product makes queries, keys and values, as PyTorch likes it."""

    def __init__(self, shifted):
        super().__init__()
        self.shifted = shifted
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.taps = nn.Parameter(torch.rand(TAPS, 3 * WIDTH) - 0.5)
        self.gates = nn.Linear(WIDTH, 2 * HEADS, bias=False)
        self.rate = nn.Parameter(torch.zeros(HEADS))
        self.shift = nn.Parameter(torch.full([HEADS], -3.0))
        self.first = nn.Parameter(torch.zeros(HEADS, HEAD, HEAD))
        self.norm = nn.RMSNorm(HEAD, eps=1e-6)
        self.gate = nn.Linear(WIDTH, WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)

    def short_conv(self, x):
        """Tap j weights the value j tokens ago."""
        time = x.shape[1]
        if self.shifted:
            padded = F.pad(x, (0, 0, TAPS - 1, 0))
            first = TAPS - 1
            parts = (self.taps[j] * padded[:, first - j : first - j + time] for j in range(TAPS))
            return sum(parts)
        weight = self.taps.flip(0).t().unsqueeze(1)
        padded = F.pad(x.transpose(1, 2), (TAPS - 1, 0))
        return F.conv1d(padded, weight, groups=weight.shape[0]).transpose(1, 2)

    def forward(self, x):
        batch, time, _ = x.shape
        mixed = F.silu(self.short_conv(self.qkv(x)))
        q, k, v = mixed.view(batch, time, 3, HEADS, HEAD).unbind(2)
        q, k = (z * torch.rsqrt(z.square().sum(-1, keepdim=True) + 1e-6) for z in (q, k))
        alpha, beta = self.gates(x).chunk(2, -1)
        g = -self.rate.exp() * F.softplus(alpha + self.shift)
        y = self.norm(gated_delta(q, k, v, g, beta.sigmoid(), self.first))
        return self.out(y.reshape(batch, time, WIDTH) * F.silu(self.gate(x)))


class Block(nn.Module):
    """A mixer and a gated network, each with its residual."""

    def __init__(self, shifted):
        super().__init__()
        self.mixer_norm = nn.RMSNorm(WIDTH, eps=1e-6)
        self.mixer = Mixer(shifted)
        self.mlp_norm = nn.RMSNorm(WIDTH, eps=1e-6)
        self.gate_up = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.down = nn.Linear(2 * WIDTH, WIDTH, bias=False)

    def forward(self, x):
        x = x + self.mixer(self.mixer_norm(x))
        gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Model(nn.Module):
    """The language model; it gives its loss."""

    def __init__(self, shifted=False):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(shifted) for _ in range(DEPTH))
        self.norm = nn.RMSNorm(WIDTH, eps=1e-6)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, tokens, following):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), following.flatten())


def named(model):
    """The peer's weights under the names of ours, as views of its own."""
    found = {
        "Embedding.W": model.embedding.weight,
        "logits.RMSNorm.gain": model.norm.weight,
        "logits.Linear.W": model.head.weight.t(),
    }
    for index, block in enumerate(model.blocks):
        at, mixer = f"Residual[{index}]", block.mixer
        layer = f"{at}.GatedDeltaNet"
        found[f"{at}.RMSNorm.gain"] = block.mixer_norm.weight
        for part, name in enumerate("qkv"):
            columns = slice(part * WIDTH, (part + 1) * WIDTH)
            found[f"{layer}.{name}.Linear.W"] = mixer.qkv.weight[columns].t()
            found[f"{layer}.{name}.ShortConv.taps"] = mixer.taps[:, columns]
        found[f"{layer}.A"] = mixer.rate
        found[f"{layer}.dt"] = mixer.shift
        found[f"{layer}.alpha.Linear.W"] = mixer.gates.weight[:HEADS].t()
        found[f"{layer}.beta.Linear.W"] = mixer.gates.weight[HEADS:].t()
        found[f"{layer}.M.W"] = mixer.first
        found[f"{layer}.y.RMSNorm.gain"] = mixer.norm.weight
        found[f"{layer}.Linear.W"] = mixer.gate.weight.t()
        found[f"{layer}.Linear_2.W"] = mixer.out.weight.t()
        at = f"Residual_2[{index}]"
        found[f"{at}.RMSNorm.gain"] = block.mlp_norm.weight
        found[f"{at}.GatedMlp.SwiGLU.gate.Linear.W"] = block.gate_up.weight[: 2 * WIDTH].t()
        found[f"{at}.GatedMlp.SwiGLU.up.Linear.W"] = block.gate_up.weight[2 * WIDTH :].t()
        found[f"{at}.GatedMlp.SwiGLU.Linear.W"] = block.down.weight.t()
    return found


def flops(batch, time):
    """Of a step: six a weight and token in products, and three times the memories."""
    block = WIDTH * (3 * WIDTH + 2 * HEADS + 2 * WIDTH) + 6 * WIDTH * WIDTH
    products = DEPTH * block + WIDTH * VOCABULARY
    return 6 * products * batch * time + 3 * DEPTH * memory_flops(batch, time, HEADS, HEAD)


def program(options, batch, time):
    """Our side, given the weights of a fresh peer and tokens; and what it was given."""
    torch.manual_seed(0)
    start = {name: view.detach().clone() for name, view in named(Model()).items()}
    tokens = torch.randint(VOCABULARY, (batch, time + 1), dtype=torch.int32)
    texts = {"tokens": tokens[:, :-1], "next.tokens": tokens[:, 1:]}
    ours = Ours(options, "step", "gated_delta_lm.nest", "GatedDeltaLM", batch, time)
    weights = {
        n: t.numel()
        for n, t in ours.inputs().items()
        if t.dim() and not n.startswith("optimiser.") and n not in texts
    }
    theirs = {n: t.numel() for n, t in start.items()}
    if weights != theirs:
        wrong = sorted(set(weights.items()) ^ set(theirs.items()))
        raise SystemExit(f"both sides differ in their parameters: {wrong}")
    ours.give(start | texts)
    return ours, start, {n: t.long() for n, t in texts.items()}, sum(theirs.values())


def peer(start, texts, variant=None, shifted=False, whole=False):
    """The peer with these weights, its optimiser, and a call that makes a step and gives its loss."""
    model = Model(shifted)
    with torch.no_grad():
        for name, view in named(model).items():
            view.copy_(start[name])
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=3e-4, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, fused=True
    )
    loss_of = model
    if variant is not None:
        torch._dynamo.reset()
        how = {"dynamic": False} | VARIANTS[variant]
        if whole:
            loss_of = torch.compile(model, **how)
        else:
            # One graph that all blocks share, as PyTorch advises for repeated blocks.
            for block in model.blocks:
                block.compile(**how)
    tokens, following = texts["tokens"], texts["next.tokens"]

    def step():
        optimiser.zero_grad(set_to_none=True)
        loss = loss_of(tokens, following)
        loss.backward()
        optimiser.step()
        return loss.item()

    return model, optimiser, step


def agree(options, batch=2, time=128):
    """Loss and gradients of both sides from the same weights, and the step that follows."""
    ours, start, texts, count = program(options, batch, time)
    found = ours.outputs()
    weights = ours.inputs()
    ours.close()
    model, optimiser, step = peer(start, texts)
    loss = torch.tensor(step())
    gradients, theirs = Model(), Model()
    with torch.no_grad():
        for holder, parameter in zip(theirs.parameters(), model.parameters()):
            holder.copy_(parameter.grad)
        # After the first step from rest, the average of gradients is a tenth of the gradient.
        for name, view in named(gradients).items():
            view.copy_(weights[f"optimiser.m.{name}"].view(view.shape) * 10)
    title = f"language model, T={time}, {count:,} parameters each"
    mine = named(gradients)
    pairs = {f"grad.{name}": (mine[name], view) for name, view in named(theirs).items()}
    yield rounds.agreement(title, pairs | {"loss": (found["loss"], loss)}, BOUND)
    # Adam's first step has the size of the rate whatever the gradient, so that the least rounding
    # of a gradient near zero turns its sign: the optimisers are compared on the same gradients.
    model, optimiser, _ = peer(start, texts)
    for parameter, gradient in zip(model.parameters(), gradients.parameters()):
        parameter.grad = gradient.detach()
    optimiser.step()
    pairs = {name: (weights[name], view) for name, view in named(model).items()}
    yield rounds.agreement(f"{title}: AdamW", pairs, BOUND)


def run(options):
    """The comparison of `step`."""
    batch, time = options.batch, options.time
    yield from agree(options, batch, time)
    ours, start, texts, parameters = program(options, batch, time)
    count = flops(batch, time)
    sides = [rounds.Side("nestor", ours.measure, count, ours.compile_ms, ours=True)]
    ways = [(None, False)]
    ways += [(name, shifted) for name in options.compile for shifted in (False, True)]
    for variant, shifted in ways:
        _, _, step = peer(start, texts, variant, shifted, options.whole)
        first = rounds.timed(step)
        name = "eager" if variant is None else f"compile {variant}"
        if variant is not None:
            name += ", taps as sums" if shifted else ", taps as conv1d"
        measure = lambda step=step: rounds.timed(step)
        sides.append(rounds.Side(f"torch {name}", measure, count, first))
    title = f"step of training, {parameters:,} parameters, B={batch} T={time}"
    yield rounds.compare(title, sides, options.rounds)
    ours.close()
