//! What the HTTP cache reads: directives, selecting fields, and its own bytes from elsewhere.

use bytes::Bytes;
use evenly::http_cache::{Key, RequestControl, ResponseControl, Selecting, Settings, recode};
use http::{HeaderMap, HeaderName, HeaderValue, header::VARY};
use xxhash_rust::xxh3::xxh3_64;

/// No fields make the parsers panic; directives do not depend on how lines are cut.
pub fn cache_control(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for (number, line) in data.split(|byte| *byte == b'\n').take(16).enumerate() {
        let name = ["cache-control", "cdn-cache-control", "expires", "date", "age", "pragma"][number % 6];
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name, value);
        }
    }
    let (request, response) = (RequestControl::parse(&headers), ResponseControl::parse(&headers));
    let lines: Vec<&[u8]> = headers.get_all("cache-control").iter().map(HeaderValue::as_bytes).collect();
    // An open quotation ends with its line, and would go on in a longer one.
    if !lines.is_empty()
        && !data.contains(&b'"')
        && let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b", "[..]))
    {
        headers.insert("cache-control", joined);
        assert_eq!(RequestControl::parse(&headers), request);
        assert_eq!(ResponseControl::parse(&headers), response);
    }
}

/// A stored response fits the request that it answered, also when its selecting fields went through storage, and the
/// key of a URI names itself.
pub fn vary(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut response = HeaderMap::new();
    for line in lines.by_ref().take(2) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            response.append(VARY, value);
        }
    }
    let mut request = HeaderMap::new();
    for line in lines.by_ref().take(12) {
        let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':').unwrap_or(line.len()));
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value.strip_prefix(b":").unwrap_or(value));
        if let (Ok(name), Ok(value)) = (name, value) {
            request.append(name, value);
        }
    }
    if let Some(selecting) = Selecting::new(&response, &request) {
        assert!(selecting.fits(&request));
        assert_eq!(selecting.of(&request), selecting);
        let kept = selecting.fields().map(|(name, value)| (name.clone(), value.map(<[u8]>::to_vec)));
        assert!(Selecting::from_fields(kept.collect()).fits(&request));
    }
    let rest: Vec<&[u8]> = lines.collect();
    if let Some(uri) = std::str::from_utf8(&rest.concat()).ok().and_then(|text| text.parse().ok()) {
        let settings = Settings { drop_query: vec!["utm_*".into()], sort_query: true, ..Settings::default() };
        if let Some(key) = Key::from_uri(&uri, &settings) {
            let again = key.as_str().parse().ok().and_then(|uri| Key::from_uri(&uri, &settings));
            assert!(again.is_none_or(|again| again == key), "{uri} {key:?}");
        }
    }
}

/// Bytes from a store decode to nothing, or to what is encoded and decoded again the same.
pub fn entry(data: &[u8]) {
    assert_eq!(recode("k", Bytes::copy_from_slice(data)), None, "without a checksum they are nobody's");
    // The key's length and the key, what the fuzzer chose, and the checksum that makes it be read.
    let content = [&[1, 0, 0, 0, b'k'], data].concat();
    let (checksum, length) = (xxh3_64(&content).to_le_bytes(), (content.len() as u64).to_le_bytes());
    let bytes = [b"evh\x01", &checksum[..], &length[..], &content[..]].concat();
    if let Some(once) = recode("k", bytes.into()) {
        assert_eq!(recode("k", once.clone()), Some(once.clone()));
        assert_eq!(recode("another key", once), None);
    }
}
