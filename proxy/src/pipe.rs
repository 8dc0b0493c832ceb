//! Bytes that go from one socket to another without passing through us.
//!
//! To read a large body and to write it again copies it twice. The kernel can move the pages it lies in instead, by way of
//! a pipe (`splice(2)`, Linux):
//!
//! ```text
//!   member's socket ──splice──► pipe ──splice──► client's socket
//!                              [`Piped`]: a piece of a body, as `Bytes` are one that lies in our memory
//! ```
//!
//! So whoever passes on a body takes its next piece either way, and all else (who is slow, what is counted, where it ends) is
//! the same. A pipe is held only while something is in it: an idle transfer holds none, and a slow reader holds one, with at
//! most a mebibyte. Empty pipes wait for the next piece in a short list on each worker.
//!
//! There is no piece to be had, and the caller reads, where the rest is less than 64 KiB, where there are pipes enough
//! already ([`pipes_max`]), where the system grants none, and on other systems than Linux. What that gains is told in
//! `docs/proxy-speed.md`.
//!
//! [`pipes_max`]: crate::descriptors::pipes_max

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod nowhere;

#[cfg(target_os = "linux")]
pub(crate) use linux::Piped;
#[cfg(not(target_os = "linux"))]
pub(crate) use nowhere::Piped;
