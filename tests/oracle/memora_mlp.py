"""Makes `cases/memora_mlp.safetensors`: Memora on two layers, token by token in float64, inner gradients by automatic
differentiation, outer ones by a second pass. Needs PyTorch and safetensors; shares nothing with the compiler.

    python tests/oracle/memora_mlp.py"""

import json
import math
import pathlib

import torch
from safetensors.torch import save_file

B, T, H, K, V, HIDDEN, CHUNK = 2, 37, 2, 8, 8, 32, 16
FORMULA = (
    "A_t = alpha_t A_{t-1} - eta_t grad 0.5 |f(W_a; k_t) - v_t|^2 ; W_t = softmax A_t, every column sums to 1 ; W_a = W at "
    "the start of the 16-token chunk ; A_0 = init.* ; y_t = f(W_t; q_t) ; f(x) = x + LN(gelu(x W1) W2), LN without affine, "
    "biased variance, eps 1e-6 ; alpha, eta [B,T,H,V] act on the output column of W2, their mean over channels on W1"
)


def read(w1, w2, x):
    z = x @ w1
    z = 0.5 * z * (1 + torch.erf(z / math.sqrt(2))) @ w2
    z = z - z.mean(-1, keepdim=True)
    return x + z / torch.sqrt((z * z).mean(-1, keepdim=True) + 1e-6)


def walked(given):
    """One memory: `q`, `k`, `v`, `alpha`, `eta` [T, ..]."""
    q, k, v, alpha, eta, a1, a2 = given
    out = []
    for t in range(T):
        if t % CHUNK == 0:
            w1, w2 = a1.softmax(0), a2.softmax(0)
        error = read(w1, w2, k[t]) - v[t]
        g1, g2 = torch.autograd.grad(0.5 * (error * error).sum(), (w1, w2), create_graph=True)
        a1 = alpha[t].mean() * a1 - eta[t].mean() * g1
        a2 = alpha[t] * a2 - eta[t] * g2
        out.append(read(a1.softmax(0), a2.softmax(0), q[t]))
    return torch.stack(out), a1, a2


def results(inputs, kind):
    x = {n: t.to(kind).requires_grad_() for n, t in inputs.items() if n != "grad.y"}
    y, a1, a2 = [], [], []
    for b in range(B):
        for h in range(H):
            streams = [x[n][b, :, h] for n in ("q", "k", "v", "alpha", "eta")]
            found = walked([*streams, x["init.W1"][h], x["init.W2"][h]])
            for part, one in zip((y, a1, a2), found):
                part.append(one)
    y = torch.stack(y).reshape(B, H, T, V).transpose(1, 2)
    a1, a2 = (torch.stack(a).reshape(B, H, *a[0].shape) for a in (a1, a2))
    (y * inputs["grad.y"].to(kind)).sum().backward()
    out = {"y": y, "state.A.W1": a1, "state.A.W2": a2, "state.W1": a1.softmax(-2), "state.W2": a2.softmax(-2)}
    out.update({f"grad.{n}": t.grad for n, t in x.items()})
    return {n: t.detach().double().contiguous() for n, t in out.items()}


def main():
    torch.manual_seed(7)
    unit = torch.nn.functional.normalize
    common = torch.randn(B, 1, H, K)
    inputs = {
        "q": unit(torch.randn(B, T, H, K), dim=-1),
        "k": unit(torch.randn(B, T, H, K) + common, dim=-1),
        "v": torch.randn(B, T, H, V),
        "alpha": torch.sigmoid(torch.randn(B, T, H, V) + 2),
        "eta": torch.sigmoid(torch.randn(B, T, H, V) - 1),
        "init.W1": 3 * torch.randn(H, K, HIDDEN),
        "init.W2": 3 * torch.randn(H, HIDDEN, V),
        "grad.y": torch.randn(B, T, H, V),
    }
    found, single = results(inputs, torch.float64), results(inputs, torch.float32)
    off = {n: float((single[n] - t).norm() / t.norm()) for n, t in found.items()}
    case = {
        "rule": "memora_mlp",
        "formula": FORMULA,
        "dims": {"B": B, "T": T, "H": H, "K": K, "V": V},
        "inputs": {n: list(t.shape) for n, t in inputs.items() if n != "grad.y"},
        "outputs": {n: list(t.shape) for n, t in found.items()},
        "f32_rel_error": off,
        "rtol_f64": 1e-9,
        "rtol_f32": {n: max(2e-5, 30 * e) for n, e in off.items()},
    }
    path = pathlib.Path(__file__).parent / "cases" / "memora_mlp.safetensors"
    save_file({**inputs, **found}, path, {"case": json.dumps(case)})


if __name__ == "__main__":
    main()
