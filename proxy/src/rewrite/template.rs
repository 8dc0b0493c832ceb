//! Texts with places to fill from a request: `https://$host/new/$1$query`.
//!
//! | place | becomes |
//! |---|---|
//! | `$1` … `$9` | what the rule's `path_regex` caught, escaped for a URI |
//! | `$host` | the host, without port |
//! | `$path` | the path as it is sent on |
//! | `$query` | `?` and the query, or nothing |
//! | `$$` | `$` |

use std::fmt::Write;

use http::Uri;

use crate::pattern::PathPattern;
use crate::question::Question;

/// A text with places to fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Capture(usize),
    Host,
    Path,
    Query,
}

impl Template {
    /// Reads a text with places.
    ///
    /// # Errors
    /// The place that is not known.
    pub fn parse(text: &str) -> Result<Self, UnknownPlace> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            pieces.push(Piece::Text(before.to_owned()));
            let (piece, len) = place(after).ok_or_else(|| UnknownPlace(after.to_owned()))?;
            pieces.push(piece);
            rest = &after[len..];
        }
        pieces.push(Piece::Text(rest.to_owned()));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        Ok(Self { pieces })
    }

    /// Fills the places from a request that one of `paths` matches.
    #[must_use]
    pub fn fill(&self, paths: &[PathPattern], question: &Question<'_>, uri: &Uri) -> String {
        let captures = paths.iter().find_map(|path| match path {
            PathPattern::Regex(regex) => regex.captures(question.path),
            _ => None,
        });
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Host => out.push_str(question.host),
                Piece::Path => out.push_str(uri.path()),
                Piece::Query => {
                    if let Some(query) = uri.query() {
                        out.push('?');
                        out.push_str(query);
                    }
                }
                Piece::Capture(group) => {
                    let caught = captures.as_ref().and_then(|captures| captures.get(*group));
                    push_escaped(&mut out, caught.map_or("", |caught| caught.as_str()));
                }
            }
        }
        out
    }
}

/// A `$` with something behind it that is no place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownPlace(String);

impl std::fmt::Display for UnknownPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"${}\" is none of $1 to $9, $host, $path, $query and $$", self.0)
    }
}

impl std::error::Error for UnknownPlace {}

fn place(text: &str) -> Option<(Piece, usize)> {
    let first = text.chars().next()?;
    match first {
        '$' => Some((Piece::Text("$".to_owned()), 1)),
        '1'..='9' => Some((Piece::Capture(first.to_digit(10)? as usize), 1)),
        _ => [("host", Piece::Host), ("path", Piece::Path), ("query", Piece::Query)]
            .into_iter()
            .find(|(name, _)| text.starts_with(name))
            .map(|(name, piece)| (piece, name.len())),
    }
}

/// The form for rules has escapes undone; a URI needs them. `%` that is left introduces an escape.
pub(super) fn push_escaped(out: &mut String, text: &str) {
    for byte in text.bytes() {
        let stays = byte.is_ascii_alphanumeric() || b"-._~/:@!$&'()*+,;=%".contains(&byte);
        if stays {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a string takes any text");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_and_unknown_ones_refused() {
        let headers = http::HeaderMap::new();
        let question = Question {
            method: &http::Method::GET,
            host: "a.test",
            path: "/x/y z",
            query: None,
            headers: &headers,
            client: [127, 0, 0, 1].into(),
            user: None,
        };
        let paths = [PathPattern::prefix("/").unwrap(), PathPattern::regex("^/x/(.*)").unwrap()];
        let uri: Uri = "/x/y%20z?q".parse().unwrap();
        for (template, filled) in [
            ("", ""),
            ("plain", "plain"),
            ("$host$path$query", "a.test/x/y%20z?q"),
            ("/$1/$2/$$1", "/y%20z//$1"),
        ] {
            assert_eq!(
                Template::parse(template).unwrap().fill(&paths, &question, &uri),
                filled,
                "{template}"
            );
        }
        for unknown in ["$", "a$b", "$0", "${host}"] {
            assert!(Template::parse(unknown).is_err(), "{unknown}");
        }
    }
}
