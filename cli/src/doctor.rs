//! `doctor`: what this machine offers.

use crate::fail::Outcome;
use serde_json::json;

/// Says what there is.
pub(crate) fn doctor(as_json: bool) -> Outcome {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let simd = simd();
    if as_json {
        anstream::println!(
            "{}",
            json!({ "threads": threads, "simd": simd, "gpu": null })
        );
    } else {
        anstream::println!("threads  {threads}");
        anstream::println!("simd     {simd}");
        anstream::println!("gpu      not used: programs run on the CPU");
    }
    Ok(())
}

/// The widest vector instructions that are there.
pub(crate) fn simd() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::is_x86_feature_detected!("avx512f") {
            return "avx512";
        }
        if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
            return "avx2";
        }
    }
    "scalar"
}
