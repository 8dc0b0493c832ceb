//! The form of a request target, and whether it belongs to the method.

use http::{Method, Uri};

use super::TargetError;

/// The four forms of a request-target (RFC 9112 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `/path?query`: what a server or a reverse proxy gets.
    Origin,
    /// `http://host/path?query`: what a forward proxy gets.
    Absolute,
    /// `host:port`: only with `CONNECT`.
    Authority,
    /// `*`: only with `OPTIONS`.
    Asterisk,
}

impl Form {
    /// Tells the form of `uri`, and that it belongs to `method`.
    ///
    /// # Errors
    /// When the form is not one that the method may have, or the scheme is not `http` or `https`.
    pub fn of(method: &Method, uri: &Uri) -> Result<Form, TargetError> {
        let form = match (uri.scheme_str(), uri.authority(), uri.path()) {
            (Some("http" | "https"), Some(_), _) => Form::Absolute,
            (Some(_), _, _) => return Err(TargetError::Scheme),
            (None, Some(_), _) => Form::Authority,
            (None, None, "*") => Form::Asterisk,
            (None, None, path) if path.starts_with('/') => Form::Origin,
            _ => return Err(TargetError::Form),
        };
        let is_allowed = match form {
            Form::Authority => *method == Method::CONNECT,
            Form::Asterisk => *method == Method::OPTIONS && uri.query().is_none(),
            Form::Origin | Form::Absolute => *method != Method::CONNECT,
        };
        if is_allowed { Ok(form) } else { Err(TargetError::Form) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_belongs_to_its_methods() {
        let form = |method: &str, target: &str| {
            Form::of(&Method::from_bytes(method.as_bytes()).unwrap(), &target.parse().unwrap())
        };
        assert_eq!(form("GET", "/a?b"), Ok(Form::Origin));
        assert_eq!(form("FROB", "http://a.test"), Ok(Form::Absolute));
        assert_eq!(form("CONNECT", "a.test:443"), Ok(Form::Authority));
        assert_eq!(form("OPTIONS", "*"), Ok(Form::Asterisk));
        assert_eq!(form("GET", "*"), Err(TargetError::Form));
        assert_eq!(form("GET", "up"), Err(TargetError::Form));
        assert_eq!(form("CONNECT", "/a"), Err(TargetError::Form));
        assert_eq!(form("CONNECT", "http://a.test/"), Err(TargetError::Form));
        assert_eq!(form("GET", "ftp://a.test/"), Err(TargetError::Scheme));
    }
}
