//! What a bench found, in one form for all of them: a table to read now, a picture and a JSON file for doubters.
//!
//! | file | |
//! |---|---|
//! | `board.rs` | what is noted, round by round, and the file `target/bench/<bench>.json` |
//! | `table.rs` | the board as Markdown: medians, spread, ratios within a round, and where we lose |
//! | `chart.rs` | the board as a picture, `target/bench/<bench>.svg` |
//! | `effort.rs` | how much of everything: `EVENLY_BENCH=quick` for a look, nothing for the truth |
//!
//! ```
//! use evenly_benches::scoreboard::{Board, Measure, ours, rival};
//!
//! let mut board = Board::new("picks");
//! for _round in 0..5 {
//!     // In each round every contender once, one after the other: what disturbs the machine disturbs all alike.
//!     board.note("ring", "100", Measure::NANOSECONDS, ours("balancers"), 3.5);
//!     board.note("ring", "100", Measure::NANOSECONDS, rival("pingora-ketama"), 13.0);
//! }
//! assert!(board.table().contains("| 100 | pingora-ketama | 13 (13–13) | 3.71 (3.71–3.71) |"));
//! assert_eq!(board.losses(), Vec::<String>::new());
//! ```

mod board;
mod chart;
mod effort;
mod table;

pub use board::{Better, Board, Contender, Measure, Row, Side, also_ours, folder, ours, rival};
pub use effort::{is_quick, of_effort};
pub use table::median;
