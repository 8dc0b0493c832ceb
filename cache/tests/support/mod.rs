//! What the tests of the stores share. Each test file uses a part of it.
#![allow(dead_code, unreachable_pub)]

pub mod fake_server;
pub mod redis_cluster;
pub mod redis_sentinel;
pub mod redis_server;
pub mod silent_proxy;
pub mod store_model;
pub mod tls;
