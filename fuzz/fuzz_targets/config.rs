#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| header_gate_fuzz::run("config", input));
