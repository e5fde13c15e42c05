//! The fuzz targets in one program: `SWITCHHOOK_FUZZ_TARGET` says which of `switchhook::bench::hostile::TARGETS` is run.

#![no_main]

use std::sync::LazyLock;

use switchhook::bench::hostile::{TARGETS, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("SWITCHHOOK_FUZZ_TARGET").expect("SWITCHHOOK_FUZZ_TARGET");
    TARGETS.into_iter().find(|(target, _)| *target == name).expect("a target of this name").1
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(broken) = TARGET(bytes) {
        panic!("{broken}");
    }
});
