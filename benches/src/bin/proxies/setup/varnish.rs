use std::io;

use super::{Known, Place, Role};

pub(super) const KNOWN: Known = Known {
    name: "varnish",
    program: "varnishd",
    roles: &[Role::Pass, Role::Cache, Role::H2c],
    is_countable: false,
    arguments,
    environment: &[],
};

fn arguments(place: &Place<'_>) -> io::Result<Vec<String>> {
    let Place { role, port, origin, .. } = place;
    let pass = if *role == Role::Cache { "" } else { "sub vcl_recv { return (pass); }\n" };
    let text = format!(
        "vcl 4.1;\nbackend b {{ .host = \"127.0.0.1\"; .port = \"{origin}\"; .max_connections = 9000; }}\n{pass}"
    );
    let vcl = place.write("default.vcl", &text)?;
    let name = place.path("state");
    let listen = format!("127.0.0.1:{port}");
    let own = [
        // Root's own jail: nothing here is worth a user of its own.
        "-j",
        "none",
        "-F",
        "-n",
        &name,
        "-a",
        &listen,
        "-f",
        &vcl,
        "-s",
        "malloc,64m",
        "-p",
        "thread_pools=1",
        "-p",
        "feature=+http2",
        "-p",
        "timeout_idle=600",
    ];
    Ok(own.map(str::to_owned).into())
}
