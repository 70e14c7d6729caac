#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::cache::hold(bytes));
