//! Dense products through the vendor's library, where it is found.
//!
//! The library's matrices lie column by column, ours row by row: it computes the transposed product, whose operands are ours
//! in the other order as they lie.
//!
//! # Contract of the unsafe code
//! Handles and descriptions are made here, used while they live and destroyed once; operands are addresses of the
//! device that the executor gave, as long as their strides say.
#![allow(unsafe_code, reason = "the library works on addresses")]

use super::product::{Part, Product, arranged};
use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys;
use std::ffi::c_void;

/// Bytes that the library may use for itself.
pub(super) const WORKSPACE: usize = 32 << 20;

/// The library.
pub(super) struct Library {
    handle: sys::cublasLtHandle_t,
}

// SAFETY: a handle may be used from any thread, and the device that holds it is used by one at a time.
unsafe impl Send for Library {}

impl Library {
    /// Opens the library, where it is found.
    pub(super) fn open() -> Option<Self> {
        // SAFETY: only looks for the library's file.
        let found = unsafe { sys::is_culib_present() };
        let handle = found.then(result::create_handle)?.ok()?;
        Some(Self { handle })
    }

    /// Tells a product; false where the library cannot take an operand as it lies.
    pub(super) fn tell(
        &self,
        what: &Product,
        products: &str,
        workspace: u64,
        stream: cudarc::driver::sys::CUstream,
    ) -> Result<bool, CublasError> {
        let Some(parts) = arranged(what) else { return Ok(false) };
        let compute = match products {
            "tf32" => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
            "bf16" => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_16BF,
            _ => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
        };
        // SAFETY: the contract above.
        unsafe { run(self.handle, what, &parts, compute, workspace, stream) }?;
        Ok(true)
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: made in `open`, destroyed here.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

/// # Safety
/// The contract of the file.
unsafe fn run(
    handle: sys::cublasLtHandle_t,
    what: &Product,
    parts: &[Part; 3],
    compute: sys::cublasComputeType_t,
    workspace: u64,
    stream: cudarc::driver::sys::CUstream,
) -> Result<(), CublasError> {
    use sys::cublasLtMatmulDescAttributes_t as Of;
    use sys::cublasLtMatmulPreferenceAttributes_t as Wish;
    let real = sys::cudaDataType::CUDA_R_32F;
    let address = |n: &i32| std::ptr::from_ref(n).cast::<c_void>();
    let desc = Desc(result::create_matmul_desc(compute, real)?);
    // SAFETY: attributes are set from numbers of their size; everything is destroyed after the call, which copies
    // what it needs.
    unsafe {
        for (attribute, part) in [
            (Of::CUBLASLT_MATMUL_DESC_TRANSA, &parts[0]),
            (Of::CUBLASLT_MATMUL_DESC_TRANSB, &parts[1]),
        ] {
            let turned = i32::from(part.turned);
            result::set_matmul_desc_attribute(desc.0, attribute, address(&turned), 4)?;
        }
        let [a, b, d] = [
            layout(&parts[0], what.repeats)?,
            layout(&parts[1], what.repeats)?,
            layout(&parts[2], what.repeats)?,
        ];
        let wish = Preference(result::create_matmul_pref()?);
        let most = WORKSPACE;
        result::set_matmul_pref_attribute(
            wish.0,
            Wish::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
            std::ptr::from_ref(&most).cast(),
            size_of::<usize>(),
        )?;
        // What is added to is the result itself.
        for (attribute, part) in [
            (Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &parts[0]),
            (Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &parts[1]),
            (Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &parts[2]),
            (Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &parts[2]),
        ] {
            let bytes = part.alignment();
            let bytes = std::ptr::from_ref(&bytes).cast();
            result::set_matmul_pref_attribute(
                wish.0,
                attribute,
                bytes,
                size_of::<u32>(),
            )?;
        }
        let chosen = result::get_matmul_algo_heuristic(
            handle, desc.0, a.0, b.0, d.0, d.0, wish.0,
        )?;
        let (alpha, beta) = (what.alpha, if what.accumulate { 1.0_f32 } else { 0.0 });
        let [left, right, out] =
            [&parts[0], &parts[1], &parts[2]].map(|p| p.operand.address as *mut c_void);
        result::matmul(
            handle,
            desc.0,
            std::ptr::from_ref(&alpha).cast(),
            std::ptr::from_ref(&beta).cast(),
            left,
            a.0,
            right,
            b.0,
            out,
            d.0,
            out,
            d.0,
            &raw const chosen.algo,
            workspace as *mut c_void,
            WORKSPACE,
            stream.cast(),
        )
    }
}

/// # Safety
/// The contract of the file.
unsafe fn layout(part: &Part, repeats: usize) -> Result<Layout, CublasError> {
    use sys::cublasLtMatrixLayoutAttribute_t as Of;
    let real = sys::cudaDataType::CUDA_R_32F;
    let (rows, columns) = (part.rows as u64, part.columns as u64);
    let made = Layout(result::create_matrix_layout(real, rows, columns, part.pitch)?);
    let count = repeats as i32;
    let apart = part.operand.repeat;
    // SAFETY: numbers of the attributes' sizes.
    unsafe {
        result::set_matrix_layout_attribute(
            made.0,
            Of::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT,
            std::ptr::from_ref(&count).cast(),
            size_of::<i32>(),
        )?;
        result::set_matrix_layout_attribute(
            made.0,
            Of::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
            std::ptr::from_ref(&apart).cast(),
            size_of::<i64>(),
        )?;
    }
    Ok(made)
}

struct Desc(sys::cublasLtMatmulDesc_t);
struct Layout(sys::cublasLtMatrixLayout_t);
struct Preference(sys::cublasLtMatmulPreference_t);

impl Drop for Desc {
    fn drop(&mut self) {
        // SAFETY: made once, destroyed here.
        let _ = unsafe { result::destroy_matmul_desc(self.0) };
    }
}
impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: made once, destroyed here.
        let _ = unsafe { result::destroy_matrix_layout(self.0) };
    }
}
impl Drop for Preference {
    fn drop(&mut self) {
        // SAFETY: made once, destroyed here.
        let _ = unsafe { result::destroy_matmul_pref(self.0) };
    }
}
