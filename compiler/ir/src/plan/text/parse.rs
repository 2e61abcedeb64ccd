//! Text back to a plan.

use crate::entity::Entity;
use crate::plan::{
    Dense, DenseOperand, KernelId, Launch, Plan, Role, Tensor, TensorData,
};
use crate::text::{ParseError, Read, Reader};
use crate::tile::Shape;
use crate::tile::text::{read_affine, read_monomial, read_shape};

/// Reads a plan.
///
/// # Errors
/// Where the text is no plan: the line, what was expected and what was found.
pub fn parse(text: &str) -> Result<Plan, ParseError> {
    Reader::whole(text, |r| {
        r.need("plan {")?;
        let mut plan = Plan::default();
        while r.ahead(1).starts_with('"') {
            r.declared(Tensor::new(plan.tensors.len()))?;
            let _: Tensor = plan.tensors.push(declared(r)?);
        }
        while !r.eat("}") {
            r.declared(plan.launches.len())?;
            r.need(":")?;
            plan.launches.push(launch(r)?);
        }
        Ok(plan)
    })
}

fn declared(r: &mut Reader) -> Read<TensorData> {
    let name = r.string()?;
    r.need(":")?;
    let ty = r.ty()?;
    let role = match r.next().as_str() {
        "input" => Role::Input(r.string()?),
        "output" => Role::Output(r.some(Reader::string)?),
        "in" => {
            r.need("place")?;
            let input = r.string()?;
            r.need("->")?;
            Role::InPlace { input, output: r.string()? }
        }
        "temporary" => Role::Temporary,
        other => {
            let roles = "`input`, `output`, `in place` or `temporary`";
            return Err(format!("{roles} expected, not `{other}`"));
        }
    };
    let narrow = r.eat("bfloat16");
    r.need("lives")?;
    let first = r.count()?;
    r.need("..")?;
    let life = (first, r.count()?);
    let slot = if r.eat("slot") { Some(r.count()?) } else { None };
    Ok(TensorData { name, ty, role, narrow, life, slot })
}

fn tensor(r: &mut Reader) -> Read<Tensor> {
    r.id("a tensor, `x0`,", 'x')
}

fn launch(r: &mut Reader) -> Read<Launch> {
    match r.next().as_str() {
        "launch" => {
            let kernel: KernelId = r.id("a kernel, `k0`,", 'k')?;
            r.need("(")?;
            Ok(Launch::Kernel { kernel, buffers: r.list(")", tensor)? })
        }
        "dense" => dense(r),
        "zero" => Ok(Launch::Zero(tensor(r)?)),
        "copy" => {
            let to = tensor(r)?;
            r.need("from")?;
            Ok(Launch::Copy { from: tensor(r)?, to })
        }
        other => {
            let all = "`launch`, `dense`, `zero` or `copy`";
            Err(format!("{all} expected, not `{other}`"))
        }
    }
}

fn dense(r: &mut Reader) -> Read<Launch> {
    let batch = read_monomial(r)?;
    r.need("x [")?;
    let m = read_monomial(r)?;
    r.need(",")?;
    let n = read_monomial(r)?;
    r.need(",")?;
    let k = read_monomial(r)?;
    r.need("]")?;
    let out = operand(r)?;
    let accumulate = r.eat("+=");
    if !accumulate {
        r.need("=")?;
    }
    let alpha = if r.ahead(1) == "*" { r.number()? } else { 1.0 };
    r.eat("*");
    let left = operand(r)?;
    r.need("@")?;
    let right = operand(r)?;
    let shape = if r.eat(",") { read_shape(r)? } else { Shape::Full };
    Ok(Launch::Dense(Dense {
        batch,
        m,
        n,
        k,
        alpha,
        left,
        right,
        out,
        accumulate,
        shape,
    }))
}

fn operand(r: &mut Reader) -> Read<DenseOperand> {
    let tensor = tensor(r)?;
    r.need("[")?;
    let origin = read_affine(r)?;
    r.need(";")?;
    let batch = read_monomial(r)?;
    r.need(",")?;
    let row = read_monomial(r)?;
    r.need(",")?;
    let column = read_monomial(r)?;
    r.need("]")?;
    Ok(DenseOperand { tensor, origin, batch, row, column })
}
