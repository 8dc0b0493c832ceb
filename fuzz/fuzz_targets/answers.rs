#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| evenly_fuzz::answers(data));
