use std::io;

use super::{Known, Place, Role};

pub(super) const KNOWN: Known = Known {
    name: "envoy",
    program: "envoy",
    roles: &[Role::Pass, Role::H2c, Role::Tls],
    is_countable: false,
    arguments,
    environment: &[],
};

fn arguments(place: &Place<'_>) -> io::Result<Vec<String>> {
    let Place { role, port, origin, .. } = place;
    let socket = |port: &u16| format!("{{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}");
    let (listen, member) = (socket(port), socket(origin));
    let tls = match role {
        Role::Tls => format!(
            "      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            tls_certificates:
            - certificate_chain: {{ filename: {:?} }}
              private_key: {{ filename: {:?} }}
",
            place.certificate, place.key
        ),
        _ => String::new(),
    };
    let text = format!(
        "static_resources:
  listeners:
  - name: l
    address: {listen}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: p
          codec_type: AUTO
          use_remote_address: true
          route_config:
            virtual_hosts:
            - name: all
              domains: [\"*\"]
              routes:
              - match: {{ prefix: / }}
                route: {{ cluster: m }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
{tls}  clusters:
  - name: m
    type: STATIC
    connect_timeout: 2s
    load_assignment:
      cluster_name: m
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {member} }}
"
    );
    let config = place.write("envoy.yaml", &text)?;
    Ok(["--concurrency", "1", "--disable-hot-restart", "-l", "error", "-c", &config]
        .map(str::to_owned)
        .into())
}
