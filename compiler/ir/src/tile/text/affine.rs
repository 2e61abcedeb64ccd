//! Quantities as text: sums of products, signs between them, a factor of one not said.

use crate::tile::{Access, Affine, Bound, Matrix, Monomial, Place};
use std::fmt;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Buffer(b) => write!(f, "{b}"),
            Place::Tile(t) => write!(f, "{t}"),
        }
    }
}

impl fmt::Display for Monomial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.factor < 0 { "-" } else { "" };
        write!(f, "{sign}{}", magnitude(self, None))
    }
}

impl fmt::Display for Affine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (terms, constant) = summands(self);
        f.write_str(&sum(terms.chain(constant)))
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}", self.place, self.origin)?;
        for (n, stride) in self.strides.iter().enumerate() {
            write!(f, "{}{stride}", if n == 0 { "; " } else { ", " })?;
        }
        f.write_str("]")?;
        for (n, bound) in self.bounds.iter().enumerate() {
            write!(f, " {} {bound}", if n == 0 { "if" } else { "and" })?;
        }
        if self.pad.to_bits() != 0 {
            write!(f, " pad {}", number(self.pad))?;
        }
        Ok(())
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moving = self.strides.iter().enumerate().filter(|(_, by)| **by != 0);
        let moving = moving.map(|(d, &by)| {
            (by < 0, magnitude(&Monomial::number(by), Some(format!("p{d}"))))
        });
        let (terms, constant) = summands(&self.offset);
        let quantity = sum(terms.chain(moving).chain(constant));
        write!(f, "{} <= {quantity} < {}", self.low, self.high)
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}; {}, {}]", self.place, self.origin, self.row, self.column)
    }
}

/// A number that reads back as itself.
pub(crate) fn number(n: f64) -> String {
    if n == n.trunc() && n.abs() < 1e15 { format!("{n}") } else { format!("{n:?}") }
}

/// Whether it is taken away, and how much it is.
type Summand = (bool, String);

/// Terms with an index, and terms without.
fn summands(
    affine: &Affine,
) -> (impl Iterator<Item = Summand>, impl Iterator<Item = Summand>) {
    let terms = affine
        .terms
        .iter()
        .map(|(i, m)| (m.factor < 0, magnitude(m, Some(i.to_string()))));
    let constant = affine.constant.iter().map(|m| (m.factor < 0, magnitude(m, None)));
    (terms, constant)
}

fn sum(summands: impl Iterator<Item = Summand>) -> String {
    let mut out = String::new();
    for (negative, text) in summands {
        out.push_str(match (out.is_empty(), negative) {
            (true, false) => "",
            (true, true) => "-",
            (false, false) => " + ",
            (false, true) => " - ",
        });
        out.push_str(&text);
    }
    if out.is_empty() { "0".to_owned() } else { out }
}

fn magnitude(m: &Monomial, last: Option<String>) -> String {
    let power = |base: String, n: u8| match n {
        0 => None,
        1 => Some(base),
        n => Some(format!("{base}^{n}")),
    };
    let quantities: Vec<String> = [
        (m.every > 1).then(|| format!("ticks({})", m.every)),
        power("B".to_owned(), m.batch),
        power("T".to_owned(), m.time),
        power(format!("(T/{})", m.chunks.0), m.chunks.1),
        (m.phase > 0).then(|| format!("phase({})", m.phase)),
        power("start".to_owned(), m.start),
        power("(P+T)".to_owned(), m.whole),
        last,
    ]
    .into_iter()
    .flatten()
    .collect();
    let factor = m.factor.unsigned_abs();
    match (factor, quantities.is_empty()) {
        (n, true) => n.to_string(),
        (1, false) => quantities.join("*"),
        (n, false) => format!("{n}*{}", quantities.join("*")),
    }
}
