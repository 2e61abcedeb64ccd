//! Every text form of every golden case's stages reads back as what was printed: the level program,
//! the graph with its gradients, its kernels and its plan.

use nestor_compiler::pipeline::{self, Purpose};
use nestor_compiler::{FormOptions, native};
use nestor_ir::{level, plan, tensor, tile};
use nestor_tests::spec::Specs;
use nestor_tests::{files, root};

#[test]
fn golden_cases_read_back() {
    let mut wrong = Vec::new();
    for path in files(&root().join("tests/oracle"), "nest") {
        let name = path.display().to_string();
        let specs = Specs::read(&[&path]);
        let program = specs.elaborate("Case", &[]).program.expect("a case elaborates");
        let text = program.to_string();
        match level::text::parse(&text) {
            Ok(read) => {
                let same = read.inputs == program.inputs
                    && read.weights == program.weights
                    && read.memories == program.memories
                    && read.statements == program.statements
                    && read.code == program.code
                    && read.output_clocks == program.output_clocks;
                if !same || read.to_string() != text {
                    wrong.push(format!("{name}: {text}reads back as {read}"));
                }
            }
            Err(e) => wrong.push(format!("{name}: {e}\n{text}")),
        }
        let purpose = Purpose { resume: false, forms: FormOptions::default() };
        let lowered = match pipeline::with_gradients(&program, purpose, &[]) {
            Ok(lowered) => lowered,
            Err(e) => {
                wrong.push(format!("{name}: {e}"));
                continue;
            }
        };
        if tensor::text::parse(&lowered.graph.to_string()).ok()
            != Some(lowered.graph.clone())
        {
            wrong.push(format!("{name}: the graph"));
        }
        let (made, kernels) = match native::scheduled(&lowered.graph) {
            Ok(both) => both,
            Err(other) => {
                wrong.push(format!("{name}: {other}"));
                continue;
            }
        };
        let text = plan::text::print(&made, &kernels);
        match plan::text::parse(&text) {
            Ok(read) if read == made => {}
            Ok(_) => wrong.push(format!("{name}: the plan reads back as another")),
            Err(e) => wrong.push(format!("{name}: the plan: {e}")),
        }
        for kernel in &kernels {
            match tile::text::parse(&kernel.to_string()) {
                Ok(read) if read == *kernel => {}
                Ok(read) => wrong.push(format!("{name}: {kernel} reads back as {read}")),
                Err(e) => wrong.push(format!("{name}: {e}\n{kernel}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
