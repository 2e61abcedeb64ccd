//! Text back to quantities and accesses. Summands are kept as they are read: text that was printed
//! gives the same sum, term by term.

use crate::entity::Entity;
use crate::text::{Read, Reader};
use crate::tile::{Access, Affine, Bound, Index, Matrix, Monomial, Place};
use smallvec::SmallVec;

/// A sum of products, perhaps with dimensions of the iteration space among them.
struct Sum {
    affine: Affine,
    /// Dimensions with their factors.
    moving: Vec<(usize, i64)>,
}

/// Reads a quantity.
pub(crate) fn affine(r: &mut Reader) -> Read<Affine> {
    let sum = sum(r)?;
    match sum.moving.first() {
        None => Ok(sum.affine),
        Some((d, _)) => Err(format!("`p{d}` cannot stand here")),
    }
}

/// Reads a quantity of one product without index.
pub(crate) fn monomial(r: &mut Reader) -> Read<Monomial> {
    let found = affine(r)?;
    match (found.constant.as_slice(), found.terms.is_empty()) {
        ([], true) => Ok(Monomial::number(0)),
        ([m], true) => Ok(*m),
        _ => Err(format!("one product expected, not `{found}`")),
    }
}

fn sum(r: &mut Reader) -> Read<Sum> {
    let mut out = Sum { affine: Affine::default(), moving: vec![] };
    if r.peek() == "0" && r.ahead(1) != "*" {
        r.next();
        return Ok(out);
    }
    let mut sign = 1;
    loop {
        summand(r, sign, &mut out)?;
        sign = match (r.eat("+"), r.eat("-")) {
            (true, _) => 1,
            (_, true) => -1,
            (false, false) => return Ok(out),
        };
    }
}

fn summand(r: &mut Reader, sign: i64, to: &mut Sum) -> Read<()> {
    let mut m = Monomial::number(sign);
    let (mut index, mut moving): (Option<Index>, Option<usize>) = (None, None);
    loop {
        factor(r, &mut m, &mut index, &mut moving)?;
        if !r.eat("*") {
            break;
        }
    }
    match (index, moving) {
        (None, None) => to.affine.constant.push(m),
        (Some(index), None) => to.affine.terms.push((index, m)),
        (None, Some(d)) if Monomial::number(m.factor) == m => {
            to.moving.push((d, m.factor));
        }
        (_, Some(d)) => return Err(format!("`p{d}` times a number expected")),
    }
    Ok(())
}

fn factor(
    r: &mut Reader,
    m: &mut Monomial,
    index: &mut Option<Index>,
    moving: &mut Option<usize>,
) -> Read<()> {
    if r.eat("(") {
        if r.eat("P") {
            r.need("+ T )")?;
            m.whole = power(r)?;
            return Ok(());
        }
        r.need("T /")?;
        let c = r.count()?;
        r.need(")")?;
        m.chunks = (c, power(r)?);
        return Ok(());
    }
    let word = r.peek().to_owned();
    // A sign before a quantity without a number.
    let (negative, plain) = match word.strip_prefix('-') {
        Some(plain) if plain.parse::<i64>().is_err() => (true, plain),
        Some(_) | None => (false, word.as_str()),
    };
    let numbered = |letter: char| plain.strip_prefix(letter).and_then(|n| n.parse().ok());
    match plain {
        "" if negative => {
            // `-(T/16)`
            r.next();
            m.factor = -m.factor;
            return factor(r, m, index, moving);
        }
        "ticks" => {
            r.next();
            r.need("(")?;
            m.every = r.count()?;
            r.need(")")?;
        }
        "B" | "T" | "start" | "phase" => {
            r.next();
            match plain {
                "B" => m.batch = power(r)?,
                "T" => m.time = power(r)?,
                "start" => m.start = power(r)?,
                _ => {
                    r.need("(")?;
                    m.phase = r.count()?;
                    r.need(")")?;
                }
            }
        }
        _ => match (plain.parse::<i64>(), numbered('i'), numbered('p')) {
            (Ok(n), _, _) => {
                r.next();
                m.factor *= n;
            }
            (_, Some(n), _) if index.is_none() => {
                r.next();
                *index = Some(Index::new(n));
            }
            (_, _, Some(d)) if moving.is_none() => {
                r.next();
                *moving = Some(d);
            }
            _ => return Err(r.expected("a quantity")),
        },
    }
    if negative {
        m.factor = -m.factor;
    }
    Ok(())
}

fn power(r: &mut Reader) -> Read<u8> {
    if !r.eat("^") {
        return Ok(1);
    }
    r.take("a power", |word| word.parse().ok())
}

/// Reads a place.
pub(super) fn place(r: &mut Reader) -> Read<Place> {
    if r.peek().starts_with('t') {
        return Ok(Place::Tile(r.id("a tile", 't')?));
    }
    Ok(Place::Buffer(r.id("a place, `b0` or `t0`,", 'b')?))
}

/// Reads a matrix of a product.
pub(super) fn matrix(r: &mut Reader) -> Read<Matrix> {
    let place = place(r)?;
    r.need("[")?;
    let origin = affine(r)?;
    r.need(";")?;
    let row = affine(r)?;
    r.need(",")?;
    let column = affine(r)?;
    r.need("]")?;
    Ok(Matrix { place, origin, row, column })
}

/// Reads an access, perhaps one whose place was read already.
pub(super) fn access(r: &mut Reader, known: Option<Place>) -> Read<Access> {
    let place = match known {
        Some(place) => place,
        None => place(r)?,
    };
    r.need("[")?;
    let origin = affine(r)?;
    let strides: SmallVec<[Affine; 4]> = if r.eat(";") {
        let all = r.some(affine)?;
        r.need("]")?;
        all.into_iter().collect()
    } else {
        r.need("]")?;
        SmallVec::new()
    };
    let mut bounds = SmallVec::new();
    if r.eat("if") {
        bounds.push(bound(r, strides.len())?);
        // Behind `and` a bound begins with a quantity; a condition of a program does not.
        while r.peek() == "and" && begins_quantity(r.ahead(1)) {
            r.next();
            bounds.push(bound(r, strides.len())?);
        }
    }
    let pad = if r.eat("pad") { r.number()? } else { 0.0 };
    Ok(Access { place, origin, strides, bounds, pad })
}

fn begins_quantity(word: &str) -> bool {
    let plain = word.trim_start_matches('-');
    plain.parse::<i64>().is_ok()
        || ["B", "T", "start", "phase", "ticks", "(", ""].contains(&plain)
        || plain.strip_prefix(['i', 'p']).is_some_and(|n| n.parse::<usize>().is_ok())
}

fn bound(r: &mut Reader, rank: usize) -> Read<Bound> {
    let low = affine(r)?;
    r.need("<=")?;
    let Sum { affine: offset, moving } = sum(r)?;
    r.need("<")?;
    let high = affine(r)?;
    let mut strides: SmallVec<[i64; 4]> = SmallVec::from_elem(0, rank);
    for (d, by) in moving {
        let stride = strides.get_mut(d);
        *stride.ok_or_else(|| format!("`p{d}` is none of {rank} dimensions"))? += by;
    }
    Ok(Bound { offset, strides, low, high })
}
