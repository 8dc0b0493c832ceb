//! Every key of the file, once: its name, what it takes, its default, and what it means.
//!
//! From this table come the commented template (`evenly config --template`), the JSON schema (`evenly schema`), and
//! the effective configuration (`evenly config`). Tests compare it with what the reader asks for: neither can have a
//! key that the other has not, and no default can differ.

use Kind::{Choice, Flag, Integers, Names, Number, OneOrMore, Secret, Secrets, Text, Texts};

/// A key of the file.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The section it stands in; empty at the top.
    pub section: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// As it is written in TOML; empty if there is none.
    pub default: &'static str,
    /// A value worth showing where there is no default, as it is written in TOML.
    pub example: &'static str,
    /// What it means.
    pub about: &'static str,
}

/// What a key takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A string.
    Text,
    /// A string that is not shown.
    Secret,
    /// A list of strings.
    Texts,
    /// A string or a list of strings.
    OneOrMore,
    /// A table of strings.
    Names,
    /// A table of strings that are not shown.
    Secrets,
    /// `true` or `false`.
    Flag,
    /// A whole number within bounds.
    Number(i64, i64),
    /// A list of whole numbers within bounds.
    Integers(i64, i64),
    /// One of these words.
    Choice(fn() -> Vec<String>),
}

/// A section of the file.
#[derive(Debug, Clone, Copy)]
pub struct SectionAbout {
    /// Its name; empty for the top.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// Without it, what it describes is not there.
    pub is_optional: bool,
    /// It may stand many times, as `[[name]]`.
    pub is_list: bool,
    /// It has the keys of this section, and what it does not say is as there; empty if it has keys of its own.
    pub like: &'static str,
}

impl SectionAbout {
    /// Its keys, in the order of the template.
    pub fn keys(&self) -> impl Iterator<Item = &'static Key> + use<> {
        let section = if self.like.is_empty() { self.name } else { self.like };
        KEYS.iter().filter(move |key| key.section == section)
    }
}

const fn section(name: &'static str, is_optional: bool, is_list: bool, about: &'static str) -> SectionAbout {
    SectionAbout { name, about, is_optional, is_list, like: "" }
}

const fn again(name: &'static str, like: &'static str, about: &'static str) -> SectionAbout {
    SectionAbout { name, about, is_optional: true, is_list: false, like }
}

/// The sections, in the order of the template.
pub const SECTIONS: [SectionAbout; 18] = [
    section(
        "",
        false,
        false,
        "The configuration of evenly: every key with its default. Delete what you do not need.",
    ),
    section("server", false, false, "Where clients connect, who answers them, and what is kept."),
    section("tls", true, false, "A listener that speaks TLS. None without this section."),
    section("tls.more", true, true, "Further certificates, for further names."),
    section("upstream_tls", false, false, "How https:// members are believed."),
    section("upstreams", true, true, "Further groups of members, which rules may choose."),
    again(
        "upstreams.health",
        "health",
        "What the group above does otherwise than [health] says; the same keys.",
    ),
    again("upstreams.retry", "retry", "The same for [retry]."),
    again("upstreams.queue", "queue", "The same for [queue]."),
    section("health", false, false, "Who is up: checks, and what requests tell."),
    section("retry", false, false, "Who gets a second chance."),
    section("queue", false, false, "Who waits when members are full."),
    section("dns", false, false, "How members by name (\"dns+host:port\", \"srv+name\") are found."),
    section("redis", false, false, "The cache's store when cache_type = \"redis\"."),
    section("mem", false, false, "The cache's memory."),
    section(
        "admin",
        true,
        false,
        "The listener for operators: dashboard, metrics, health, changes at run time. Off without this section.",
    ),
    section(
        "rules",
        true,
        true,
        "What may pass, and what is changed on the way. The first rule whose conditions all hold acts.",
    ),
    section(
        "rules.response",
        true,
        false,
        "Changes of the answer, for requests that the rule above is about.",
    ),
];

const fn key(
    section: &'static str,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    example: &'static str,
    about: &'static str,
) -> Key {
    Key { section, name, kind, default, example, about }
}

