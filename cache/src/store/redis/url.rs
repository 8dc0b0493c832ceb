//! Redis URLs, see the table at [`RedisConfig`].

use super::{
    address::Address,
    config::{RedisConfig, RedisTls, Topology},
};

pub(super) fn parse(url: &str) -> Result<RedisConfig, String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        if url.contains(['/', '@', '?']) && !url.starts_with('/') {
            // Not shown: there may be a password in it.
            return Err(
                "a Redis URL without \"://\" (must be redis://host[:port][/db], host:port or /path/to.sock)"
                    .to_owned(),
            );
        }
        return Ok(RedisConfig::single(url.parse()?));
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (has_tls, kind) = match scheme {
        "redis" | "unix" | "redis+unix" | "redis+sentinel" | "redis+cluster" => (false, scheme),
        "rediss" => (true, "redis"),
        "rediss+sentinel" => (true, "redis+sentinel"),
        "rediss+cluster" => (true, "redis+cluster"),
        _ => {
            return Err(format!(
                "scheme {scheme:?} of a Redis URL (must be redis, rediss, unix, redis+sentinel or redis+cluster)"
            ));
        }
    };
    let (login, rest) = match rest.rsplit_once('@') {
        Some((login, rest)) => (Some(login), rest),
        None => (None, rest),
    };
    let mut config = if kind.ends_with("unix") { unix(rest)? } else { tcp(kind, rest)? };
    if has_tls {
        config = config.tls(RedisTls::new());
    }
    if let Some(login) = login {
        config = with_login(config, login)?;
    }
    let mut certificate = ClientCertificate::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        config = with_option(config, pair, &mut certificate)?;
    }
    match (certificate, &mut config.tls) {
        (ClientCertificate { chain: None, key: None }, _) => {}
        (ClientCertificate { chain: Some(chain), key: Some(key) }, Some(tls)) => {
            tls.client = Some((chain.into(), key.into()));
        }
        _ => {
            return Err(
                "a client certificate in a Redis URL (must be both cert and key, with rediss://)".to_owned()
            );
        }
    }
    Ok(config)
}

#[derive(Default)]
struct ClientCertificate {
    chain: Option<String>,
    key: Option<String>,
}

fn unix(path: &str) -> Result<RedisConfig, String> {
    if !path.starts_with('/') {
        return Err(format!("path {path:?} of a unix socket (must start with \"/\")"));
    }
    Ok(RedisConfig::single(Address::Unix(decoded(path)?.into())))
}

fn tcp(kind: &str, rest: &str) -> Result<RedisConfig, String> {
    let mut parts = rest.split('/');
    let hosts = parts.next().unwrap_or_default();
    let addresses: Vec<Address> = hosts.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let mut config = match kind {
        "redis+cluster" => RedisConfig::cluster(addresses),
        "redis+sentinel" => RedisConfig::sentinel(addresses, decoded(parts.next().unwrap_or_default())?),
        _ => match <[Address; 1]>::try_from(addresses) {
            Ok([address]) => RedisConfig::single(address),
            Err(_) => {
                return Err(format!(
                    "several hosts in {hosts:?} (only with redis+sentinel and redis+cluster)"
                ));
            }
        },
    };
    if let Some(database) = parts.next().filter(|part| !part.is_empty()) {
        config = config.database(number(database)?);
    }
    match parts.next() {
        None => Ok(config),
        Some(more) => Err(format!("{more:?} after the database number")),
    }
}

fn with_login(config: RedisConfig, login: &str) -> Result<RedisConfig, String> {
    let Some((user, password)) = login.split_once(':') else {
        return Err("user without password in a Redis URL (must be user:password@ or :password@)".to_owned());
    };
    let config = config.password(decoded(password)?);
    Ok(if user.is_empty() { config } else { config.user(decoded(user)?) })
}

fn with_option(
    mut config: RedisConfig,
    pair: &str,
    certificate: &mut ClientCertificate,
) -> Result<RedisConfig, String> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let value = decoded(value)?;
    if value.is_empty() && matches!(name, "ca" | "cert" | "key" | "server_name") {
        return Err(format!("option {name:?} of a Redis URL without a value"));
    }
    match (name, &mut config.tls) {
        ("db", _) => return Ok(config.database(number(&value)?)),
        ("user", _) => return Ok(config.user(value)),
        ("pass" | "password", _) => return Ok(config.password(value)),
        ("namespace", _) => return Ok(config.namespace(value)),
        ("sentinel_user" | "sentinel_password", _) => return with_sentinel_login(config, name, value),
        ("cert", _) => certificate.chain = Some(value),
        ("key", _) => certificate.key = Some(value),
        ("ca", Some(tls)) => tls.ca = Some(value.into()),
        ("server_name", Some(tls)) => tls.server_name = Some(value),
        ("ca" | "server_name", None) => {
            return Err(format!("option {name:?} of a Redis URL without TLS (use rediss://)"));
        }
        _ => {
            return Err(format!(
                "option {name:?} of a Redis URL (must be db, user, password, sentinel_user, sentinel_password, namespace, \
                 ca, cert, key or server_name)"
            ));
        }
    }
    Ok(config)
}

