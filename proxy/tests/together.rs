//! Outgrowing one machine: two proxies with the same members send the same client to the same member, and share one
//! cache through a real Redis Cluster of three nodes.

mod support;

#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the support")]
#[path = "../../cache/tests/support/redis_cluster.rs"]
mod redis_cluster;
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the support")]
#[path = "../../cache/tests/support/redis_server.rs"]
mod redis_server;
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the support")]
#[path = "../../cache/tests/support/tls.rs"]
mod tls;

use redis_cluster::RedisCluster;
use support::{Client, Evenly, Upstream, eventually};

/// `"a", "b", …` in the order given.
fn list(ups: &[&Upstream]) -> String {
    ups.iter().map(|up| format!("\"{}\"", up.address)).collect::<Vec<_>>().join(", ")
}

/// Who answers each of two hundred clients.
fn answers(client: &mut Client) -> Vec<String> {
    let ask = |last: usize| {
        let fields = format!("X-Forwarded-For: 10.1.2.{last}\r\n");
        client.request("GET", "/", &fields, b"").text().to_owned()
    };
    (1..=200).map(ask).collect()
}

#[test]
fn two_proxies_send_the_same_client_to_the_same_member() {
    let ups = ["a", "b", "c", "d"].map(Upstream::start);
    let [a, b, c, d] = &ups;
    for balance in ["ring", "bounded_ring", "ketama", "maglev", "rendezvous", "ip_hash"] {
        let start = |members: &[&Upstream]| {
            let keys = format!(
                "balance = \"{balance}\"\ntrusted_proxies = [\"127.0.0.1\"]\nproxy_pass = [{}]",
                list(members)
            );
            Evenly::start(&keys, "[health]\ncheck = \"off\"\nslow_start = 0")
        };
        // The files need not have the members in one order.
        let proxies = [start(&[a, b, c, d]), start(&[d, b, a, c])];
        let here = answers(&mut proxies[0].client());
        let there = answers(&mut proxies[1].client());
        assert_eq!(here, there, "{balance}");
        for up in &ups {
            let share = here.iter().filter(|name| *name == up.name).count();
            assert!((15..=100).contains(&share), "{balance}: {} has {share} of 200 clients", up.name);
        }
    }
}

#[test]
fn two_proxies_share_one_cache_in_a_cluster_of_three_nodes() {
    let cluster = RedisCluster::start();
    let up = Upstream::start("a");
    for store in ["redis", "tiered"] {
        let keys = format!("proxy_pass = [\"{}\"]\ncache = true\ncache_type = \"{store}\"", up.address);
        let redis = format!("[redis]\nredis_host = \"{}\"", cluster.url());
        let (here, there) = (Evenly::start(&keys, &redis), Evenly::start(&keys, &redis));
        let (mut here, mut there) = (here.client(), there.client());
        let before = up.hits();
        // Keys enough for every node to have some.
        let paths: Vec<String> = (0..30).map(|n| format!("/max-age/600?{store}={n}")).collect();
        for path in &paths {
            assert_eq!(here.get(path).text(), "a");
        }
        // Storing goes on after the answer; a member is asked at most once more until it has arrived.
        for path in &paths {
            eventually("what one stored, the other serves", || {
                let reply = there.get(path);
                assert_eq!(reply.text(), "a");
                reply.header("cache-status").is_some_and(|status| status.contains("hit"))
            });
        }
        let asked = up.hits();
        assert!((30..=60).contains(&(asked - before)), "{store}: {} requests", asked - before);
        for path in &paths {
            for client in [&mut here, &mut there] {
                let reply = client.get(path);
                assert!(reply.header("cache-status").unwrap().contains("hit"), "{path}");
            }
        }
        assert_eq!(up.hits(), asked, "nobody asks the member again");
    }
    for node in &cluster.masters {
        let size = String::from_utf8(node.command(&[b"DBSIZE"])).unwrap();
        assert!(!size.starts_with(":0"), "each node has its share");
    }
}
