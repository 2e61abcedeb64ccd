//! Text back to the program of a map. Scalars are numbered as they are met, operands first and from
//! left to right; loads and offsets that have no line of their own as they are first met.

use super::quantity::{access, affine};
use super::scalar::{FUNCTIONS, INFIX, kind_name};
use crate::entity::Entity;
use crate::text::{Read, Reader};
use crate::tile::{Access, Affine, Expr, ExprId, Place, ScalarKind, ScalarOp};

/// What the elements of places are.
pub(super) type Elements<'k> = &'k dyn Fn(Place) -> Option<ScalarKind>;

/// A program being read.
pub(super) struct Program<'k> {
    pub(super) expr: Expr,
    pub(super) loads: Vec<Access>,
    elements: Elements<'k>,
}

impl<'k> Program<'k> {
    pub(super) fn new(elements: Elements<'k>) -> Self {
        Self { expr: Expr::default(), loads: vec![], elements }
    }

    /// `l0 = b0[..]`
    pub(super) fn load_line(&mut self, r: &mut Reader) -> Read<()> {
        r.declared(format!("l{}", self.loads.len()))?;
        r.need("=")?;
        self.loads.push(access(r, None)?);
        Ok(())
    }

    /// `o0 = 4*i0`
    pub(super) fn offset_line(&mut self, r: &mut Reader) -> Read<()> {
        r.declared(format!("o{}", self.expr.offsets.len()))?;
        r.need("=")?;
        self.expr.offsets.push(affine(r)?);
        Ok(())
    }

    /// `e0 = ..`, perhaps `as` a kind.
    pub(super) fn scalar_line(&mut self, r: &mut Reader) -> Read<()> {
        let said: ExprId = r.id("a scalar", 'e')?;
        r.need("=")?;
        let found = self.scalar(r)?;
        if said != found {
            return Err(format!("this scalar is {found}, not {said}"));
        }
        if r.eat("as") {
            let kinds = [ScalarKind::Real, ScalarKind::Int, ScalarKind::Bool];
            self.expr.scalars[found].kind = r.one_of("a kind", &kinds, kind_name)?;
        }
        Ok(())
    }

    /// A whole expression.
    pub(super) fn scalar(&mut self, r: &mut Reader) -> Read<ExprId> {
        self.level(r, 1)
    }

    /// Operators that bind at least as tightly as `level`.
    fn level(&mut self, r: &mut Reader, level: u8) -> Read<ExprId> {
        let mut left = self.tight(r)?;
        loop {
            let row = INFIX.iter().find(|row| row.1 == r.peek() && row.2 >= level);
            let Some(&(op, _, own)) = row else { return Ok(left) };
            r.next();
            let right = self.level(r, own + 1)?;
            left = self.made(op, &[left, right])?;
        }
    }

    fn tight(&mut self, r: &mut Reader) -> Read<ExprId> {
        if r.eat("(") {
            let inner = self.scalar(r)?;
            r.need(")")?;
            return Ok(inner);
        }
        let word = r.peek().to_owned();
        let called = r.ahead(1) == "(";
        if let Some(&(op, _, count)) =
            FUNCTIONS.iter().find(|row| called && row.1 == word)
        {
            r.next();
            r.next();
            let operands = r.list(")", |r| self.scalar(r))?;
            if operands.len() != count {
                return Err(format!("`{word}` takes {count} operands"));
            }
            return self.made(op, &operands);
        }
        match word.as_str() {
            "at" if called => return self.index(r),
            "int" | "bool" if called => {
                r.next();
                r.next();
                let value = r.number()?;
                r.need(")")?;
                let kind = if word == "int" { ScalarKind::Int } else { ScalarKind::Bool };
                return Ok(self.expr.add(ScalarOp::Constant(value), &[], kind));
            }
            "true" | "false" => {
                r.next();
                let value = f64::from(u8::from(word == "true"));
                return Ok(self.expr.add(
                    ScalarOp::Constant(value),
                    &[],
                    ScalarKind::Bool,
                ));
            }
            _ => {}
        }
        let id = |letter: char| word.strip_prefix(letter).and_then(|n| n.parse().ok());
        if let Some(n) = id('e') {
            r.next();
            let known = self.expr.scalars.get(ExprId::new(n)).is_some();
            return known
                .then(|| ExprId::new(n))
                .ok_or_else(|| format!("there is no scalar e{n} yet"));
        }
        if let Some(n) = id('l') {
            r.next();
            return self.loaded(n);
        }
        if r.ahead(1) == "[" {
            let found = access(r, None)?;
            let known = self.loads.iter().position(|l| *l == found);
            let n = known.unwrap_or_else(|| {
                self.loads.push(found);
                self.loads.len() - 1
            });
            return self.loaded(n);
        }
        let value = r.number().map_err(|_| r.expected("a scalar"))?;
        Ok(self.expr.add(ScalarOp::Constant(value), &[], ScalarKind::Real))
    }

    /// `at(p0)`, `at(p0 + 4*i0)`, `at(p0 + o1)`
    fn index(&mut self, r: &mut Reader) -> Read<ExprId> {
        r.need("at (")?;
        let d = r.take("a dimension of the map, `p0`,", |word| {
            word.strip_prefix('p')?.parse().ok()
        })?;
        let named = r.ahead(1).strip_prefix('o').and_then(|n| n.parse().ok());
        let offset = match (r.eat("+"), named) {
            (true, Some(n)) => {
                r.next();
                n
            }
            (true, None) => {
                let offset = affine(r)?;
                self.offset(offset)
            }
            (false, _) => self.offset(Affine::default()),
        };
        r.need(")")?;
        Ok(self.expr.add(ScalarOp::Index(d, offset), &[], ScalarKind::Real))
    }

    fn offset(&mut self, offset: Affine) -> usize {
        let known = self.expr.offsets.iter().position(|o| *o == offset);
        known.unwrap_or_else(|| {
            self.expr.offsets.push(offset);
            self.expr.offsets.len() - 1
        })
    }

    /// A load's element.
    fn loaded(&mut self, n: usize) -> Read<ExprId> {
        let Some(load) = self.loads.get(n) else {
            return Err(format!("there is no load l{n} yet"));
        };
        let kind = (self.elements)(load.place)
            .ok_or_else(|| format!("there is no {}", load.place))?;
        Ok(self.expr.add(ScalarOp::Load(n), &[], kind))
    }

    fn made(&mut self, op: ScalarOp, operands: &[ExprId]) -> Read<ExprId> {
        let kinds = self.expr.kinds(operands);
        let kind = kinds
            .and_then(|kinds| op.kind(&kinds))
            .ok_or_else(|| "an operation without a kind".to_owned())?;
        Ok(self.expr.add(op, operands, kind))
    }
}