fn with_sentinel_login(mut config: RedisConfig, name: &str, value: String) -> Result<RedisConfig, String> {
    let Topology::Sentinel { user, password, .. } = &mut config.topology else {
        return Err(format!("option {name:?} of a Redis URL without Sentinels (use redis+sentinel://)"));
    };
    let part = if name == "sentinel_user" { user } else { password };
    *part = Some(value).filter(|value| !value.is_empty());
    Ok(config)
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("database {text:?} (must be a number)"))
}

/// Without its percent-encoding.
fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let hex = after.get(..2).and_then(|hex| str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.ok_or("\"%\" without two hexadecimal digits in a Redis URL")?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| "percent-encoded bytes in a Redis URL are not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Parts<'a> = (&'a Topology, Option<&'a str>, Option<&'a str>, u32);

    fn parts(config: &RedisConfig) -> Parts<'_> {
        (&config.topology, config.user.as_deref(), config.password.as_deref(), config.database)
    }

    #[test]
    fn urls_mean_what_the_table_says() {
        let config = parse("redis://app:p%40ss%3A@[::1]:7000/2").unwrap();
        let single = Topology::Single(Address::tcp("::1", 7000));
        assert_eq!(parts(&config), (&single, Some("app"), Some("p@ss:"), 2));

        let config = parse("redis://:pw@localhost").unwrap();
        assert_eq!(parts(&config), (&Topology::Single(Address::tcp("localhost", 6379)), None, Some("pw"), 0));

        let config = parse("unix:///run/my%20redis.sock?db=3&namespace=n").unwrap();
        assert_eq!(parts(&config).0, &Topology::Single(Address::Unix("/run/my redis.sock".into())));
        assert_eq!((config.database, config.namespace.as_str()), (3, "n"));

        let config = parse("redis+sentinel://:pw@a:26379,b:26380/main/1").unwrap();
        let sentinel = Topology::Sentinel {
            sentinels: vec![Address::tcp("a", 26379), Address::tcp("b", 26380)],
            master: "main".to_owned(),
            user: None,
            password: None,
        };
        assert_eq!(parts(&config), (&sentinel, None, Some("pw"), 1));

        let config = parse("redis+sentinel://a/main?sentinel_user=u&sentinel_password=p%26").unwrap();
        let Topology::Sentinel { user, password, .. } = config.topology else { panic!("{config:?}") };
        assert_eq!((user.as_deref(), password.as_deref()), (Some("u"), Some("p&")));

        let config = parse("redis+cluster://a,b:7001").unwrap();
        assert_eq!(
            config.topology,
            Topology::Cluster(vec![Address::tcp("a", 6379), Address::tcp("b", 7001)])
        );

        let config = parse("rediss://h?ca=/etc/ca.pem&cert=/c&key=/k&server_name=s").unwrap();
        let tls = RedisTls::new().ca("/etc/ca.pem").client("/c", "/k").server_name("s");
        assert_eq!(config.tls, Some(tls));
        assert_eq!(
            parse("rediss://h?key=/k&ca=/a&cert=/c").unwrap().tls,
            Some(RedisTls::new().ca("/a").client("/c", "/k"))
        );
    }

    #[test]
    fn wrong_urls_say_what_is_wrong() {
        for (url, says) in [
            ("http://h", "scheme \"http\""),
            ("redis://a,b", "several hosts"),
            ("redis:/h", "without \"://\""),
            ("h:6379/2", "without \"://\""),
            ("rediss://h?ca=", "option \"ca\" of a Redis URL without a value"),
            ("redis://h/x", "database \"x\" (must be a number)"),
            ("redis://h/1/2", "\"2\" after the database number"),
            ("redis://user@h", "user without password"),
            ("redis://u:%zz@h", "two hexadecimal digits"),
            ("redis://u:%ff@h", "not UTF-8"),
            ("redis://h?ca=/x", "without TLS"),
            ("rediss://h?cert=/c", "both cert and key"),
            ("redis://h?cert=/c&key=/k", "with rediss://"),
            ("redis://h?dbb=1", "option \"dbb\""),
            ("redis://h?sentinel_password=x", "without Sentinels"),
            ("unix://relative", "must start with"),
        ] {
            let error = parse(url).err().unwrap_or_else(|| panic!("{url} is accepted"));
            assert!(error.contains(says), "{url}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_url_panics(url in "(redis|rediss|unix|redis\\+sentinel)?(://)?[a-z:@/,%?&=0-9\\[\\]]{0,30}") {
            let _ = parse(&url);
        }
    }
}
