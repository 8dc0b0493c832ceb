//! HTTP/1.1 as bytes: what reading and writing have in common, whichever side is a client's and whichever a member's.
//!
//! | file | part of a message |
//! |---|---|
//! | `chunked.rs` | the chunked coding, read |
//! | `decoder.rs` | a body as it arrives, whatever says where it ends |
//! | `fields.rs` | field lines, read and written |
//! | `chunks.rs` | the chunked coding, written |
//!
//! What is particular to one side stands there: `connection/http_1/` reads requests and writes answers, `upstream/h1/` the
//! other way round.

mod chunked;
mod chunks;
mod decoder;
mod fields;

pub(crate) use chunked::ChunkedError;
pub(crate) use chunks::{put_chunk, put_chunk_size, put_last_chunk};
pub(crate) use decoder::{Decoded, Decoder};
pub(crate) use fields::{BadField, has_option, lines_end_in_crlf, put_field, read_fields, same_part};
