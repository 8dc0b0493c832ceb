//! A proxy of one's own: patches the JSON of a third party's API on its way through.
//!
//! `cargo run --example patch_json -- 127.0.0.1:8080 api.example.com:80`

use bytes::Bytes;
use evenly::{
    Listener, Proxy,
    config::Config,
    filter::{BodyWish, Filter},
};
use http::{request, response};
use serde_json::Value;

/// Adds where an answer came from and takes out what the third party says about itself.
#[derive(Debug)]
struct Patch;

impl Filter for Patch {
    fn on_response(&self, _: &request::Parts, response: &mut response::Parts) -> BodyWish {
        response.headers.remove("server");
        let kind = response.headers.get("content-type").and_then(|kind| kind.to_str().ok());
        if kind.is_some_and(|kind| kind.contains("json")) { BodyWish::Map } else { BodyWish::Keep }
    }

    fn map_body(&self, _: &mut response::Parts, body: Bytes) -> Bytes {
        match serde_json::from_slice(&body) {
            Ok(Value::Object(mut api)) => {
                api.insert("via".to_owned(), "evenly".into());
                Value::Object(api).to_string().into()
            }
            _ => body,
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(api)) = (arguments.next(), arguments.next()) else {
        return Err("usage: patch_json LISTEN API".into());
    };
    let config = Config::parse("arguments", &format!("[server]\nport = {listen:?}\nproxy_pass = [{api:?}]"))?;
    let proxy = Proxy::builder(&config).filter(Patch).build()?;
    proxy.serve(Listener::bind(&config.server.listen)?).await;
    Ok(())
}
