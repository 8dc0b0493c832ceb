//! What operators may ask of this proxy, answered.

use std::time::{Instant, SystemTime};

use balancers::EditError;

use crate::{
    config::{Address, Member},
    observe::{CacheFacts, Change, Counters, Desk, Events, GroupFacts, History, NameFacts, Purge, Refusal},
    reload::Service,
};

impl Service {
    /// Takes a sample for the dashboard.
    pub(super) fn sample(&self) {
        let groups = self.groups();
        let observer = &self.proxy().shared.observer;
        observer.history.tick(Instant::now(), SystemTime::now(), &observer.counters, self.cache(), &groups);
    }
}

impl Desk for Service {
    fn counters(&self) -> &Counters {
        &self.proxy().shared.observer.counters
    }

    fn history(&self) -> &History {
        &self.proxy().shared.observer.history
    }

    fn events(&self) -> &Events {
        &self.proxy().shared.observer.events
    }

    fn groups(&self) -> Vec<GroupFacts> {
        self.proxy().shared.state.load().facts()
    }

    fn cache(&self) -> CacheFacts {
        self.proxy().cache_facts()
    }

    fn names(&self) -> NameFacts {
        self.proxy().shared.state.load().directory.facts()
    }

    fn access_log_dropped(&self) -> u64 {
        self.proxy().shared.state.load().access_log.as_ref().map_or(0, |log| log.dropped())
    }

    async fn config(&self) -> String {
        Service::config(self).await.to_toml()
    }

    fn is_ready(&self) -> bool {
        let is_open =
            |group: &GroupFacts| group.members.iter().any(|member| member.is_up && !member.is_draining);
        !*self.proxy().shared.draining.borrow() && self.groups().iter().all(is_open)
    }

    fn change(&self, group: &str, change: &Change) -> Result<String, Refusal> {
        let state = self.proxy().shared.state.load();
        let Some(group) = state.named(group) else {
            return Err(Refusal::NotFound(format!("no group \"{group}\"")));
        };
        if let Change::Add(Member { address: Address::Tls { .. }, .. }) = change
            && group.settings.tls.is_none()
        {
            let why = "no member of the file is behind TLS, so there is nothing to believe this one by; add it there";
            return Err(Refusal::Impossible(why.to_owned()));
        }
        let pool = &group.pool;
        let done = match change {
            Change::Add(member) => {
                let told = format!("added {} with weight {}", member.address, member.weight);
                group.add(member).map(|()| told)
            }
            Change::Remove(id) => pool.update(|edit| edit.remove(id)).map(|_| format!("removed {id}")),
            Change::Weight(id, weight) => pool
                .update(|edit| edit.set_weight(id, *weight))
                .map(|_| format!("weight of {id} is {weight}")),
            Change::Drain(id) => pool.update(|edit| edit.drain(id)).map(|_| format!("draining {id}")),
            Change::Undrain(id) => pool.update(|edit| edit.undrain(id)).map(|_| format!("{id} is back")),
        };
        done.map_err(|error| match error {
            EditError::Unknown { .. } => Refusal::NotFound(error.to_string()),
            error => Refusal::Impossible(error.to_string()),
        })
    }

    async fn purge(&self, what: &Purge) -> Result<u64, Refusal> {
        let opened = self.proxy().shared.state.load().cache.clone();
        let Some(opened) = opened else {
            return Err(Refusal::NotConfigured("cache = false: there is nothing to purge".to_owned()));
        };
        let purged = opened.purge(what).await.map_err(Refusal::Impossible)?;
        purged.map_err(|error| Refusal::Impossible(error.to_string()))
    }

    async fn reload(&self) -> Result<String, Refusal> {
        let Some(file) = self.file() else {
            return Err(Refusal::NotConfigured("this proxy was not started from a file".to_owned()));
        };
        match Service::reload(self).await {
            Ok(()) => Ok(format!("reloaded {}", file.display())),
            Err(error) => Err(Refusal::Impossible(error.to_string())),
        }
    }
}
