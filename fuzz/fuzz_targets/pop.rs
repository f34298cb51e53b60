#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| rocketry_fuzz::run("pop", data));
