//! How a line of the access log looks: `"off"`, `"json"`, `"combined"`, or a pattern of one's own.
//!
//! ```text
//! pattern = { literal | "{" field "}" | "{request:" header-name "}" | "{{" | "}}" }
//!
//! "{time} {client} {method} {target} {status} {duration_ms} {request:accept-language}"
//! ```
//!
//! The names of the fields are the keys of the JSON form. Headers that carry secrets cannot be asked for.

use std::{fmt, str::FromStr};

use http::{HeaderName, header};

/// `access_log`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AccessLog {
    /// No lines.
    #[default]
    Off,
    /// A JSON object a line, with every [`LogField`].
    Json,
    /// What the line says, piece by piece; `combined` is one of these.
    Pattern(Vec<Piece>),
}

/// A part of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it stands.
    Literal(String),
    /// A fact of the request.
    Field(LogField),
    /// `{clf_time}`: when the request arrived, as the common log format writes it: `22/Nov/2026:18:30:18 +0000`.
    ClfTime,
    /// A field of the request's head.
    Request(HeaderName),
}

macro_rules! log_fields {
    ($($variant:ident $name:literal $doc:literal,)*) => {
        /// A fact of a request that a line can tell.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum LogField { $(#[doc = $doc] $variant,)* }

        impl LogField {
            /// Every field, in the order of the JSON form.
            pub const ALL: [LogField; [$($name),*].len()] = [$(LogField::$variant),*];

            /// The name in a pattern and in JSON.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(LogField::$variant => $name,)* }
            }

            /// What it tells, in a sentence.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self { $(LogField::$variant => $doc,)* }
            }
        }
    };
}

log_fields! {
    Time "time" "when the request arrived, RFC 3339 in UTC with milliseconds",
    Client "client" "the client's address",
    User "user" "who logged in",
    Method "method" "the method",
    Target "target" "the request target, secrets in its query masked",
    Host "host" "the Host field",
    Version "version" "the version of HTTP",
    Status "status" "the status of the answer; 0 if the client left before there was one",
    BytesIn "bytes_in" "bytes of the request's body that were read",
    BytesOut "bytes_out" "bytes of the answer's body that were sent",
    DurationMs "duration_ms" "from the request's head to the end of the answer",
    FirstByteMs "first_byte_ms" "from the request's head to the head of the answer",
    Member "member" "the member that answered",
    Attempts "attempts" "how many members were tried",
    Cache "cache" "what the cache did: hit, miss, stale, revalidated, …",
    RequestId "request_id" "the request's id, accepted or made",
    Referer "referer" "the Referer field, secrets in its query masked",
    UserAgent "user_agent" "the User-Agent field",
    Error "error" "why the answer is our own, or broke off",
}

impl AccessLog {
    /// The line of Apache's `combined` format.
    fn combined() -> Self {
        COMBINED.parse().expect("the constant is a pattern, as the test below shows")
    }
}

impl FromStr for AccessLog {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        match text {
            "off" => Ok(AccessLog::Off),
            "json" => Ok(AccessLog::Json),
            "combined" => Ok(AccessLog::combined()),
            pattern => pieces(pattern).map(AccessLog::Pattern),
        }
    }
}

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PatternError {
    /// Neither a known word nor a pattern: it asks for nothing.
    NoField(String),
    /// `{` without `}`, or `}` without `{`.
    Brace,
    /// No field has this name.
    UnknownField(String),
    /// Not a name of a header field.
    HeaderName(String),
    /// A field that carries secrets.
    SecretHeader(HeaderName),
    /// A line break would make two lines of one.
    LineBreak,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PatternError::NoField(text) => write!(f, "\"{text}\" is neither a format nor has a {{field}}"),
            PatternError::Brace => {
                f.write_str("a brace without its other half (write {{ for a brace itself)")
            }
            PatternError::UnknownField(name) => {
                write!(f, "unknown field \"{name}\"")?;
                let names = LogField::ALL.map(LogField::name);
                match super::error::nearest(name, names) {
                    Some(near) => write!(f, "; did you mean \"{near}\"?"),
                    None => write!(f, " (known: {})", names.join(", ")),
                }
            }
            PatternError::HeaderName(name) => write!(f, "\"{name}\" is not the name of a header field"),
            PatternError::SecretHeader(name) => write!(f, "{name} carries secrets and is never logged"),
            PatternError::LineBreak => f.write_str("a line break in the pattern"),
        }
    }
}

impl std::error::Error for PatternError {}

fn pieces(pattern: &str) -> Result<Vec<Piece>, PatternError> {
    if pattern.contains(['\n', '\r']) {
        return Err(PatternError::LineBreak);
    }
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = pattern;
    while let Some(at) = rest.find(['{', '}']) {
        literal.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        let after = &rest[at + 1..];
        if let Some(doubled) = after.strip_prefix(brace) {
            literal.push_str(brace);
            rest = doubled;
            continue;
        }
        let end = after.find('}').filter(|_| brace == "{").ok_or(PatternError::Brace)?;
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(piece(&after[..end])?);
        rest = &after[end + 1..];
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    if pieces.iter().all(|piece| matches!(piece, Piece::Literal(_))) {
        return Err(PatternError::NoField(pattern.to_owned()));
    }
    Ok(pieces)
}

fn piece(name: &str) -> Result<Piece, PatternError> {
    if name == "clf_time" {
        return Ok(Piece::ClfTime);
    }
    let Some(header) = name.strip_prefix("request:") else {
        let found = LogField::ALL.into_iter().find(|field| field.name() == name);
        return found.map(Piece::Field).ok_or_else(|| PatternError::UnknownField(name.to_owned()));
    };
    let header: HeaderName = header.parse().map_err(|_| PatternError::HeaderName(header.to_owned()))?;
    if SECRET_HEADERS.contains(&header) {
        return Err(PatternError::SecretHeader(header));
    }
    Ok(Piece::Request(header))
}

const COMBINED: &str = r#"{client} - {user} [{clf_time}] "{method} {target} {version}" {status} {bytes_out} "{referer}" "{user_agent}""#;

const SECRET_HEADERS: [HeaderName; 4] =
    [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE, header::SET_COOKIE];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_patterns() {
        assert_eq!("off".parse(), Ok(AccessLog::Off));
        assert_eq!("json".parse(), Ok(AccessLog::Json));
        let Ok(AccessLog::Pattern(combined)) = "combined".parse() else { panic!("a pattern") };
        assert_eq!(combined.len(), 20);
        let Ok(AccessLog::Pattern(own)) = "{{{status}}} {request:X-Y}".parse() else { panic!("a pattern") };
        assert_eq!(
            own,
            [
                Piece::Literal("{".into()),
                Piece::Field(LogField::Status),
                Piece::Literal("} ".into()),
                Piece::Request("x-y".parse().unwrap())
            ]
        );
    }

    #[test]
    fn wrong_patterns_say_what_is_wrong() {
        for (pattern, told) in [
            ("jsn", "\"jsn\" is neither a format nor has a {field}"),
            ("{statu}", "unknown field \"statu\"; did you mean \"status\"?"),
            ("{colour}", "unknown field \"colour\" (known: time, client,"),
            ("{status", "a brace without its other half"),
            ("status}", "a brace without its other half"),
            ("{request:a b}", "\"a b\" is not the name of a header field"),
            ("{request:Cookie}", "cookie carries secrets and is never logged"),
            ("{status}\n", "a line break in the pattern"),
        ] {
            let error = pattern.parse::<AccessLog>().unwrap_err().to_string();
            assert!(error.starts_with(told), "{pattern}: {error}");
        }
    }
}
