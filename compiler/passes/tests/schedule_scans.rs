//! Plans of linear recurrences of one number at every index: a step of all of them at once.

use crate::common::schedule::agree;

/// A walk by chunks of 4 tokens over two heads; `body` is between its inputs `g [4, 2, 3]`, `x [4, 2, 3]` and `s [2, 3]`, with
/// rows that are no tokens left as they are, and its outputs `next` and `y`.
fn walked(body: &str, next: usize, y: usize) -> String {
    format!(
        r#"graph {{
          %0 "g": [B, T, 2, 2, 3] = input
          %1 "x": [B, T, 2, 2, 3] = input
          %2 "s": [B, 2, 2, 3] = input
          %3: [B, 2, 2, 3], %4: [B, T, 2, 2, 3] = scan{{map=[B, 2], time=T, chunk=4}}
              stream(m0 t m1 . .) %0
              stream(m0 t m1 . .) %1
              initial(m0 m1 . .) %2
              yield stream(m0 t m1 . .) {{
            %0 "g": [4, 2, 3] = input
            %1 "x": [4, 2, 3] = input
            %2 "s": [2, 3] = input
            %3 "valid": bool[4] = input
            %4 "position": [4] = input
            %5: [4, 2, 3] = sigmoid %0
            %6: [4, 2, 3] = constant{{value=1}}
            %7: bool[4, 2, 3] = broadcast{{axes=(0)}} %3
            %8: [4, 2, 3] = select %7, %5, %6
            %9: [4, 2, 3] = constant{{value=0}}
            %10: [4, 2, 3] = select %7, %1, %9
            {body}
            output "next" %{next}
            output "y" %{y}
          }}
          output "s" %3
          output "y" %4
        }}"#
    )
}

#[test]
fn a_number_at_every_entry() {
    let body = r#"
            %11: [4, 6] = reshape %8
            %12: [6, 4] = transpose{order=(1, 0)} %11
            %13: [6, 4, 1, 1] = reshape %12
            %14: [4, 6] = reshape %10
            %15: [6, 4] = transpose{order=(1, 0)} %14
            %16: [6, 4, 1, 1] = reshape %15
            %17: [6, 1, 1] = reshape %2
            %18: [6, 4, 1, 1] = linear_scan %13, %16, %17
            %19: [6, 4] = reshape %18
            %20: [4, 6] = transpose{order=(1, 0)} %19
            %21: [4, 2, 3] = reshape %20
            %22: [6, 4, 1, 1] = linear_scan{reverse=yes} %13, %18, %17
            %23: [6, 4] = reshape %22
            %24: [4, 6] = transpose{order=(1, 0)} %23
            %25: [4, 2, 3] = reshape %24
            %26: [1, 2, 3] = slice{axis=0, start=3, size=1} %21
            %27: [2, 3] = reshape %26
            %28: [4, 2, 3] = mul %21, %25"#;
    agree(&walked(body, 27, 28));
}

#[test]
fn two_axes_of_entries() {
    let body = r#"
            %11: [2, 3, 4] = transpose{order=(1, 2, 0)} %8
            %12: [2, 3, 4, 1, 1] = reshape %11
            %13: [2, 3, 4] = transpose{order=(1, 2, 0)} %10
            %14: [2, 3, 4, 1, 1] = reshape %13
            %15: [2, 3, 1, 1] = reshape %2
            %16: [2, 3, 4, 1, 1] = linear_scan %12, %14, %15
            %17: [2, 3, 4] = reshape %16
            %18: [4, 2, 3] = transpose{order=(2, 0, 1)} %17
            %19: [1, 2, 3] = slice{axis=0, start=3, size=1} %18
            %20: [2, 3] = reshape %19
            %21: [4, 2, 3] = add %18, %1"#;
    agree(&walked(body, 20, 21));
}

/// `a' = p a + q b`, `b' = p a + p b` for three entries, in both directions.
#[test]
fn coupled_slots() {
    let body = r#"
            %11: [4, 3, 2] = transpose{order=(0, 2, 1)} %8
            %12: [4, 3, 1, 2] = reshape %11
            %13: [4, 3, 2, 2] = concat{axis=2} %12, %12
            %14: [3, 4, 2, 2] = transpose{order=(1, 0, 2, 3)} %13
            %15: [4, 3, 2] = transpose{order=(0, 2, 1)} %10
            %16: [3, 4, 2] = transpose{order=(1, 0, 2)} %15
            %17: [3, 4, 2, 1] = reshape %16
            %18: [3, 2] = transpose{order=(1, 0)} %2
            %19: [3, 2, 1] = reshape %18
            %20: [3, 4, 2, 1] = linear_scan %14, %17, %19
            %21: [3, 4, 2, 1] = linear_scan{reverse=yes} %14, %17, %19
            %22: [3, 4, 2, 1] = mul %20, %21
            %23: [3, 4, 2] = reshape %22
            %24: [4, 2, 3] = transpose{order=(1, 2, 0)} %23
            %25: [3, 4, 2] = reshape %20
            %26: [4, 2, 3] = transpose{order=(1, 2, 0)} %25
            %27: [1, 2, 3] = slice{axis=0, start=3, size=1} %26
            %28: [2, 3] = reshape %27"#;
    agree(&walked(body, 28, 24));
}
