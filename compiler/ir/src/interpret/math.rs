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

/// Distance between a single and the true value, in units in the last place of the true value.
pub fn ulps(found: f32, wanted: f64) -> f64 {
    let rounded = wanted as f32;
    if found.is_nan() || wanted.is_nan() {
        return if found.is_nan() && wanted.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if found == rounded {
        return 0.0;
    }
    if !found.is_finite() || !rounded.is_finite() {
        return f64::INFINITY;
    }
    let magnitude = rounded.abs().max(f32::MIN_POSITIVE);
    let unit = f64::from(f32::from_bits(magnitude.to_bits() + 1)) - f64::from(magnitude);
    (f64::from(found) - wanted).abs() / unit
}
