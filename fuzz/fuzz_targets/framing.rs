//! However the network cuts a connection's bytes, the guard stops at the same byte for the same reason.
#![no_main]

use evenly::admit::framing::{Framing, Step};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&cut, wire)) = data.split_first() else { return };
    let whole = Framing::for_connection().follow(wire);
    assert_eq!(in_pieces(wire, usize::from(cut % 32) + 1), whole);
});

fn in_pieces(wire: &[u8], size: usize) -> Step {
    let mut framing = Framing::for_connection();
    let mut before = 0;
    for piece in wire.chunks(size) {
        match framing.follow(piece) {
            Step::All => before += piece.len(),
            Step::Wait { at } => return Step::Wait { at: before + at },
            Step::Broken { at, why } => return Step::Broken { at: before + at, why },
        }
    }
    Step::All
}
