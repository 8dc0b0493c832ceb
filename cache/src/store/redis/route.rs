//! Which server a command goes to.

use redis::{Cmd, Pipeline, Value};

use super::node::{Node, Request};
use crate::store::StoreError;

/// One server.
#[derive(Debug)]
pub(super) enum Route {
    One(Node),
}

/// A command, the name of the key that decides where it goes, and whether it may be sent twice.
pub(super) struct Ask {
    pub(super) name: Vec<u8>,
    pub(super) command: Cmd,
    pub(super) is_repeatable: bool,
}

impl Ask {
    /// A command that does the same when it arrives twice.
    pub(super) fn repeatable(name: Vec<u8>, command: Cmd) -> Self {
        Self { name, command, is_repeatable: true }
    }

    /// A command whose answer tells whether it was the first.
    pub(super) fn once(name: Vec<u8>, command: Cmd) -> Self {
        Self { name, command, is_repeatable: false }
    }
}

impl Route {
    /// The answer to one command; an error of the server is an `Err` too.
    pub(super) async fn ask(&self, ask: Ask) -> Result<Value, StoreError> {
        match self {
            Self::One(node) => {
                let value = node.send(&Request::One(ask.command), ask.is_repeatable).await?;
                accepted(&node.state.server, value)
            }
        }
    }

    /// The answers to many, in their order, over as few round trips as there are servers.
    pub(super) async fn ask_each(&self, asks: Vec<Ask>) -> Vec<Result<Value, StoreError>> {
        match self {
            Self::One(node) => ask_node(node, asks).await,
        }
    }

    /// Every server that holds keys.
    pub(super) fn masters(&self) -> Vec<&Node> {
        match self {
            Self::One(node) => vec![node],
        }
    }
}

/// All of `asks` to one server in one go; in parts where there are more than [`PIPELINE_MAX`].
async fn ask_node(node: &Node, asks: Vec<Ask>) -> Vec<Result<Value, StoreError>> {
    let mut answers = Vec::with_capacity(asks.len());
    let mut asks = asks.into_iter().peekable();
    while asks.peek().is_some() {
        let mut pipeline = Pipeline::new();
        let mut is_repeatable = true;
        for ask in asks.by_ref().take(PIPELINE_MAX) {
            is_repeatable &= ask.is_repeatable;
            pipeline.add_command(ask.command);
        }
        let count = pipeline.len();
        match node.send(&Request::Many(pipeline), is_repeatable).await {
            Ok(Value::Array(values)) if values.len() == count => {
                answers.extend(values.into_iter().map(|value| accepted(&node.state.server, value)));
            }
            Ok(value) => {
                let error = unexpected(&node.state.server, "a pipeline", &value);
                answers.extend((0..count).map(|_| Err(error.clone())));
            }
            Err(error) => answers.extend((0..count).map(|_| Err(error.clone()))),
        }
    }
    answers
}

/// `value` unless it is an error of the server.
pub(super) fn accepted(server: &std::sync::Arc<str>, value: Value) -> Result<Value, StoreError> {
    match value {
        Value::ServerError(error) => Err(StoreError::Refused {
            server: server.clone(),
            code: error.code().into(),
            detail: error.details().unwrap_or_default().into(),
        }),
        value => Ok(value),
    }
}

/// An answer of the wrong kind, without its contents.
pub(super) fn unexpected(server: &std::sync::Arc<str>, command: &'static str, value: &Value) -> StoreError {
    let found = match value {
        Value::Nil => "nothing",
        Value::Int(_) => "a number",
        Value::BulkString(_) | Value::SimpleString(_) | Value::VerbatimString { .. } => "a string",
        Value::Okay => "OK",
        Value::Array(_) | Value::Set(_) => "a list",
        Value::Map(_) | Value::Attribute { .. } => "a map",
        Value::Push { .. } => "a push message",
        Value::ServerError(_) => "an error",
        _ => "another type",
    };
    StoreError::Unexpected { server: server.clone(), command, found }
}

/// Commands sent in one go. More would make the first of them wait for the last of a long reply.
pub(super) const PIPELINE_MAX: usize = 512;
