//! No text makes the configuration reader panic, and every fault it tells has a place within the text.
#![no_main]

use evenly::config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(faults) = Config::parse("fuzz.toml", text) {
        let lines = text.matches('\n').count() + 1;
        assert!(!faults.faults.is_empty());
        for fault in &faults.faults {
            assert!((1..=lines).contains(&fault.line), "line {} of {lines}", fault.line);
            assert!(fault.column >= 1 && fault.width >= 1);
        }
        let _ = faults.to_string();
    }
});
