//! Filters of one's own: answer, change, map bodies; the rest streams by.

mod support;

use std::{
    net::SocketAddr,
    ops::ControlFlow,
    process::{Child, Command},
};

use bytes::Bytes;
use evenly::{
    Listener, Proxy,
    config::Config,
    filter::{BodyWish, Filter},
};
use http::{HeaderValue, Response, request, response};
use support::{Client, Upstream, eventually, free_port};

#[derive(Debug)]
struct Own;

impl Filter for Own {
    fn on_request(&self, request: &mut request::Parts) -> ControlFlow<Response<Bytes>> {
        request.headers.insert("x-own", HeaderValue::from_static("1"));
        match request.uri.path() {
            "/answered" => ControlFlow::Break(Response::new(Bytes::from("by the filter"))),
            _ => ControlFlow::Continue(()),
        }
    }

    fn on_response(&self, request: &request::Parts, response: &mut response::Parts) -> BodyWish {
        response.headers.insert("x-filtered", HeaderValue::from_static("yes"));
        if request.uri.path() == "/echo" { BodyWish::Map } else { BodyWish::Keep }
    }

    fn map_body(&self, response: &mut response::Parts, body: Bytes) -> Bytes {
        response.headers.insert("x-len", body.len().into());
        String::from_utf8_lossy(&body).to_uppercase().into()
    }

    fn body_len_max(&self) -> usize {
        1000
    }
}

/// The rest of `Own`'s work is seen by a second filter: they run in their order.
#[derive(Debug)]
struct Second;

impl Filter for Second {
    fn on_response(&self, _: &request::Parts, response: &mut response::Parts) -> BodyWish {
        assert!(response.headers.contains_key("x-filtered"));
        BodyWish::Keep
    }
}

#[test]
fn filters_answer_change_and_map() {
    let up = Upstream::start("a");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let text = format!("[server]\nproxy_pass = [\"{}\"]", up.address);
    let config = Config::parse("cfg.toml", &text).unwrap();
    let proxy =
        runtime.block_on(async { Proxy::builder(&config).filter(Own).filter(Second).build() }).unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn({
        let proxy = proxy.clone();
        async move { proxy.serve(Listener::from(listener)).await }
    });
    let mut client = Client::connect(address);
    assert_eq!(client.get("/answered").text(), "by the filter");
    assert_eq!(up.hits(), 0);
    let reply = client.get("/headers");
    assert!(reply.text().contains("x-own: 1") && reply.header("x-filtered") == Some("yes"));
    let reply = client.request("POST", "/echo", "", b"hello");
    assert_eq!(
        (reply.text(), reply.header("x-len"), reply.header("content-length")),
        ("HELLO", Some("5"), Some("5"))
    );
    assert_eq!(client.request("POST", "/echo", "", &[b'x'; 1001]).status, 502, "too large to map");
    assert_eq!(
        Client::connect(address).get("/bytes/100000").body.len(),
        100_000,
        "what is not mapped streams by"
    );
}

struct Example(Child);

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_example_patches_json() {
    let up = Upstream::start("a");
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    // Cargo builds examples beside the binaries when it builds tests.
    let example =
        std::path::Path::new(env!("CARGO_BIN_EXE_evenly")).with_file_name("examples").join("patch_json");
    let _example =
        Example(Command::new(example).args([address.to_string(), up.address.to_string()]).spawn().unwrap());
    eventually("the example listens", || Client::try_connect(address).is_ok());
    let reply = Client::connect(address).request(
        "POST",
        "/echo",
        "Content-Type: application/json\r\n",
        br#"{"a":1}"#,
    );
    assert_eq!(reply.text(), r#"{"a":1,"via":"evenly"}"#);
}
