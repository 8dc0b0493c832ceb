//! Which server is the master: the Sentinels know, and the server itself must agree.
//!
//! All Sentinels are asked at once, for each new connection, and the first that names a master is believed: one that is
//! down or frozen costs nothing. A server that is named and says that it is a replica is not used: the Sentinels are about to
//! change their mind, or have not been heard yet. After a failover the old master's connections break, or its answers are
//! `READONLY`; either way the next connection goes to the new one.

use std::{pin::pin, sync::Arc};

use futures_util::future::select_ok;
use redis::Value;

use super::{address::Address, command::Command, dial::Dialer, wire::Wire};

pub(super) struct Sentinels {
    pub(super) addresses: Vec<Address>,
    pub(super) master: String,
    /// How to open connections to the Sentinels.
    pub(super) dialer: Arc<Dialer>,
}

impl Sentinels {
    /// The master's address, from the first Sentinel that names one.
    pub(super) async fn find(&self) -> Result<Address, String> {
        let questions = self.addresses.iter().map(|address| Box::pin(self.ask(address)));
        let (master, _) = select_ok(questions).await?;
        Ok(master)
    }

    async fn ask(&self, address: &Address) -> Result<Address, String> {
        let shown = |what: String| format!("sentinel {address}: {what}");
        let (wire, driver) = self.dialer.dial(address, None).await.map_err(shown)?;
        let mut command = Command::new("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master);
        let mut answer = pin!(wire.send(&command));
        // The connection serves this question alone: its driver needs no task of its own.
        let answer = tokio::select! {
            answer = &mut answer => answer,
            // An answer may be the last that it brought.
            () = driver => answer.await,
        };
        let answer = answer.map_err(|broken| shown(broken.to_string()))?;
        read_answer(answer, &self.master).map_err(shown)
    }
}

fn read_answer(answer: Value, master: &str) -> Result<Address, String> {
    let parts = match answer {
        Value::Array(parts) => parts,
        Value::Nil => return Err(format!("knows no master {master:?}")),
        Value::ServerError(error)
            if error.details().is_some_and(|told| told.starts_with("unknown command")) =>
        {
            return Err("is no Sentinel".to_owned());
        }
        Value::ServerError(error) => {
            return Err(format!("{} {}", error.code(), error.details().unwrap_or_default()));
        }
        _ => return Err("answered with no address".to_owned()),
    };
    let [Value::BulkString(host), Value::BulkString(port)] = parts.as_slice() else {
        return Err("answered with no address".to_owned());
    };
    let host = String::from_utf8(host.clone()).map_err(|_| "named a host that is no text".to_owned())?;
    match str::from_utf8(port).ok().and_then(|port| port.parse().ok()) {
        Some(port @ 1..) if !host.is_empty() => Ok(Address::tcp(host, port)),
        _ => Err("named an address that is none".to_owned()),
    }
}

/// Refuses a server that says it is a replica. One that will not say is believed.
pub(super) async fn check_is_master(wire: &Wire) -> Result<(), String> {
    match wire.send(&Command::new("ROLE")).await {
        Ok(Value::Array(role)) => match role.first() {
            Some(Value::BulkString(role)) if role == b"master" => Ok(()),
            _ => Err("the Sentinels name a server that is a replica".to_owned()),
        },
        Ok(_) => Ok(()),
        Err(broken) => Err(broken.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_is_an_address() {
        let text = |text: &[u8]| Value::BulkString(text.to_vec());
        let read = |answer| read_answer(answer, "main");
        assert_eq!(
            read(Value::Array(vec![text(b"10.0.0.1"), text(b"6379")])),
            Ok(Address::tcp("10.0.0.1", 6379))
        );
        assert!(read(Value::Nil).unwrap_err().contains("no master \"main\""));
        for bad in [
            Value::Okay,
            Value::Array(vec![]),
            Value::Array(vec![text(b"h"), text(b"0")]),
            Value::Array(vec![text(b"h"), text(b"65536")]),
            Value::Array(vec![text(b""), text(b"1")]),
            Value::Array(vec![text(b"\xff"), text(b"1")]),
            Value::Array(vec![text(b"h"), Value::Int(1)]),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad:?}");
        }
    }
}
