//! A kernel that copies an image to shared memory, does products and gives the accumulators back.

use nestor_emulator::{Allocation, Fault, Launch, Memory, Module, Stats, launch};

/// Before the products: an image copied to shared memory is made visible to them.
pub(crate) const HANDED_OVER: &str = "fence.proxy.async;\n bar.sync 0;\n";

/// What stands behind products.
pub(crate) const DONE: &str =
    "wgmma.commit_group.sync.aligned;\n wgmma.wait_group.sync.aligned 0;\n";

pub(crate) const FENCE: &str = "wgmma.fence.sync.aligned;\n";

/// A kernel and its launch.
pub(crate) struct Kernel {
    pub(crate) threads: u32,
    /// Blocks, all of one cluster.
    pub(crate) blocks: u32,
    /// What is copied to shared memory, by every block: a multiple of 16 bytes for each thread.
    pub(crate) image: Vec<u8>,
    /// Columns of the product.
    pub(crate) columns: usize,
    /// From the copy to the accumulators' stores.
    pub(crate) body: String,
}

impl Kernel {
    /// One block of one group.
    pub(crate) fn new(image: Vec<u8>, columns: usize, body: String) -> Self {
        Self { threads: 128, blocks: 1, image, columns, body }
    }

    /// `%r1` is the thread, `%rd5` the base of shared memory, `%rd6` where the thread's copy begins. All accumulators are 1.
    pub(crate) fn text(&self) -> String {
        let Self { threads, blocks, image, columns, body } = self;
        let step = 16 * *threads as usize;
        assert!(image.len().is_multiple_of(step), "{} bytes", image.len());
        let copy = |at: usize| {
            format!(
                "ld.global.v4.b32 {{%r2, %r3, %r4, %r5}}, [%rd4+{at}];
                st.shared.v4.b32 [%rd6+{at}], {{%r2, %r3, %r4, %r5}};\n"
            )
        };
        let copies: String = (0..image.len()).step_by(step).map(copy).collect();
        let each = columns / 2;
        let begin = |n: usize| format!("mov.b32 %f{n}, 0f3F800000;\n");
        let begin: String = (0..each).map(begin).collect();
        let store = |n: usize| format!("st.global.b32 [%rd7+{}], %f{n};\n", 4 * n);
        let stores: String = (0..each).map(store).collect();
        format!(
            r"//
.version 8.0
.target sm_90a
.address_size 64
.extern .shared .align 1024 .b8 shared[];
.visible .entry test(
	.param .u64 .ptr .global .align 16 test_param_0,
	.param .u64 .ptr .global .align 16 test_param_1
)
.reqnctapercluster {blocks}, 1, 1
{{
        ld.param.b64 %rd1, [test_param_0];
        ld.param.b64 %rd2, [test_param_1];
        mov.u32 %r1, %tid.x;
        mul.wide.u32 %rd3, %r1, 16;
        add.s64 %rd4, %rd2, %rd3;
        mov.b64 %rd5, shared;
        add.s64 %rd6, %rd5, %rd3;
        {copies}
        {begin}
        {body}
        mov.u32 %r6, %ctaid.x;
        mad.lo.s32 %r7, %r6, {threads}, %r1;
        mul.wide.u32 %rd7, %r7, {};
        add.s64 %rd7, %rd1, %rd7;
        {stores}
        ret;
}}
",
            4 * each
        )
    }

    /// Runs it: D as rows, one group's behind another's.
    pub(crate) fn run(&self) -> Result<(Vec<f32>, Stats), Fault> {
        self.run_text(&self.text())
    }

    /// As [`Kernel::run`], by a text of its own.
    pub(crate) fn run_text(&self, text: &str) -> Result<(Vec<f32>, Stats), Fault> {
        let module = Module::parse(text).unwrap_or_else(|e| panic!("{e}"));
        let mut memory = Memory::default();
        let each = self.columns / 2;
        let all = (self.threads * self.blocks) as usize;
        let out = memory.add(Allocation::filled("out", vec![0; 4 * all * each]));
        let image = memory.add(Allocation::filled("image", self.image.clone()));
        let how = Launch {
            grid: self.blocks,
            block: self.threads,
            shared: self.image.len(),
            params: vec![out, image],
            maps: vec![],
            limit: 1_000_000,
            trusted: false,
        };
        let stats = launch(&module, "test", &how, &mut memory)?;
        let bytes = memory.get(out).data();
        let mut rows = vec![0.0; all / 2 * self.columns];
        for (n, word) in bytes.chunks_exact(4).enumerate() {
            let (thread, d) = (n / each, n % each);
            let lane = thread % 32;
            let row = thread / 32 * 16 + lane / 4 + 8 * (d / 2 % 2);
            let column = d / 4 * 8 + 2 * (lane % 4) + d % 2;
            let number = f32::from_le_bytes(word.try_into().expect("four bytes"));
            rows[row * self.columns + column] = number;
        }
        Ok((rows, stats))
    }

    /// What goes wrong.
    pub(crate) fn fault(&self) -> Fault {
        self.run().expect_err("a mistake")
    }
}

/// One product; `a` is a descriptor or registers, and `turned` says it of A, where it has a descriptor, and of B.
pub(crate) fn product(
    columns: usize,
    [a, b]: [&str; 2],
    adds: &str,
    turned: &[bool],
) -> String {
    let d: Vec<String> = (0..columns / 2).map(|n| format!("%f{n}")).collect();
    let turned: Vec<&str> = turned.iter().map(|t| if *t { "1" } else { "0" }).collect();
    format!(
        "wgmma.mma_async.sync.aligned.m64n{columns}k16.f32.bf16.bf16 {{{}}}, {a}, {b}, {adds}, 1, 1, {};\n",
        d.join(", "),
        turned.join(", ")
    )
}
