//! Prints the table of `docs/rules.md`.

fn main() -> Result<(), String> {
    #![allow(clippy::print_stdout, reason = "it is a command")]
    println!("# The library's rules\n");
    println!(
        "Made by `cargo run --release -p nestor-tests --bin rules`. A row is a rule with a golden case: outputs, final states \
         and all gradients, in every form that applies, as machine code. The last two columns are the largest relative \
         distances from the case. *Class* is what the compiler found the update to be, *form* what it chose. \
         Rules without a case are held to their definition by the program of `nestor verify` that is named.\n"
    );
    print!("{}", nestor_tests::rules::table()?);
    Ok(())
}
