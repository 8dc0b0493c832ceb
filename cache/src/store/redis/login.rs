//! The first commands on a connection: who we are, which protocol, which database.

use redis::Value;

use super::{command::Command, wire::Wire};

/// What a server wants to know first.
#[derive(Clone)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: u32,
}

impl Login {
    /// Says all of it in one go. The error says what to change.
    pub(super) async fn send(&self, wire: &Wire, speaks_resp3: bool) -> Result<(), String> {
        let commands = self.commands(speaks_resp3);
        let commands: Vec<&Command> = commands.iter().collect();
        let answers = match wire.send_all(&commands).await {
            Ok(Value::Array(answers)) => answers,
            Ok(_) => return Err("the login was answered with something else".to_owned()),
            Err(broken) => return Err(broken.to_string()),
        };
        // The last two only give the connection a name: a server that has no use for it may say so.
        let (answers, _) = answers.split_at(answers.len().saturating_sub(NAMING));
        answers.iter().try_for_each(|answer| self.check(answer))
    }

    fn commands(&self, speaks_resp3: bool) -> Vec<Command> {
        let mut commands = Vec::new();
        if speaks_resp3 {
            let mut hello = Command::new("HELLO");
            hello.arg(3);
            if let Some(password) = &self.password {
                hello.arg("AUTH").arg(self.shown_user()).arg(password);
            }
            commands.push(hello);
        } else if let Some(password) = &self.password {
            let mut auth = Command::new("AUTH");
            if let Some(user) = &self.user {
                auth.arg(user);
            }
            auth.arg(password);
            commands.push(auth);
        }
        if self.database != 0 {
            let mut select = Command::new("SELECT");
            select.arg(self.database);
            commands.push(select);
        }
        for (what, value) in [("LIB-NAME", "evenly"), ("LIB-VER", env!("CARGO_PKG_VERSION"))] {
            let mut client = Command::new("CLIENT");
            client.arg("SETINFO").arg(what).arg(value);
            commands.push(client);
        }
        commands
    }

    fn check(&self, answer: &Value) -> Result<(), String> {
        let Value::ServerError(error) = answer else { return Ok(()) };
        let detail = error.details().unwrap_or_default();
        match error.code() {
            "WRONGPASS" => {
                let user = self.shown_user();
                Err(format!(
                    "the login as user {user:?} is refused: wrong password, or no such user (WRONGPASS)"
                ))
            }
            "NOAUTH" => Err("it asks for a password, and none was given (NOAUTH)".to_owned()),
            code => Err(format!("the login is refused: {code} {detail}")),
        }
    }

    fn shown_user(&self) -> &str {
        self.user.as_deref().unwrap_or("default")
    }
}

/// Commands at the end whose answers do not matter.
const NAMING: usize = 2;
