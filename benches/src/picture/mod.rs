//! Pictures as plain SVG: axes with names, what is drawn named where it stands, readable on light and on dark paper.
//!
//! | file | |
//! |---|---|
//! | `svg.rs` | the sheet: text, strokes, and the colours of both kinds of paper |
//! | `scale.rs` | from numbers to places, and which numbers an axis names |
//! | `lines.rs` | cost against size: panels that share their axes |
//! | `dots.rs` | many contenders on a line each: rows that share one axis |

mod dots;
mod lines;
mod scale;
mod svg;

pub use dots::{Dot, Dots, Row};
pub use lines::{Line, Lines, Panel};
pub use scale::Scale;
pub use svg::Tone;
