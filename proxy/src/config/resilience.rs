//! `[health]`, `[retry]` and `[queue]`: what is done about members that fail, are slow or are full. All of it is on
//! unless the file says otherwise. A group of `[[upstreams]]` may say it for itself, key by key:
//!
//! ```text
//!   the defaults ◄── [health] ◄── [upstreams.health]      what one does not say is as in the one before it
//! ```

use std::time::Duration;

use toml::Spanned;

use super::reader::Section;

/// What is done about members that fail, are slow or are full.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resilience {
    /// `[health]`
    pub health: HealthConfig,
    /// `[retry]`
    pub retry: RetryConfig,
    /// `[queue]`
    pub queue: QueueConfig,
}

/// `[health]`: who is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthConfig {
    /// `check`: how members are asked whether they are there.
    pub check: Check,
    /// `interval`: between two checks of a member that is up; one in doubt is asked four times as often.
    pub interval: Duration,
    /// `timeout`: for a check to succeed.
    pub timeout: Duration,
    /// `rise`: good checks in a row that bring a member back.
    pub rise: u32,
    /// `fall`: bad checks in a row that take it out.
    pub fall: u32,
    /// `failures`: failed requests in a row that take it out; absent when 0.
    pub failures: Option<u32>,
    /// `error_rate`: per cent of the requests of ten seconds (at least 20) that take it out; absent when 0.
    pub error_rate: Option<u32>,
    /// `ejection`: how long a member that failed requests stays out the first time; doubled each further time.
    pub ejection: Duration,
    /// `ejection_max`: the longest it becomes.
    pub ejection_max: Duration,
    /// `panic_threshold`: members that answer, if with errors, are not taken out below this percentage of all.
    pub panic_threshold: u32,
    /// `slow_start`: how long a member that returns takes to come to its full share.
    pub slow_start: Duration,
}

/// How members are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// Not at all.
    Off,
    /// By opening a connection.
    Tcp,
    /// By a GET.
    Http {
        /// `path`
        path: String,
        /// `host`: the Host of the request.
        host: String,
        /// `status`: the only good one; absent means 200 to 399.
        status: Option<u16>,
        /// `body`: what must stand in the first 64 KiB of the answer.
        body: Option<String>,
    },
}

/// `[retry]`: who gets a second chance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryConfig {
    /// `attempts`: members tried for one request, the first included.
    pub attempts: usize,
    /// `budget`: retries, in per cent of the requests of the last ten seconds.
    pub budget_percent: u32,
    /// `budget_min`: retries a second that are always allowed.
    pub budget_min: u32,
    /// `statuses`: answers after which a request that can be repeated goes to another member.
    pub statuses: Vec<u16>,
    /// `max_body_bytes`: request bodies up to this size are kept to be sent again.
    pub max_body_bytes: u64,
}

/// `[queue]`: who waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueConfig {
    /// `max_connections`: requests at one member at the same time.
    pub max_connections: u32,
    /// `max_streams`: of these, over one HTTP/2 connection.
    pub max_streams: usize,
    /// `max_pending`: requests that wait when all members are full; further ones are refused.
    pub max_pending: u32,
    /// `timeout`: how long a request waits.
    pub timeout: Duration,
}

impl Default for HealthConfig {
    fn default() -> Self {
        HealthConfig {
            check: Check::Tcp,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            rise: 2,
            fall: 3,
            failures: Some(5),
            error_rate: Some(50),
            ejection: Duration::from_secs(1),
            ejection_max: Duration::from_secs(30),
            panic_threshold: 50,
            slow_start: Duration::from_secs(5),
        }
    }
}

impl Default for RetryConfig {
    fn default() -> Self {
        RetryConfig {
            attempts: 4,
            budget_percent: 20,
            budget_min: 3,
            statuses: vec![502, 503, 504],
            max_body_bytes: 64 << 10,
        }
    }
}

impl Default for QueueConfig {
    fn default() -> Self {
        QueueConfig {
            max_connections: 10_000,
            max_streams: 100,
            max_pending: 1_000,
            timeout: Duration::from_secs(5),
        }
    }
}

