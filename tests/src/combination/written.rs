//! Recurrences written out: what no objective gives.

use super::{Clauses, Die};

pub(super) fn memory(die: &Die) -> Clauses {
    let alpha = die.of("alpha", &["", "", ": [d_k]", ": [d_v]"]);
    let rate = die.of("rate", &["", "", "", ": [d_v]", ": [d_k]"]);
    let (arguments, text) = BODIES[die.below("body", BODIES.len())];
    let free = text.contains("FREE");
    let (alpha, rate) = if free { (alpha, rate) } else { ("", "") };
    let own = die.of("rho", &["", ": [d_k]"]);
    let rho = if text.contains("rho * k") { own } else { "" };
    let mut clauses: Vec<String> =
        text.replace("FREE", "").lines().map(|l| l.trim().to_owned()).collect();
    clauses.retain(|l| !l.is_empty());
    if die.once("reset", 8) {
        clauses.push(format!("reset every {} tokens", 4 + die.below("again", 13)));
    }
    Clauses {
        clauses,
        shapes: vec![("alpha", alpha), ("rate", rate), ("rho", rho)],
        window: 3,
        square: false,
        apart: true,
        positive: false,
        arguments,
    }
}

/// What a write takes, and the clauses; gates of those with `FREE` may be of channels.
const BODIES: [(usize, &str); 12] = [
    // Different vectors read and write.
    (3, "FREE structure matrix(d_k, d_v)
         update(k, v, p) { W' = alpha * W + rate * outer(k, v - p @ W) }"),
    // Two writes, of which one asks the state.
    (3, "FREE structure matrix(d_k, d_v)
         update(k, v, p) { W' = alpha * W - rate * outer(rho * k, k @ W) + beta * outer(p, v) }"),
    // Two slots that feed one another.
    (2, "FREE weight W: [d_k, d_v] = 0, S: [d_k, d_v] = 0
         update(k, v) { S' = beta * S + rate * outer(k, v - k @ W)
                        W' = alpha * W + S' }
         read(q) = q @ W"),
    (2, "weight W: [d_k, d_v] = 0, S: [d_k, d_v] = 0
         update(k, v) { W' = alpha * W + outer(k, rate * v - beta * (k @ S))
                        S' = eta * S + (1 - eta) * W' }
         read(q) = q @ W + rho * (q @ S)"),
    // A normaliser beside the memory.
    (2, "weight W: [d_k, d_v] = 0, z: [d_k] = 0
         update(k, v) { W' = alpha * W + beta * outer(k, v)
                        z' = alpha * z + beta * k }
         read(q) = q @ W / max(abs(sum(q * z)), 1)"),
    // A vector, by itself.
    (2, "weight c: [d_v] = 0
         update(k, v) { c' = alpha * c + (1 - alpha) * tanh(v + beta * c) }
         read(q) = c * sum(q)"),
    // Written by columns.
    (2, "structure matrix(d_k, d_v)
         update(k, v) { W' = alpha * W + rate * outer(k - W @ v, v) }"),
    // Both sides of a write ask the state.
    (2, "structure matrix(d_k, d_v)
         update(k, v) { W' = alpha * W + rate * outer(tanh(k + W @ v), v - k @ W) }"),
    // A gate that asks the state.
    (2, "structure matrix(d_k, d_v)
         update(k, v) { W' = sigmoid(sum(v * (k @ W)) + 1) * W + rate * outer(k, v - k @ W) }"),
    // A window of keys.
    (2, "structure matrix(d_k, d_v)
         update(k, v) { u  = mean(recent(k, 3), axis = 0)
                        W' = alpha * W + rate * outer(u, v - u @ W) }"),
    // Errors by rows, over two reads.
    (3, "FREE structure matrix(d_k, d_v)
         update(k, v, p) { W' = alpha * W + rate * outer(k, tanh(v - k @ W) - 0.5 * sigmoid(p @ W)) }"),
    // A solve in what is read.
    (2, "weight H: [d_k, d_k] = 0, W: [d_k, d_v] = 0
         update(k, v) { H' = beta * H + outer(k, k)
                        W' = alpha * W + rate * outer(k, v) }
         read(q) = solve(H @ H.T + diag(1 + abs(q)), q) @ W"),
];
