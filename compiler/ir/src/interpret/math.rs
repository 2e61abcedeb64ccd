//! What each scalar function means. Backends compare themselves with these.

/// `2/sqrt(pi) int_0^a e^(-u^2) du`.
pub fn erf(a: f64) -> f64 {
    libm::erf(a)
}

/// `1 / (1 + e^-a)`, without overflow.
pub fn sigmoid(a: f64) -> f64 {
    if a >= 0.0 {
        1.0 / (1.0 + (-a).exp())
    } else {
        let e = a.exp();
        e / (1.0 + e)
    }
}

/// `log(1 + e^a)`, without overflow.
pub fn softplus(a: f64) -> f64 {
    a.max(0.0) + (-a.abs()).exp().ln_1p()
}

/// -1, 0 or 1.
pub fn sign(a: f64) -> f64 {
    if a > 0.0 {
        1.0
    } else if a < 0.0 {
        -1.0
    } else {
        a
    }
}

/// `a - b floor(a / b)`.
pub fn rem(a: f64, b: f64) -> f64 {
    a - b * (a / b).floor()
}