/// The three tables within `parent`; what they do not say is as in `base`.
pub(super) fn read_resilience(parent: &mut Section<'_, '_>, base: &Resilience) -> Resilience {
    let Resilience { health, retry, queue } = base;
    Resilience {
        health: parent.section("health").map_or_else(|| health.clone(), |own| read_health(own, health)),
        retry: parent.section("retry").map_or_else(|| retry.clone(), |own| read_retry(own, retry)),
        queue: parent.section("queue").map_or_else(|| queue.clone(), |own| read_queue(own, queue)),
    }
}

fn read_health(mut health: Section<'_, '_>, base: &HealthConfig) -> HealthConfig {
    let positive = |number: i64| Some(to_u32(number)).filter(|&number| number > 0);
    let config = HealthConfig {
        check: read_check(&mut health, &base.check),
        interval: health.seconds("interval", SECONDS).unwrap_or(base.interval),
        timeout: health.seconds("timeout", SECONDS).unwrap_or(base.timeout),
        rise: health.integer("rise", 1..=100).map_or(base.rise, to_u32),
        fall: health.integer("fall", 1..=100).map_or(base.fall, to_u32),
        failures: health.integer("failures", 0..=1000).map_or(base.failures, positive),
        error_rate: health.integer("error_rate", 0..=100).map_or(base.error_rate, positive),
        ejection: health.seconds("ejection", SECONDS).unwrap_or(base.ejection),
        ejection_max: health.seconds("ejection_max", SECONDS).unwrap_or(base.ejection_max),
        panic_threshold: health.integer("panic_threshold", 0..=100).map_or(base.panic_threshold, to_u32),
        slow_start: health.seconds("slow_start", 0..=3600).unwrap_or(base.slow_start),
    };
    if config.ejection > config.ejection_max {
        let place = health.place("ejection").or(health.place("ejection_max"));
        let (first, most) = (config.ejection.as_secs(), config.ejection_max.as_secs());
        let help = format!("raise ejection_max to at least {first}, or lower ejection");
        let message = format!("ejection = {first} is longer than ejection_max = {most}");
        health.fault(&place.unwrap_or(Spanned::new(0..0, ())), message, Some(help));
    }
    health.finish();
    config
}

/// `path` alone means a GET.
fn read_check(health: &mut Section<'_, '_>, base: &Check) -> Check {
    let how = health.string("check");
    let path = health.string("path");
    let host = health.string("host");
    let status = health.integer("status", 100..=599).and_then(|status| u16::try_from(status).ok());
    let body = health.string("body").map(Spanned::into_inner).filter(|body| !body.is_empty());
    if let Some(path) = path.as_ref().filter(|path| !is_path(path.get_ref())) {
        let help = "must begin with \"/\" and hold only printable ASCII";
        health.fault(path, format!("path \"{}\" is not a path", path.get_ref()), Some(help.to_owned()));
    }
    if let Some(host) = host.as_ref().filter(|host| http::HeaderValue::from_str(host.get_ref()).is_err()) {
        health.fault(host, "host holds what no field may hold", Some("a name or an address".to_owned()));
    }
    let name = match (&how, base) {
        (Some(how), _) => how.get_ref(),
        (None, _) if path.is_some() => "http",
        (None, Check::Http { .. }) => "http",
        (None, Check::Tcp) => "tcp",
        (None, Check::Off) => "off",
    };
    match name {
        "off" => Check::Off,
        "tcp" => Check::Tcp,
        "http" => {
            let own = (path.map(Spanned::into_inner), host.map(Spanned::into_inner), status, body);
            let (path, host, status, body) = match base.clone() {
                Check::Http { path, host, status, body } => {
                    (own.0.or(Some(path)), own.1.or(Some(host)), own.2.or(status), own.3.or(body))
                }
                Check::Off | Check::Tcp => own,
            };
            let (path, host) = (path.unwrap_or("/".to_owned()), host.unwrap_or("localhost".to_owned()));
            Check::Http { path, host, status, body }
        }
        other => {
            let place = how.as_ref().map_or(0..0, Spanned::span);
            let help = "allowed: \"tcp\", \"http\", \"off\"".to_owned();
            health.fault(&Spanned::new(place, ()), format!("check: unknown way \"{other}\""), Some(help));
            base.clone()
        }
    }
}

fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic())
}

