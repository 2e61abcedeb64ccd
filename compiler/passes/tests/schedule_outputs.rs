//! Plans of graphs whose outputs lie where inputs lay: what is updated in place is not read after.

use crate::common::schedule::{agree, planned};
use nestor_ir::plan::Launch;
use nestor_passes::schedule::{Calls, schedule};

/// Outputs that replace inputs, and one that is the old value of another.
#[test]
fn outputs_in_the_place_of_inputs() {
    for order in [["a", "b"], ["b", "a"]] {
        let text = r#"graph {
          %0 "a": [3] = input
          %1 "b": [3] = input
          %2 "x": [B, 3] = input
          %3: [3] = reduce{fold=sum, axes=(0)} %2
          %4: [3] = add %1, %3
          %5: [3] = mul %4, %0
          output "@0" %1
          output "@1" %4
          output "c" %5
        }"#;
        agree(&text.replace("@0", "a").replace("@1", "b"));
        let swapped = r#"graph {
          %0 "a": [3] = input
          %1 "b": [3] = input
          %2 "d": [3] = input
          %3 "x": [B, 3] = input
          %4: [3] = reduce{fold=sum, axes=(0)} %3
          %5: [3] = mul %0, %4
          output "@0" %1
          output "@1" %0
          output "d" %5
          output "e" %2
        }"#;
        agree(&swapped.replace("@0", order[0]).replace("@1", order[1]));
    }
}

/// The update of an optimiser: states and weights replaced in one map, an old one kept.
#[test]
fn updates_in_place() {
    agree(
        r#"graph {
          %0 "w": [3, 5] = input
          %1 "m": [3, 5] = input
          %2 "old": [3, 5] = input
          %3 "x": [B, T, 3] = input
          %4 "y": [B, T, 5] = input
          %5: [3, 5] = contract{batch=(), sum=(0:0, 1:1)} %3, %4
          %6: [3, 5] = constant{value=0.5}
          %7: [3, 5] = mul %1, %6
          %8: [3, 5] = add %7, %5
          %9: [3, 5] = sqrt %8
          %10: [3, 5] = sub %0, %8
          %11: [B, T, 5] = contract{batch=(), sum=(2:0)} %3, %0
          output "old" %0
          output "m" %8
          output "w" %10
          output "loss" %11
        }"#,
    );
}

/// However the outputs are ordered, an update of three states is one kernel that reads each once.
#[test]
fn an_update_is_one_kernel() {
    for order in [["w", "m", "v"], ["m", "v", "w"], ["v", "w", "m"]] {
        let mut text = String::from(
            r#"graph {
              %0 "w": [3, 5] = input
              %1 "m": [3, 5] = input
              %2 "v": [3, 5] = input
              %3 "g": [3, 5] = input
              %4: [3, 5] = constant{value=0.5}
              %5: [3, 5] = mul %1, %4
              %6: [3, 5] = add %5, %3
              %7: [3, 5] = mul %3, %3
              %8: [3, 5] = mul %2, %4
              %9: [3, 5] = add %8, %7
              %10: [3, 5] = exp %9
              %11: [3, 5] = div %6, %10
              %12: [3, 5] = sub %0, %11
            "#,
        );
        for name in order {
            let value = match name {
                "w" => 12,
                "m" => 6,
                _ => 9,
            };
            text += &format!("output \"{name}\" %{value}\n");
        }
        text += "}";
        agree(&text);
        let graph = nestor_ir::tensor::text::parse(&text).expect("is a graph");
        let (plan, _) = schedule(&graph, Calls::OfManyTokens).expect("has kernels");
        assert_eq!(plan.launches.len(), 1, "{order:?}\n{plan}");
    }
}

/// What only the map that computes it takes, even more than once, is not written anywhere.
#[test]
fn what_one_map_takes_is_not_stored() {
    let text = r#"graph {
      %0 "x": [B, T, 3] = input
      %1 "y": [B, T, 3] = input
      %2: [B, T, 3] = mul %0, %1
      %3: [B, T, 3] = add %0, %2
      %4: [B, T, 3] = add %3, %2
      %5: [B, T, 3] = mul %2, %4
      output "z" %5
    }"#;
    agree(text);
    let graph = nestor_ir::tensor::text::parse(text).expect("is a graph");
    let (_, kernels) = schedule(&graph, Calls::OfManyTokens).expect("has kernels");
    let written = |k: &nestor_ir::tile::Kernel| {
        let usage =
            |b: &nestor_ir::tile::BufferParam| b.usage != nestor_ir::tile::Use::Read;
        k.buffers.values().filter(|b| usage(b)).count()
    };
    assert_eq!(kernels.iter().map(written).collect::<Vec<_>>(), [1]);
}

/// Weights of more axes than their states have: all of it is done in the states' shape, in one map, where the weights lie.
#[test]
fn updates_in_another_shape() {
    let text = r#"graph {
      %0 "w": [3, 2, 4] = input
      %1 "m": [3, 8] = input
      %2 "x": [B, T, 3] = input
      %3 "y": [B, T, 2, 4] = input
      %4: [3, 2, 4] = contract{batch=(), sum=(0:0, 1:1)} %2, %3
      %5: [3, 8] = reshape{dims=[3, 8]} %4
      %6: [3, 8] = constant{value=0.5}
      %7: [3, 8] = mul %1, %6
      %8: [3, 8] = add %7, %5
      %9: [3, 8] = reshape{dims=[3, 8]} %0
      %10: [3, 8] = sub %9, %8
      %11: [3, 2, 4] = reshape{dims=[3, 2, 4]} %10
      output "m" %8
      output "w" %11
    }"#;
    agree(text);
    let (plan, _) = planned(text);
    let launches = plan.launches.iter().filter(|l| !matches!(l, Launch::Dense(_)));
    assert_eq!(launches.count(), 1);
}
