//! CDN-Cache-Control (RFC 9213): directives for shared caches only, which replace Cache-Control and Expires.
//!
//! Unlike Cache-Control it is a Structured Field dictionary (RFC 9651), so it is right or it is nothing: an empty
//! field, a parse error or a directive of the wrong type means the whole field is ignored and Cache-Control counts.
//!
//! ```text
//!     CDN-Cache-Control: max-age=600, stale-if-error=60     valid: Cache-Control and Expires are not looked at
//!     CDN-Cache-Control: Max-Age=600                        keys are lower case: ignored
//!     CDN-Cache-Control: max-age="600"                      a String is no Integer: ignored
//! ```

use super::control::{Argument, ResponseControl};
use http::header::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

/// The targeted field this cache obeys.
pub const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// Reads the targeted field; none when it is absent, empty or wrong in any way.
pub fn targeted(headers: &HeaderMap) -> Option<ResponseControl> {
    let mut lines = headers.get_all(CDN_CACHE_CONTROL).iter();
    let mut text = lines.next()?.as_bytes().to_vec();
    for line in lines {
        text.extend_from_slice(b", ");
        text.extend_from_slice(line.as_bytes());
    }
    let directives: Dictionary = Parser::new(&text).parse().ok()?;
    if directives.is_empty() {
        return None;
    }
    let mut control = ResponseControl::default();
    for (name, value) in &directives {
        take(&mut control, name.as_str(), value)?;
    }
    Some(control)
}

/// Takes one directive in; none when its type is wrong.
fn take(control: &mut ResponseControl, name: &str, value: &ListEntry) -> Option<()> {
    let item = match value {
        ListEntry::Item(item) => Some(&item.bare_item),
        ListEntry::InnerList(_) => None,
    };
    let key = name.as_bytes();
    match name {
        "max-age" | "s-maxage" | "stale-while-revalidate" | "stale-if-error" => match item? {
            BareItem::Integer(seconds) => {
                let seconds = u64::try_from(i64::from(*seconds)).ok()?;
                control.apply(key, Argument::Text(seconds.to_string().as_bytes()));
            }
            _ => return None,
        },
        "no-cache" | "private" => match item? {
            BareItem::Boolean(true) => control.apply(key, Argument::Absent),
            BareItem::Boolean(false) => {}
            BareItem::String(fields) => control.apply(key, Argument::Text(fields.as_str().as_bytes())),
            _ => return None,
        },
        "no-store" | "public" | "must-revalidate" | "proxy-revalidate" | "must-understand" | "immutable" => {
            match item? {
                BareItem::Boolean(true) => control.apply(key, Argument::Absent),
                BareItem::Boolean(false) => {}
                _ => return None,
            }
        }
        _ => {} // an unknown directive of any type is fine
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use std::time::Duration;

    fn parse(lines: &[&str]) -> Option<ResponseControl> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CDN_CACHE_CONTROL, HeaderValue::from_str(line).expect("a valid test value"));
        }
        targeted(&headers)
    }

    #[test]
    fn rfc9213_2_1_is_a_dictionary_that_may_span_lines() {
        let control = parse(&["max-age=600;ext=1", "must-revalidate, x=(1 2)"]).expect("valid");
        assert_eq!(control.max_age, Some(Duration::from_secs(600)));
        assert!(control.must_revalidate && !control.no_store);
        assert!(
            parse(&["no-cache=\"set-cookie\""]).is_some_and(|control| control.no_cache.names().len() == 1)
        );
    }

    #[test]
    fn rfc9213_2_1_invalid_or_empty_fields_are_ignored_whole() {
        for lines in [
            &[][..],
            &[""],
            &["max-age=600, &"],
            &["Max-Age=600"],
            &["max-age =600"],
            &["max-age= 600"],
            &["max-age=\"600\", no-store"],
            &["max-age=600.5"],
            &["max-age=-1"],
            &["max-age"],
            &["no-store=1"],
            &["max-age=9999999999999999"],
            &["max-age=1,"],
        ] {
            assert_eq!(parse(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn rfc9213_large_lifetimes_saturate() {
        let longest = Some(Duration::from_secs(1 << 31));
        assert_eq!(parse(&["max-age=99999999999"]).and_then(|control| control.max_age), longest);
    }

    #[test]
    fn rfc9651_false_flags_are_absent() {
        assert_eq!(parse(&["no-store=?0"]), Some(ResponseControl::default()));
    }
}