fn read_retry(mut retry: Section<'_, '_>, base: &RetryConfig) -> RetryConfig {
    let config = RetryConfig {
        attempts: retry.integer("attempts", 1..=16).map_or(base.attempts, |number| to_u32(number) as usize),
        budget_percent: retry.integer("budget", 0..=100).map_or(base.budget_percent, to_u32),
        budget_min: retry.integer("budget_min", 0..=100_000).map_or(base.budget_min, to_u32),
        statuses: retry.integers("statuses", 400..=599).map_or_else(
            || base.statuses.clone(),
            |list| list.into_iter().filter_map(|status| u16::try_from(status).ok()).collect(),
        ),
        max_body_bytes: retry
            .integer("max_body_bytes", 0..=16 << 20)
            .map_or(base.max_body_bytes, i64::unsigned_abs),
    };
    retry.finish();
    config
}

fn read_queue(mut queue: Section<'_, '_>, base: &QueueConfig) -> QueueConfig {
    let config = QueueConfig {
        max_connections: queue.integer("max_connections", 1..=1_000_000).map_or(base.max_connections, to_u32),
        max_streams: queue
            .integer("max_streams", 1..=1_000)
            .map_or(base.max_streams, |number| to_u32(number) as usize),
        max_pending: queue.integer("max_pending", 0..=1_000_000).map_or(base.max_pending, to_u32),
        timeout: queue.seconds("timeout", SECONDS).unwrap_or(base.timeout),
    };
    queue.finish();
    config
}

/// Of a number that the range before has kept within bounds.
fn to_u32(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

const SECONDS: std::ops::RangeInclusive<i64> = 1..=86_400;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parse(text: &str) -> Result<Config, String> {
        let text = format!("[server]\nproxy_pass = [\"a\"]\n{text}");
        Config::parse("f.toml", &text).map_err(|faults| faults.to_string())
    }

    #[test]
    fn everything_is_on_by_default() {
        let config = parse("").unwrap();
        assert_eq!(config.resilience.health, HealthConfig::default());
        assert_eq!((config.resilience.retry.budget_percent, config.resilience.retry.budget_min), (20, 3));
        assert_eq!(config.resilience.health.check, Check::Tcp);
    }

    #[test]
    fn a_path_means_a_get() {
        let config = parse("[health]\npath = \"/up\"\nstatus = 204\nfailures = 0").unwrap();
        let check = Check::Http {
            path: "/up".to_owned(),
            host: "localhost".to_owned(),
            status: Some(204),
            body: None,
        };
        assert_eq!((config.resilience.health.check, config.resilience.health.failures), (check, None));
    }

    #[test]
    fn a_group_says_for_itself_what_it_wants_otherwise() {
        let config = parse(
            "[health]\npath = \"/up\"\nstatus = 204\nfall = 7\n[retry]\nattempts = 2\n\
             [[upstreams]]\nname = \"plain\"\nproxy_pass = [\"b\"]\n\
             [[upstreams]]\nname = \"own\"\nproxy_pass = [\"c\"]\n\
             [upstreams.health]\nhost = \"c.example\"\nrise = 5\nfailures = 0\n[upstreams.queue]\nmax_pending = 0\n\
             [[upstreams]]\nname = \"tcp\"\nproxy_pass = [\"d\"]\n[upstreams.health]\ncheck = \"tcp\"\n",
        )
        .unwrap();
        let [plain, own, tcp] = [0, 1, 2].map(|at| &config.groups[at].resilience);
        assert_eq!(plain, &config.resilience);
        let check = Check::Http {
            path: "/up".to_owned(),
            host: "c.example".to_owned(),
            status: Some(204),
            body: None,
        };
        assert_eq!((&own.health.check, own.health.rise, own.health.fall), (&check, 5, 7));
        assert_eq!((own.health.failures, own.retry.attempts, own.queue.max_pending), (None, 2, 0));
        assert_eq!((&tcp.health.check, tcp.health.fall), (&Check::Tcp, 7));
    }

    #[test]
    fn faults_are_told_with_their_places() {
        let told = parse("[health]\ncheck = \"ping\"\npath = \"up\"\nejection = 60\n[retry]\nstatuses = [200]\n[queue]\nmax_conections = 1")
            .unwrap_err();
        for part in [
            "unknown way \"ping\"",
            "f.toml:4:9",
            "path \"up\" is not a path",
            "longer than ejection_max = 30",
            "f.toml:8:13",
            "must be 400 to 599",
            "did you mean \"max_connections\"?",
        ] {
            assert!(told.contains(part), "{part} in\n{told}");
        }
    }
}
