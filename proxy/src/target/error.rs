//! Why a request target is refused.

use std::fmt;

/// Why a target is refused. Always the client's fault: 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetError {
    /// The form does not belong to the method, or is none of the four.
    Form,
    /// Neither `http` nor `https`.
    Scheme,
    /// Not a host with an optional port.
    Host,
    /// A byte that a path may not hold.
    Byte(u8),
    /// A byte that a query may not hold: control, space or non-ASCII.
    Query,
    /// `%` without two hexadecimal digits, or `%00`.
    Escape,
    /// Dot segments behind an escape or a parameter.
    HiddenDots,
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str("request target is not of a form that this method may have"),
            Self::Scheme => f.write_str("scheme of the request target is not http or https"),
            Self::Host => f.write_str("host is not a name or address with an optional port from 1 to 65535"),
            Self::Byte(byte) => write!(f, "byte {byte:#04x} may not stand in a path"),
            Self::Query => f.write_str("control character, space or non-ASCII byte in the query"),
            Self::Escape => f.write_str("broken percent-escape (or %00) in the path"),
            Self::HiddenDots => {
                f.write_str("dot segments hidden behind an escape or a parameter in the path")
            }
        }
    }
}

impl std::error::Error for TargetError {}
