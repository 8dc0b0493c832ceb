//! All of admission in order: from a parsed request to one that may be sent on.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{HOST, HeaderValue, LOCATION};
use http::request::Parts;
use http::uri::Scheme;
use http::{Method, Response, StatusCode, Version};

use super::Refusal;
use super::auth::Auth;
use super::client::{Peer, TrustedProxies};
use super::rules::{Access, Caching, Question, Rule, Rules};
use super::sanitise::{Limits, Target, sanitise};
use crate::headers::{HopByHop, Sender, Style, add_forwarded, append_via, set_forwarded, strip_hop_by_hop};
use crate::target::{Form, Host};

/// What decides about requests. Built from a configuration.
#[derive(Debug, Default)]
pub struct Admission {
    /// What a request may be at most.
    pub limits: Limits,
    /// Who is believed about clients.
    pub trusted: TrustedProxies,
    /// How upstreams are told about clients.
    pub style: Style,
    /// The rules.
    pub rules: Rules,
    /// The users, if there are any.
    pub auth: Option<Arc<Auth>>,
    /// Must everybody show a password, unless a rule says otherwise?
    pub asks_everybody: bool,
    /// The port of the listener with TLS to which requests without it are sent.
    pub redirects_to: Option<u16>,
    /// A forward proxy takes absolute targets and `CONNECT`, a reverse proxy paths.
    pub is_forward: bool,
}

/// What is known about a request that may be sent on.
#[derive(Debug)]
pub struct Admitted {
    /// Who sent it, as far as trusted proxies vouch for it.
    pub client: IpAddr,
    /// Who showed a password.
    pub user: Option<Arc<str>>,
    /// The rule that acts.
    pub rule: Option<Arc<Rule>>,
    /// How its target was written.
    pub form: Form,
    /// The protocol it wants to switch to.
    pub upgrade: Option<HeaderValue>,
    /// Does it take trailers?
    pub takes_trailers: bool,
    /// The entity tags the client has of an answer that is rewritten.
    pub tags: Option<HeaderValue>,
}

impl Admitted {
    /// May its answer come from the cache, and go there? Not when a rule says no.
    #[must_use]
    pub fn is_cached(&self) -> bool {
        self.rule.as_ref().is_none_or(|rule| rule.then.caching != Caching::Off)
    }
}

impl Admission {
    /// Decides about a request, and makes of it what an upstream may see. `has_body` and `now` are facts about it.
    ///
    /// # Errors
    /// Why it is answered here.
    pub async fn admit(
        &self,
        parts: &mut Parts,
        peer: &Peer,
        scheme: &Scheme,
        has_body: bool,
        now: Instant,
    ) -> Result<Admitted, Refusal> {
        if self.is_forward && parts.uri.scheme() == Some(&Scheme::HTTPS) && parts.version != Version::HTTP_2 {
            // Who wants TLS to the destination asks for a tunnel.
            return Err(Refusal::Destination);
        }
        let target = sanitise(parts, &self.limits)?;
        let is_ours = if self.is_forward {
            matches!(target.form, Form::Absolute | Form::Authority)
        } else {
            target.form != Form::Authority
        };
        if !is_ours {
            return Err(Refusal::Method);
        }
        if let (Some(port), true) = (self.redirects_to, *scheme == Scheme::HTTP) {
            return Err(redirect_to_tls(parts, port));
        }
        let client = peer.client(&parts.headers, &self.trusted);
        let (rule, user) = self.decide(parts, &target, client, now).await?;
        let suspects = target.suspects;
        let hop =
            if suspects.hop_by_hop { strip_hop_by_hop(&mut parts.headers) } else { HopByHop::default() };
        // HTTP/1.0 cannot switch (RFC 9110 §7.8), HTTP/2 does it otherwise.
        let upgrade =
            hop.upgrade.filter(|_| parts.version == Version::HTTP_11 && target.form != Form::Authority);
        if upgrade.is_some() && has_body {
            return Err(Refusal::UpgradeWithBody);
        }
        if let Some(host) = parts.headers.get(HOST).cloned() {
            let (address, is_trusted) = (peer.address, peer.is_trusted);
            let sender = Sender { address, address_text: &peer.text, is_trusted, scheme, host: &host };
            match suspects.claims {
                true => set_forwarded(&mut parts.headers, &sender, self.style),
                false => add_forwarded(&mut parts.headers, &sender, self.style),
            }
        }
        append_via(&mut parts.headers, parts.version);
        let tags = match &rule {
            Some(rule) => self.change(parts, &target, rule, client)?,
            None => None,
        };
        Ok(Admitted { client, user, rule, form: target.form, upgrade, takes_trailers: hop.trailers, tags })
    }

