//! What CUDA's driver makes of a tensor and its boxes, for kernels that have them copied.
//!
//! # Contract of the unsafe code
//! The driver writes what it makes and keeps no address but that of the tensor, which is the device's.
#![allow(unsafe_code, reason = "the driver works on addresses")]

use cudarc::driver::result::DriverError;
use cudarc::driver::sys;
use nestor_ir::artifact::TensorMap;
use std::ffi::c_void;

/// The parameter of a kernel.
pub(super) fn encoded(map: &TensorMap) -> Result<sys::CUtensorMap, DriverError> {
    use sys::CUtensorMapDataType_enum as Type;
    use sys::CUtensorMapFloatOOBfill_enum as Fill;
    use sys::CUtensorMapInterleave_enum as Interleave;
    use sys::CUtensorMapL2promotion_enum as Promotion;
    use sys::CUtensorMapSwizzle_enum as Swizzle;
    let ty = match map.width {
        2 => Type::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        _ => Type::CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
    };
    let swizzle = match map.exchanged {
        true => Swizzle::CU_TENSOR_MAP_SWIZZLE_128B,
        false => Swizzle::CU_TENSOR_MAP_SWIZZLE_NONE,
    };
    let mut out = sys::CUtensorMap { opaque: [0; 16] };
    let address = map.address as *mut c_void;
    // SAFETY: the arrays are as long as the rank says, the one of strides shorter by one.
    let told = unsafe {
        sys::cuTensorMapEncodeTiled(
            &raw mut out,
            ty,
            map.sizes.len() as u32,
            address,
            map.sizes.as_ptr(),
            map.strides.as_ptr(),
            map.boxes.as_ptr(),
            [1; 4].as_ptr(),
            Interleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
            swizzle,
            Promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
            Fill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
        )
    };
    told.result().map(|()| out)
}
