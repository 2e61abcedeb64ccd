//! Maps joined; that kernels give the same is seen to with every schedule (`common/schedule.rs`).

use nestor_ir::tile::text::parse;
use nestor_passes::merge::{Joining, merged};

fn text(middle: &str) -> String {
    format!(
        r#"kernel "walk" {{
  b0 "x": [B, 16, 64] read
  b1 "y": [B, 16, 64] write
  b2 "z": [B] write
  t0 "state": [16, 64]
  t1 "sum": [16, 64]
  t2 "gate": [16]
  t3 "product": [16, 16]
  grid i0 < B
{middle}}}"#
    )
}

fn becomes(before: &str, after: &str) {
    let read = |text: &str| parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let found = merged(read(&text(before)), Joining::CORES);
    assert_eq!(found.to_string(), read(&text(after)).to_string());
}

const SUM: &str = "  map [16, 64] t1[0; 64, 1] = t0[0; 64, 1] + t2[0; 1, 0]\n";
const NEXT: &str = "  map [16, 64] t0[0; 64, 1] = t1[0; 64, 1] * 0.5\n";
const PRODUCT: &str =
    "  product [16, 16, 64] t3[0; 16, 1] = t1[0; 64, 1] @ t1[0; 1, 64]\n";
const FOLD: &str = "  map [16, 64] b2[i0] = sum over p0, p1 of t1[0; 64, 1]\n";
const OUT: &str = "  map [16, 64] b1[1024*i0; 64, 1] = t0[0; 64, 1]\n";

#[test]
fn what_follows_from_a_stored_value_is_computed_with_it() {
    let before = [PRODUCT, SUM, PRODUCT, FOLD, NEXT, OUT].concat();
    let together = "  map [16, 64] {
    l0 = t0[0; 64, 1]
    l1 = t2[0; 1, 0]
    e2 = l0 + l1
    e4 = e2 * 0.5
    t1[0; 64, 1] = e2
    b2[i0] = sum over p0, p1 of e2
    t0[0; 64, 1] = e4
    b1[1024*i0; 64, 1] = e4
  }
";
    let after = [PRODUCT, together, PRODUCT].concat();
    becomes(&before, &after);
}

#[test]
fn a_value_that_nothing_else_reads_is_not_stored() {
    let halved = "  map [16, 64] b1[1024*i0; 64, 1] = t1[0; 64, 1] * 0.5\n";
    let together =
        "  map [16, 64] b1[1024*i0; 64, 1] = (t0[0; 64, 1] + t2[0; 1, 0]) * 0.5\n";
    becomes(&[SUM, halved].concat(), together);
}

#[test]
fn a_map_does_not_pass_what_changes_its_operands() {
    let change = "  product [16, 64, 16] t0[0; 64, 1] += t3[0; 16, 1] @ t1[0; 64, 1]\n";
    let stays = [SUM, change, OUT, PRODUCT].concat();
    becomes(&stays, &stays);
}

#[test]
fn a_copy_waits_for_what_is_written_over_it() {
    let copy = "  map [16, 64] b1[1024*i0; 64, 1] = t0[0; 64, 1]\n";
    let over = "  map [16, 64] t0[0; 64, 1] = t0[0; 64, 1] * t3[0; 1, 0]\n";
    let gram = "  product [16, 16, 64] t3[0; 16, 1] = t0[0; 64, 1] @ t0[0; 1, 64]\n";
    let together = "  map [16, 64] {
    e0 = t0[0; 64, 1]
    b1[1024*i0; 64, 1] = e0
    t0[0; 64, 1] = e0 * t3[0; 1, 0]
  }
";
    becomes(&[copy, gram, over, gram].concat(), &[gram, together, gram].concat());
}

#[test]
fn a_turned_matrix_is_not_there_yet() {
    let square = "  map [16, 16] t1[0; 64, 1] = t3[0; 16, 1] + t3[0; 1, 16]\n";
    let turned = "  map [16, 16] b1[1024*i0; 64, 1] = t1[0; 1, 64] + t3[0; 16, 1]\n";
    let stays = [square, turned].concat();
    becomes(&stays, &stays);
}

#[test]
fn what_stays_where_it_lies_is_left_out() {
    let stays = "  map [16, 64] t0[0; 64, 1] = t0[0; 64, 1]\n";
    becomes(&[PRODUCT, stays, OUT].concat(), &[PRODUCT, OUT].concat());
}

#[test]
fn what_may_be_copied_ahead_stays_by_itself_where_that_is_asked_for() {
    let body = "  loop i1 < 4 {
    map [16, 64] t1[0; 64, 1] = b0[1024*i0; 64, 1]
    map [16, 64] t0[0; 64, 1] = t1[0; 64, 1] * 0.5
    map [16, 64] b1[1024*i0; 64, 1] = t0[0; 64, 1]
  }
";
    let read = |text: &str| parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let copies = |how: Joining| {
        let found = merged(read(&text(body)), how).to_string();
        (found.matches("map").count(), found.contains("t1[0; 64, 1] = b0"))
    };
    assert_eq!(copies(Joining::WARPS), (2, true));
    assert_eq!(copies(Joining::CORES), (1, false));
}

#[test]
fn small_maps_are_joined_where_each_makes_threads_wait() {
    let body = "  map [16, 16] t3[0; 16, 1] = t1[0; 64, 1] * 0.5
  map [16, 16] b1[1024*i0; 64, 1] = t3[0; 16, 1] + t0[0; 64, 1]
";
    let maps = |how: Joining| {
        let kernel = parse(&text(body)).expect("a kernel");
        merged(kernel, how).to_string().matches("map").count()
    };
    assert_eq!(maps(Joining::WARPS), 1);
    assert_eq!(maps(Joining::CORES), 2);
}