    /// The rule that acts and the user, if both let the request pass.
    async fn decide(
        &self,
        parts: &mut Parts,
        target: &Target,
        client: IpAddr,
        now: Instant,
    ) -> Result<(Option<Arc<Rule>>, Option<Arc<str>>), Refusal> {
        if self.rules.is_empty() && !self.asks_everybody {
            return Ok((None, None));
        }
        let mut user = match &self.auth {
            Some(auth) if self.rules.look_at_users() && auth.is_tried(&parts.headers) => {
                Some(auth.admit(&mut parts.headers, client, now).await?)
            }
            _ => None,
        };
        let rule = self.asked(parts, target, client, user.as_deref(), |question| {
            self.rules.first(question).cloned().map(|rule| {
                let answer = rule.then.verdict.answer(&rule, question, &parts.uri);
                (rule, answer)
            })
        });
        let (rule, answer) = rule.unzip();
        let access = rule.as_ref().map_or(&Access::AsUsual, |rule| &rule.then.access);
        let needs_user = match access {
            Access::AsUsual => self.asks_everybody && answer.as_ref().is_none_or(Option::is_none),
            Access::Open => false,
            Access::AnyUser | Access::Users(_) => true,
        };
        if needs_user && user.is_none() {
            let nobody = || Refusal::Credentials { is_forward: self.is_forward };
            let auth = self.auth.as_ref().ok_or_else(nobody)?;
            user = Some(auth.admit(&mut parts.headers, client, now).await?);
        }
        if needs_user && !user.as_deref().is_some_and(|user| access.lets_in(user)) {
            return Err(Refusal::Destination);
        }
        match answer.flatten() {
            Some(answer) => Err(Refusal::Rule(Box::new(answer))),
            None => Ok((rule, user)),
        }
    }

    /// Changes the request as the rule says; returns the entity tags taken off it.
    fn change(
        &self,
        parts: &mut Parts,
        target: &Target,
        rule: &Rule,
        client: IpAddr,
    ) -> Result<Option<HeaderValue>, Refusal> {
        let change = &rule.then.request;
        let path = self.asked(parts, target, client, None, |question| {
            change.path(&rule.when.paths, question, &parts.uri)
        });
        if target.form != Form::Authority {
            change.apply(parts, path).map_err(|_| Refusal::Field("a rule makes a path that is none"))?;
        }
        let response = rule.then.response.as_ref();
        let tags = response.and_then(|response| response.prepare(&mut parts.headers));
        Ok(tags.filter(|_| parts.method == Method::GET))
    }

