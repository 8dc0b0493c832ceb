//! Escaping: whatever bytes a client sends, a line stays one line and a field stays one field.

/// Appends `bytes` as a JSON string. What is not UTF-8 becomes U+FFFD; C1 controls, which steer terminals, are escaped.
pub(super) fn json(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid();
        if valid.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
            out.extend_from_slice(valid.as_bytes());
        } else {
            valid.chars().for_each(|letter| json_char(out, letter));
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

fn json_char(out: &mut Vec<u8>, letter: char) {
    match letter {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        letter if letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}') => {
            let code = u32::from(letter);
            out.extend_from_slice(b"\\u");
            out.extend([code >> 12, code >> 8, code >> 4, code].map(|digit| HEX[(digit & 15) as usize]));
        }
        letter => out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Appends `bytes` so that they can stand between quotes, and if there are no quotes between blanks: quotes,
/// backslashes, and everything outside of printable ASCII become `\xHH`, as nginx writes them. So do blanks, if asked.
pub(super) fn plain(out: &mut Vec<u8>, bytes: &[u8], escape_blanks: bool) {
    let lowest = if escape_blanks { b'!' } else { b' ' };
    let is_plain = |byte: u8| (lowest..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
    // To its end in any case: so it is done for sixteen bytes at once.
    if bytes.iter().fold(true, |all, byte| all & is_plain(*byte)) {
        return out.extend_from_slice(bytes);
    }
    for byte in bytes {
        if is_plain(*byte) {
            out.push(*byte);
        } else {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'\\', b'x', high, low]);
        }
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn json_reads_back_as_what_it_was(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut out = Vec::new();
            json(&mut out, &bytes);
            let read: String = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(read, String::from_utf8_lossy(&bytes).into_owned());
        }

        #[test]
        fn no_byte_ends_a_line_or_a_field(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let (mut in_json, mut text) = (Vec::new(), Vec::new());
            json(&mut in_json, &bytes);
            plain(&mut text, &bytes, true);
            prop_assert!(in_json.iter().all(|byte| *byte >= b' ' && *byte != 0x7f));
            prop_assert!(text.iter().all(|byte| matches!(byte, b'!'..=b'~') && *byte != b'"'));
        }
    }

    #[test]
    fn plain_text_as_nginx_writes_it() {
        let mut out = Vec::new();
        plain(&mut out, "a \"b\"\n\\é".as_bytes(), false);
        assert_eq!(std::str::from_utf8(&out).unwrap(), r"a \x22b\x22\x0a\x5c\xc3\xa9");
    }

    #[test]
    fn terminals_are_not_steered() {
        let mut out = Vec::new();
        json(&mut out, "\u{1b}[31m\u{9b}".as_bytes());
        assert_eq!(std::str::from_utf8(&out).unwrap(), "\"\\u001b[31m\\u009b\"");
    }
}
