//! No fields make the cache's parsers panic; directives do not depend on how lines are cut.
#![no_main]

use evenly::http_cache::{RequestControl, ResponseControl};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for (number, line) in data.split(|byte| *byte == b'\n').take(16).enumerate() {
        let name = ["cache-control", "cdn-cache-control", "expires", "date", "age", "pragma"][number % 6];
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name, value);
        }
    }
    let _ = RequestControl::parse(&headers);
    let _ = ResponseControl::parse(&headers);
});