    fn asked<T>(
        &self,
        parts: &Parts,
        target: &Target,
        client: IpAddr,
        user: Option<&str>,
        ask: impl FnOnce(&Question<'_>) -> T,
    ) -> T {
        let host = parts.headers.get(HOST).and_then(|host| Host::parse(host.as_bytes()).ok());
        let host = host.map(|host| host.for_rules()).unwrap_or_default();
        ask(&Question {
            method: &parts.method,
            host: &host,
            path: target.path_for_rules(&parts.uri),
            query: parts.uri.query(),
            headers: &parts.headers,
            client,
            user,
        })
    }
}

/// The same place over TLS. 308: the method stays.
fn redirect_to_tls(parts: &Parts, port: u16) -> Refusal {
    let host = parts.headers.get(HOST).and_then(|host| Host::parse(host.as_bytes()).ok());
    let name = host.map_or("localhost", |host| host.name);
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    if let Ok(place) = HeaderValue::from_str(&format!("https://{name}{port}{path}")) {
        response.headers_mut().insert(LOCATION, place);
    }
    Refusal::Rule(Box::new(response))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::admit::password::Password;
    use crate::admit::rules::{Then, Verdict, When};
    use crate::pattern::PathPattern;

    fn on(prefix: &str, then: Then) -> Rule {
        let when = When { paths: vec![PathPattern::prefix(prefix).unwrap()], ..When::default() };
        Rule::new(prefix, when, then)
    }

    fn access(access: Access) -> Then {
        Then { access, ..Then::default() }
    }

    fn admission() -> Admission {
        let users = ["alice", "bob"].map(|name| (name.to_owned(), Password::plain("pw"))).to_vec();
        let rules = Rules::new(vec![
            on("/blocked", Then::from(Verdict::block(403, "no").unwrap())),
            on("/private", access(Access::AnyUser)),
            on("/alice", access(Access::Users(vec!["alice".into()]))),
        ]);
        Admission { rules, auth: Some(Arc::new(Auth::new(users, false, 100))), ..Admission::default() }
    }

    async fn ask(admission: &Admission, target: &str, user: Option<&str>) -> Result<Admitted, StatusCode> {
        let mut request = Request::get(target).header("host", "a.test");
        if let Some(user) = user {
            use base64::Engine;
            let basic = base64::engine::general_purpose::STANDARD.encode(format!("{user}:pw"));
            request = request.header("authorization", format!("Basic {basic}"));
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let peer = Peer::new([192, 0, 2, 1].into(), &admission.trusted);
        let admitted = admission.admit(&mut parts, &peer, &Scheme::HTTP, false, Instant::now()).await;
        let admitted = admitted.map_err(|refusal| refusal.status())?;
        assert!(admitted.user.is_none() || !parts.headers.contains_key("authorization"));
        Ok(admitted)
    }

    #[tokio::test]
    async fn rules_block_and_ask_for_users() {
        let admission = admission();
        for (target, user, expected) in [
            ("/open", None, None),
            ("/%62locked", Some("alice"), Some(403)),
            ("//private", None, Some(401)),
            ("/private", Some("bob"), None),
            ("/private", Some("nobody"), Some(401)),
            ("/alice", Some("bob"), Some(403)),
            ("/alice", Some("alice"), None),
        ] {
            let status = ask(&admission, target, user).await.err().map(|status| status.as_u16());
            assert_eq!(status, expected, "{target} {user:?}");
        }
    }

    #[tokio::test]
    async fn everybody_is_asked_unless_a_rule_opens_or_answers() {
        let mut admission = admission();
        admission.asks_everybody = true;
        admission.rules = Rules::new(vec![
            on("/open", access(Access::Open)),
            on("/blocked", Then::from(Verdict::block(403, "no").unwrap())),
        ]);
        let status =
            async |target, user| ask(&admission, target, user).await.err().map(|status| status.as_u16());
        assert_eq!(status("/", None).await, Some(401));
        assert_eq!(status("/", Some("alice")).await, None);
        assert_eq!(status("/open", None).await, None);
        assert_eq!(status("/blocked", None).await, Some(403));
    }

    #[tokio::test]
    async fn a_user_can_be_a_condition() {
        let mut admission = admission();
        let when = When { users: vec!["bob".into()], ..When::default() };
        admission.rules =
            Rules::new(vec![Rule::new("not bob", when, Then::from(Verdict::block(403, "").unwrap()))]);
        let status = async |user| ask(&admission, "/", user).await.err().map(|status| status.as_u16());
        assert_eq!(status(None).await, None);
        assert_eq!(status(Some("alice")).await, None);
        assert_eq!(status(Some("bob")).await, Some(403));
    }

    #[tokio::test]
    async fn each_kind_of_proxy_takes_its_own_forms() {
        let mut admission = Admission::default();
        assert!(ask(&admission, "http://a.test/", None).await.is_ok());
        admission.is_forward = true;
        assert!(ask(&admission, "http://a.test/", None).await.is_ok());
        assert_eq!(ask(&admission, "/", None).await.unwrap_err(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
