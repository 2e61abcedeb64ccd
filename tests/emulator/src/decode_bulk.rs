//! Instructions of barriers that count bytes, and of copies that they count: their text to what is done.

use crate::decode::Decoder;
use crate::module::{BulkOp, Reg};
use crate::text::operands;

/// What stands behind `mbarrier.`, with its operands.
pub(crate) fn barrier_op(d: &mut Decoder, tail: &str, list: &[String]) -> Option<BulkOp> {
    match (tail, list) {
        ("init.shared::cta.b64", [at, count]) => {
            Some(BulkOp::Make { at: d.address(at)?, count: d.source(count)? })
        }
        ("inval.shared::cta.b64", [at]) => Some(BulkOp::Unmake { at: d.address(at)? }),
        // To take what the barrier says of its phase is not of the subset.
        ("arrive.expect_tx.shared::cta.b64", [sink, at, bytes]) if sink == "_" => {
            Some(BulkOp::Expect { at: d.address(at)?, bytes: d.source(bytes)? })
        }
        ("try_wait.parity.shared::cta.b64", [done, at, parity]) => Some(BulkOp::Wait {
            done: d.register(done),
            at: d.address(at)?,
            parity: d.source(parity)?,
        }),
        _ => None,
    }
}

/// What stands behind `cp.async.bulk.tensor.`, with its operands: a box of as many dimensions as there are coordinates.
pub(crate) fn copy_op(d: &mut Decoder, tail: &str, list: &[String]) -> Option<BulkOp> {
    let (rank, how) = tail.split_once('.')?;
    let rank: usize = rank.strip_suffix('d')?.parse().ok()?;
    let to = how.strip_suffix(".mbarrier::complete_tx::bytes")?;
    // To the block's own memory either way.
    if !["shared::cluster.global.tile", "shared::cta.global"].contains(&to) {
        return None;
    }
    let [to, from, barrier] = list else { return None };
    let inside = from.strip_prefix('[')?.strip_suffix(']')?;
    let [tensor, place] = &operands(inside)[..] else { return None };
    let place: Vec<Reg> = d.sources(place)?;
    let (to, tensor, barrier) = (d.address(to)?, d.source(tensor)?, d.address(barrier)?);
    (place.len() == rank).then_some(BulkOp::Copy { to, tensor, place, barrier })
}
