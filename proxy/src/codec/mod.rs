//! HTTP/1.1 as bytes: what reading and writing have in common, whichever side is a client's and whichever a member's.
//!
//! | file | part of a message |
//! |---|---|
//! | `chunked.rs` | the chunked coding, read |
//! | `decoder.rs` | a body as it arrives, whatever says where it ends |
//! | `lines.rs` | where the lines of a head end |
//! | `fields.rs` | field lines, read and written |
//! | `spare_maps.rs` | maps of fields that serve again |
//! | `pending.rs` | what waits for a socket |
//! | `chunks.rs` | the chunked coding, written |
//!
//! What is particular to one side stands there: `connection/http_1/` reads requests and writes answers, `upstream/h1/` the
//! other way round.

mod chunked;
mod chunks;
mod decoder;
mod fields;
mod lines;
mod pending;
mod spare_maps;

pub(crate) use chunked::ChunkedError;
pub(crate) use chunks::{put_chunk, put_chunk_size, put_last_chunk};
pub(crate) use decoder::{Decoded, Decoder};
pub(crate) use fields::{BadField, Fields, Notable, Said, has_option, lists_option, put_field, read_fields};
pub(crate) use lines::{BadLine, Lines, lines_end_in_crlf};
pub(crate) use pending::Pending;
pub(crate) use spare_maps::{give_back, spare_map};
