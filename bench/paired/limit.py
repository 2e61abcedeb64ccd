"""How fast the machine multiplies: dense products through the compiler's library and PyTorch's."""

import torch

from . import rounds
from .ours import Ours


def run(options):
    """Square products of several sizes."""
    for n in (512, 768, 1024):
        ours = Ours(options, "forward", "product.nest", "Product", 1, n, n=n)
        left, right, out = (torch.randn(n, n) for _ in range(3))
        calls = max(1, 2 * 1024**3 // n**3)

        def call():
            with torch.inference_mode():
                for _ in range(calls):
                    torch.mm(left, right, out=out)

        first = rounds.timed(call)
        sides = [
            rounds.Side(
                "nestor (gemm)", lambda: ours.measure(calls), 2 * n**3, ours.compile_ms, ours=True
            ),
            rounds.Side("torch.mm", lambda: rounds.timed(call) / calls, 2 * n**3, first),
        ]
        yield rounds.compare(f"product {n}^3, {options.threads} threads", sides, options.rounds)
        ours.close()