/// Every key, in the order of the template.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("", "title", Text, "", "\"my proxy\"", "For people; the proxy does not look at it."),

    key("server", "port", Text, "\":8080\"", "",
        "Where clients connect: \":8080\" (every address), \"127.0.0.1:8080\", \"[::1]:8080\" or \"unix:/path\"."),
    key("server", "reverse", Flag, "true", "", "true: a reverse proxy before proxy_pass. false: a forward proxy."),
    key("server", "proxy_pass", Texts, "", "[\"127.0.0.1:6000^2\", \"127.0.0.1:7000\"]",
        "The members: \"host:port\", \"[ipv6]:port\", \"https://host\", \"h2://host:port\" (HTTP/2 without TLS) or \"unix:/path\", each with ^weight (1 to 65535) if it is not 1; \"dns+host:port\" for each address of a name, \"srv+_http._tcp.name\" for each SRV record."),
    key("server", "balance", Choice(algorithms), "\"p2c\"", "", "Who takes a request."),
    key("server", "inverse_mode", Number(0, 5), "", "2",
        "goproxy's name for balance: 0 random, 1 round_robin, 2 p2c, 3 ring, 4 bounded_ring, 5 least_load."),
    key("server", "reverse_mode", Number(0, 5), "", "2", "The other name that goproxy has for inverse_mode."),
    key("server", "auth", Flag, "false", "", "true: nobody passes without a password of user or htpasswd."),
    key("server", "user", Secrets, "", "{ name = \"password\" }",
        "Who may pass: name = password, better a hash made by `evenly hash-password`."),
    key("server", "htpasswd", Text, "", "\"/etc/evenly/htpasswd\"", "A file with more users, a line name:hash each."),
    key("server", "auth_failures_per_minute", Number(1, 1_000_000), "60", "",
        "Wrong passwords of one client in a minute, after which it has to wait."),
    key("server", "trusted_proxies", OneOrMore, "", "[\"10.0.0.0/8\"]",
        "Proxies before this one whose word about clients is taken."),
    key("server", "allow", OneOrMore, "", "[\"*.example.org:443\"]", "Where a forward proxy may go; without it, nowhere."),
    key("server", "forwarded", Choice(forwarded), "\"x-forwarded\"", "", "How members are told about clients."),
    key("server", "proxy_protocol", Flag, "false", "",
        "true: connections of trusted_proxies begin with a PROXY protocol header (v1 or v2); others are clients themselves."),
    key("server", "max_connections", Number(1, 10_000_000), "65536", "", "Clients' connections; a further one gets 503 and is closed."),
    key("server", "max_connections_per_client", Number(0, 1_000_000), "0", "",
        "The same for one address, as trusted proxies' PROXY headers name it; 0 for no limit."),
    key("server", "max_requests_per_connection", Number(1, 1_000_000_000), "100000", "",
        "The last one is answered with `Connection: close`; HTTP/2 gets GOAWAY."),
    key("server", "max_h2_streams", Number(1, 10_000), "128", "", "Requests under way on one HTTP/2 connection; a further stream is refused."),
    key("server", "max_h2_resets", Number(1, 10_000), "32", "", "Streams reset faster than they can be dealt with; then GOAWAY."),
    key("server", "min_body_rate", Number(1, 1_000_000_000), "240", "",
        "Bytes a second of a body, sent or taken, after http_read_timeout or http_write_timeout of waiting; then 408, or the end."),
    key("server", "max_header_bytes", Number(8_192, 1_048_576), "65536", "", "A longer head is refused with 431."),
    key("server", "max_uri_bytes", Number(64, 60_000), "16384", "", "A longer request target is refused with 414."),
    key("server", "max_header_fields", Number(8, 4096), "100", "", "More fields are refused with 431."),
    key("server", "max_body_bytes", Number(0, 1 << 50), "1073741824", "", "A longer request body is refused with 413."),
    key("server", "cache", Flag, "false", "", "Whether responses are kept and served again, as RFC 9111 allows."),
    key("server", "cache_type", Choice(stores), "\"memory\"", "",
        "Where responses are kept: here, in Redis, or in Redis with memory before it."),
    key("server", "cache_timeout", Number(0, 31_536_000), "0", "",
        "Seconds that a response is fresh which states none; 0: a tenth of the time since Last-Modified."),
    key("server", "cache_profile", Choice(profiles), "\"safe\"", "",
        "safe: not what often goes wrong with applications that forget `private`. rfc: all the reuse that is allowed."),
    key("server", "stale_if_error", Number(0, 31_536_000), "86400", "",
        "Seconds past its freshness that a response may stand in for a failing member."),
    key("server", "refresh_ahead", Flag, "false", "", "Whether used responses are fetched again shortly before they expire."),
    key("server", "cache_query_drop", Texts, "", "[\"utm_*\"]", "Query parameters that make no difference; utm_* for all that start so."),
    key("server", "cache_query_sort", Flag, "false", "", "true: the order of query parameters makes no difference."),
    key("server", "workers", Number(0, 1024), "0", "",
        "Threads that serve; 0 for one for each core. Taken at the start only."),
    key("server", "log", Number(0, 1), "0", "",
        "What the log says: 1 also why each request or connection failed, 0 what matters."),
    key("server", "log_path", Text, "", "\"./logs\"",
        "A folder for logs, a file a day, kept for two weeks; else they go to standard error and output."),
    key("server", "access_log", Text, "\"off\"", "",
        "A line for each request: \"off\", \"json\", \"combined\", or a pattern: \"{client} {status} {duration_ms}\"."),
    key("server", "request_id", Flag, "true", "", "Whether each request gets an X-Request-Id, or keeps the one it has."),
    key("server", "http_read_timeout", SECONDS, "10", "",
        "Seconds for a request's head to arrive, and between two pieces of its body."),
    key("server", "http_write_timeout", SECONDS, "10", "", "Seconds between two pieces of an answer that the client takes."),
    key("server", "connect_timeout", SECONDS, "2", "", "Seconds for a member to accept a connection."),
    key("server", "response_timeout", SECONDS, "60", "",
        "Seconds for a member to begin its answer, and between two pieces of it."),
    key("server", "idle_timeout", SECONDS, "60", "", "Seconds that an unused connection to a member is kept."),
    key("server", "request_timeout", SECONDS, "3600", "",
        "Seconds for a request from its head to the end of its answer: 504 before the answer has begun, broken off after."),
    key("server", "tunnel_timeout", SECONDS, "3600", "", "Seconds for a byte to move in a tunnel, either way."),
    key("server", "drain_timeout", SECONDS, "30", "", "Seconds for requests in flight when the proxy is told to stop."),

    key("tls", "port", Text, "", "\":8443\"", "Where clients connect; needed."),
    key("tls", "certificate", Text, "", "\"chain.pem\"", "The certificate chain, PEM, the host's own first; needed."),
    key("tls", "key", Text, "", "\"key.pem\"", "Its key, PEM; needed."),
    key("tls", "redirect", Flag, "", "false", "true: requests without TLS are sent here."),
    key("tls", "proxy_protocol", Flag, "", "false", "As in [server]; the header stands before the TLS handshake."),
    key("tls.more", "certificate", Text, "", "\"other.pem\"", "As above."),
    key("tls.more", "key", Text, "", "\"other-key.pem\"", "As above."),

    key("upstream_tls", "ca", Text, "", "\"ca.pem\"", "The authorities, PEM; those of the system if not given."),
    key("upstream_tls", "certificate", Text, "", "\"client.pem\"", "What members may ask for; goes with key."),
    key("upstream_tls", "key", Text, "", "\"client-key.pem\"", "Its key."),

    key("upstream_tls", "http2", Flag, "true", "", "Whether members may choose HTTP/2 (ALPN)."),

    key("upstreams", "name", Text, "", "\"images\"", "What rules call it; needed."),
    key("upstreams", "proxy_pass", Texts, "", "[\"127.0.0.1:6000\"]", "Its members, as in [server]; needed."),
    key("upstreams", "balance", Choice(algorithms), "", "\"p2c\"", "Who takes a request."),
    key("upstreams", "inverse_mode", Number(0, 5), "", "2", "As in [server]."),
    key("upstreams", "reverse_mode", Number(0, 5), "", "2", "As in [server]."),

    key("health", "check", Choice(checks), "\"tcp\"", "", "How members are asked: by a connection, by a GET, or not at all."),
    key("health", "path", Text, "", "\"/up\"", "What is asked for; alone it means check = \"http\"."),
    key("health", "host", Text, "", "\"localhost\"", "The Host of that request."),
    key("health", "status", Number(100, 599), "", "200", "The only good status; 200 to 399 if not given."),
    key("health", "body", Text, "", "\"ok\"", "What must stand in the first 64 KiB of the answer."),
    key("health", "interval", SECONDS, "2", "", "Seconds between two checks of a member that is up."),
    key("health", "timeout", SECONDS, "1", "", "Seconds for a check to succeed."),
    key("health", "rise", Number(1, 100), "2", "", "Good checks in a row that bring a member back."),
    key("health", "fall", Number(1, 100), "3", "", "Bad checks in a row that take it out."),
    key("health", "failures", Number(0, 1000), "5", "", "Failed requests in a row that take it out; 0 for never."),
    key("health", "error_rate", Number(0, 100), "50", "",
        "Per cent of the requests of ten seconds (at least 20) whose failing takes it out; 0 for never."),
    key("health", "ejection", SECONDS, "1", "", "Seconds that a member that failed requests stays out the first time; doubled each further time."),
    key("health", "ejection_max", SECONDS, "30", "", "Seconds that this becomes at most."),
    key("health", "panic_threshold", Number(0, 100), "50", "",
        "Members that answer, if with errors, are not taken out below this percentage of all."),
    key("health", "slow_start", Number(0, 3600), "5", "", "Seconds that a member that returns takes to come to its full share."),

    key("retry", "attempts", Number(1, 16), "4", "", "Members tried for one request, the first included."),
    key("retry", "budget", Number(0, 100), "20", "", "Retries, in per cent of the requests of the last ten seconds."),
    key("retry", "budget_min", Number(0, 100_000), "3", "", "Retries a second that are always allowed."),
    key("retry", "statuses", Integers(400, 599), "[502, 503, 504]", "",
        "Answers after which a request that can be repeated goes to another member."),
    key("retry", "max_body_bytes", Number(0, 16 << 20), "65536", "", "Request bodies up to this size are kept to be sent again."),

    key("queue", "max_connections", Number(1, 1_000_000), "10000", "", "Requests at one member at the same time."),
    key("queue", "max_streams", Number(1, 1_000), "100", "", "Of these, over one HTTP/2 connection; for more, another is opened."),
    key("queue", "max_pending", Number(0, 1_000_000), "1000", "", "Requests that wait when all members are full; further ones get 503."),
    key("queue", "timeout", SECONDS, "5", "", "Seconds that a request waits."),

    key("dns", "servers", OneOrMore, "", "\"10.0.0.2:53\"", "Whom to ask; those of /etc/resolv.conf if not given."),
    key("dns", "refresh_min", SECONDS, "1", "", "Seconds that an answer is kept at least; the time after a failure begins with it, and doubles."),
    key("dns", "refresh_max", SECONDS, "60", "", "Seconds that an answer is kept at most, or a failure is waited out."),
    key("dns", "timeout", Number(1, 60), "5", "", "Seconds for a name to be resolved, all servers and attempts together."),

    key("redis", "redis_host", Text, "\"localhost:6379\"", "",
        "host:port; or a URL: \"redis+cluster://host:port,host:port\", \"redis+sentinel://host:port/master\", \"rediss://host:port\" for TLS."),
    key("redis", "redis_pass", Secret, "\"\"", "", "Empty for none; \"${NAME}\" from the environment, \"file:/path\" from a file, as for every secret."),
    key("redis", "max_idle", Number(0, 10_000), "5", "", "Connections kept without work."),
    key("redis", "max_active", Number(1, 10_000), "10", "", "Connections at most."),
    key("redis", "idle_timeout", SECONDS, "10", "", "Seconds that an idle connection is kept."),

    key("mem", "capacity", Number(1, 1_000_000_000), "10000", "", "Responses at most."),
    key("mem", "max_bytes", Number(1, 1 << 50), "268435456", "", "Bytes at most, headers and bodies together."),
    key("mem", "max_object_bytes", Number(1, 1 << 50), "8388608", "", "A larger response passes by without being kept."),
    key("mem", "cache_replacement_policy", Choice(policies), "\"lru\"", "", "Who leaves when memory is full."),

    key("admin", "listen", Text, "\"127.0.0.1:9180\"", "", "Loopback or \"unix:/path\"; other addresses only with a token."),
    key("admin", "token", Secret, "", "\"at-least-16-characters\"", "What operators say as `Authorization: Bearer TOKEN`."),

    key("rules", "name", Text, "", "\"hide prices\"", "For the log."),
    key("rules", "method", OneOrMore, "", "[\"GET\", \"HEAD\"]", "Condition: one of these methods."),
    key("rules", "host", OneOrMore, "", "\"*.example.org\"", "Condition: one of these hosts."),
    key("rules", "path", OneOrMore, "", "\"/login\"", "Condition: this path, exactly; one of the path conditions is enough."),
    key("rules", "path_prefix", OneOrMore, "", "\"/api/\"", "Condition: a path that begins so."),
    key("rules", "path_glob", OneOrMore, "", "\"/files/*.php\"", "Condition: a path like this one."),
    key("rules", "path_regex", OneOrMore, "", "\"^/v[0-9]+/\"", "Condition: a path that this regular expression finds."),
    key("rules", "query", Names, "", "{ debug = \"1\" }", "Condition: these parameters."),
    key("rules", "header", Names, "", "{ x-beta = \"yes\" }", "Condition: these header fields."),
    key("rules", "client", OneOrMore, "", "\"10.0.0.0/8\"", "Condition: a client of these networks."),
    key("rules", "user", OneOrMore, "", "\"anna\"", "Condition: one of these users."),
    key("rules", "action", Choice(actions), "", "\"block\"", "What happens: nothing of the kind, an own answer, or a redirect."),
    key("rules", "status", Number(200, 599), "", "403", "Status of the own answer: 403 for block, 302 for redirect if not given."),
    key("rules", "body", Text, "", "\"not here\\n\"", "Body of a block."),
    key("rules", "to", Text, "", "\"https://$host$path\"", "Place of a redirect."),
    key("rules", "strip_prefix", Text, "", "\"/api\"", "Removes this from the beginning of the path; one path change a rule."),
    key("rules", "add_prefix", Text, "", "\"/v1\"", "Puts this before the path."),
    key("rules", "set_path", Text, "", "\"/index.html\"", "Replaces the path."),
    key("rules", "set_host", Text, "", "\"backend.internal\"", "What members see as Host."),
    key("rules", "set_query", Names, "", "{ lang = \"en\" }", "Sets these parameters."),
    key("rules", "remove_query", OneOrMore, "", "[\"utm_source\"]", "Removes these parameters."),
    key("rules", "set_headers", Secrets, "", "{ x-api-key = \"abc\" }", "Sets these fields of the request."),
    key("rules", "add_headers", Secrets, "", "{ x-tag = \"a\" }", "Adds these fields to the request."),
    key("rules", "remove_headers", OneOrMore, "", "[\"x-internal\"]", "Removes these fields from the request."),
    key("rules", "upstream", Text, "", "\"images\"", "Which of [[upstreams]] answers; the cache keeps its answers apart, as `images+http://host/path`."),
    key("rules", "auth", Flag, "", "true", "true: only with a password. false: without, whatever [server] says."),
    key("rules", "allow_users", OneOrMore, "", "[\"anna\"]", "Only these users."),
    key("rules", "cache", Flag, "", "false", "false: not kept."),
    key("rules", "cache_timeout", Number(1, 31_536_000), "", "60",
        "Seconds that an answer is fresh which states none, for requests that this rule is about."),

    key("rules.response", "status", Number(200, 599), "", "200", "Replaces the status."),
    key("rules.response", "set_headers", Names, "", "{ x-frame-options = \"DENY\" }", "Sets these fields of the answer."),
    key("rules.response", "add_headers", Names, "", "{ x-tag = \"a\" }", "Adds these fields to the answer."),
    key("rules.response", "remove_headers", OneOrMore, "", "[\"server\"]", "Removes these fields from the answer."),
    key("rules.response", "replace", Names, "", "{ \"http://old\" = \"https://new\" }", "Replaces texts in the body."),
    key("rules.response", "replace_regex", Names, "", "{ \"[0-9]{16}\" = \"****\" }",
        "Replaces what regular expressions find in the body."),
    key("rules.response", "json_patch", Text, "", "'[{ \"op\": \"remove\", \"path\": \"/price\" }]'", "RFC 6902, for JSON bodies."),
    key("rules.response", "json_merge", Text, "", "'{ \"price\": null }'", "RFC 7396, for JSON bodies."),
    key("rules.response", "max_bytes", Number(1, 1 << 30), "", "4194304", "A longer body is not rewritten; 4 MiB if not given."),
];

fn algorithms() -> Vec<String> {
    balancers::Algorithm::ALL.iter().map(ToString::to_string).collect()
}

fn stores() -> Vec<String> {
    words(&["memory", "redis", "tiered"])
}

fn profiles() -> Vec<String> {
    words(&["safe", "rfc"])
}

fn checks() -> Vec<String> {
    words(&["tcp", "http", "off"])
}

fn policies() -> Vec<String> {
    cache::Policy::ALL.iter().map(ToString::to_string).collect()
}

fn forwarded() -> Vec<String> {
    words(&["x-forwarded", "rfc7239", "both", "none"])
}

fn actions() -> Vec<String> {
    words(&["allow", "block", "redirect"])
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

const SECONDS: Kind = Number(1, 86_400);
