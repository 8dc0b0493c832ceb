//! Normalising a path is done once and for all: doing it again changes nothing, and no dot segment is left.
#![no_main]

use evenly::target::{Host, normalise};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = Host::parse(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(path) = normalise(text) {
        let forward = path.forward.clone().into_owned();
        let again = normalise(&forward).expect("a normal path is a path");
        assert_eq!(again.forward, forward);
        assert!(path.for_rules().split('/').all(|segment| segment != "." && segment != ".."));
    }
});
