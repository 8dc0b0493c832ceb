//! The command line: arguments to one call each.
//!
//! | file | commands |
//! |---|---|
//! | `quick.rs` | `run` without a file |
//! | `operate.rs` | `status`, `reload`, `drain`, `purge`: over the admin listener |
//! | `tell.rs` | `check`, `config`, `schema`, `completions`, `man` |
//!
//! Exit codes: 0 all went well · 1 something failed at run time · 2 wrong usage or a faulty configuration.

mod operate;
mod quick;
mod tell;

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::{
    admit::password,
    config::{AdminConfig, Config, Faults},
    demo,
    reload::Service,
    server::Listener,
};

/// Runs what the arguments of this process ask for.
#[must_use]
pub fn main() -> ExitCode {
    let asked = Arguments::parse();
    let done = match asked.command {
        Command::Run { config, quick } => run(config, &quick),
        Command::Check { config, format } => tell::check(config, format),
        Command::Config { config, template } => tell::config(config, template),
        Command::Schema => tell::schema(),
        Command::Status { running } => operate::status(running),
        Command::Reload { running } => operate::reload(running),
        Command::Drain { running, member, undo } => operate::drain(running, &member, undo),
        Command::Purge { running, what } => operate::purge(running, &what),
        Command::Completions { shell } => tell::completions(shell),
        Command::Man => tell::man(),
        Command::HashPassword => hash_password(),
        Command::Demo { port, requests } => {
            runtime().and_then(|runtime| runtime.block_on(demo::run(port, requests)))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// A thin, strict, caching and load-balancing HTTP proxy
///
/// It reads goproxy's file unchanged, balances over the members that are well, caches as RFC 9111 says, follows its
/// file while it serves, and tells what it does.
#[derive(Debug, Parser)]
#[command(name = "evenly", version, propagate_version = true, after_help = EXAMPLES, after_long_help = MORE)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the proxy, from a configuration file or from what is said here
    ///
    /// It serves until SIGTERM or SIGINT, then finishes what is under way within drain_timeout; a second signal ends it at
    /// once. Its file is followed: what is saved takes effect, and what is faulty changes nothing.
    #[command(after_help = RUN, after_long_help = RUN_MORE)]
    Run {
        /// The file [default: /etc/proxy/cfg.toml, then ./config/cfg.toml]
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        quick: quick::Quick,
    },
    /// Read a configuration file and report every fault in it
    #[command(
        after_help = "Examples:\n  evenly check --config cfg.toml && echo fine\n  evenly check --format json"
    )]
    Check {
        /// The file [default: /etc/proxy/cfg.toml, then ./config/cfg.toml]
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// How faults are told
        #[arg(long, value_enum, default_value = "text")]
        format: tell::Format,
    },
    /// Print the configuration with every default, secrets masked
    #[command(after_help = "Examples:\n  evenly config\n  evenly config --template > evenly.toml")]
    Config {
        /// The file [default: /etc/proxy/cfg.toml, then ./config/cfg.toml]
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// A commented file with every key instead
        #[arg(long, conflicts_with = "config")]
        template: bool,
    },
    /// Print the JSON schema of the file, for editors
    #[command(after_help = "Example:\n  evenly schema > evenly.schema.json")]
    Schema,
    /// Tell how a running proxy and its members are; exit code 1 unless requests are welcome
    #[command(after_help = "Examples:\n  evenly status\n  evenly status --admin 127.0.0.1:9180 || echo down")]
    Status {
        #[command(flatten)]
        running: operate::Running,
    },
    /// Let a running proxy read its file again
    #[command(
        after_help = "Examples:\n  evenly reload\n  kill -HUP \"$(pidof evenly)\"    the same without [admin]"
    )]
    Reload {
        #[command(flatten)]
        running: operate::Running,
    },
    /// Send a member of a running proxy no new requests
    #[command(after_help = "Examples:\n  evenly drain 127.0.0.1:6000\n  evenly drain --undo 127.0.0.1:6000")]
    Drain {
        #[command(flatten)]
        running: operate::Running,
        /// The member, as in proxy_pass without its weight
        #[arg(value_name = "HOST:PORT")]
        member: String,
        /// Send it requests again
        #[arg(long)]
        undo: bool,
    },
    /// Let a running proxy forget stored responses
    #[command(
        after_help = "Examples:\n  evenly purge --url http://shop.example/images/1.png\n  evenly purge --tag shoes\n  evenly purge --all"
    )]
    Purge {
        #[command(flatten)]
        running: operate::Running,
        #[command(flatten)]
        what: operate::What,
    },
    /// Print completions for a shell
    #[command(after_help = "Example:\n  evenly completions bash > /etc/bash_completion.d/evenly")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(after_help = "Example:\n  evenly man | man -l -")]
    Man,
    /// Read a password and print a hash of it (argon2id) for the configuration file
    #[command(
        after_help = "Examples:\n  evenly hash-password\n  printf '%s' \"$PASSWORD\" | evenly hash-password"
    )]
    HashPassword,
    /// Three small backends and the proxy with its cache before them, ready for curl
    #[command(after_help = "Examples:\n  evenly demo\n  evenly demo --requests 2000")]
    Demo {
        /// Where the proxy listens on 127.0.0.1; the next free port if this one is taken
        #[arg(long, default_value_t = 8080, value_name = "PORT")]
        port: u16,
        /// Send so many requests, print what went where, and end
        #[arg(long, value_name = "N")]
        requests: Option<u64>,
    },
}

/// Why a command ends without success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The usage is wrong; the text says all.
    Usage(String),
    /// The configuration is.
    Faults(Faults),
    /// The same, and all was said on standard output.
    Told,
    /// Something failed while running.
    Runtime(String),
}

impl Failure {
    fn report(&self) -> ExitCode {
        let (text, code) = match self {
            Failure::Told => return ExitCode::from(2),
            Failure::Usage(text) => (text, 2),
            Failure::Faults(faults) => (&faults.told(is_coloured(&io::stderr())), 2),
            Failure::Runtime(text) => (text, 1),
        };
        eprintln!("{text}");
        ExitCode::from(code)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Runtime(format!("evenly: {error}"))
    }
}

fn run(file: Option<PathBuf>, quick: &quick::Quick) -> Result<(), Failure> {
    let (path, config) = match quick.is_used() {
        true => (None, quick.config()?),
        false => load(file).map(|(path, config)| (Some(path), config))?,
    };
    let _log_guard = crate::logging::start(&config.server).map_err(Failure::Runtime)?;
    crate::descriptors::raise_limit();
    // For what is not serving: signals, reloads, checks of members, the admin listener.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (place, balance) = (config.server.listen.clone(), config.server.balance);
        let (members, log_path) = (config.server.members.len(), config.server.log_path.clone());
        // Opened first: whoever finds the proxy listening finds its admin listener too.
        let mut inherited = Listener::inherited()?;
        let admin = config.admin.clone().map(|admin| open_admin(admin, &mut inherited)).transpose()?;
        let service =
            Service::start(config, path.clone(), inherited).map_err(|error| {
                let text = format!("evenly: {error}");
                if error.is_usage() { Failure::Usage(text) } else { Failure::Runtime(text) }
            })?;
        tracing::info!(listen = %place, config = %path.unwrap_or_default().display(), %balance, members, "evenly is up");
        if let Some(folder) = &log_path {
            // Whoever started it by hand would see nothing at all.
            eprintln!("evenly: up at {place}; the log is in {}", folder.display());
        }
        if let Some((listener, admin)) = admin {
            let service = service.clone();
            tokio::spawn(async move {
                let listener = match listener {
                    Some(listener) => listener,
                    None => Listener::bind_once_free(&admin.listen).await,
                };
                tracing::info!(listen = %admin.listen, "dashboard, metrics and admin API");
                service.serve_admin(listener, &admin).await;
            });
        }
        crate::run::run(&service).await?;
        Ok(())
    })
}

/// The listener for operators: one of those that were handed over, or a new one. Whoever takes over from a process that
/// still drains has none yet: it gets the place when that process has ended.
fn open_admin(
    admin: AdminConfig,
    inherited: &mut Vec<Listener>,
) -> Result<(Option<Listener>, AdminConfig), Failure> {
    let place = &admin.listen;
    if let Some(at) = inherited.iter().position(|listener| listener.stands_at(place)) {
        return Ok((Some(inherited.swap_remove(at)), admin));
    }
    match Listener::bind(place) {
        Ok(listener) => Ok((Some(listener), admin)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && !inherited.is_empty() => {
            tracing::info!(listen = %place, "the place for operators is taken until the process before this one ends");
            Ok((None, admin))
        }
        Err(error) => Err(Failure::Runtime(format!("evenly: cannot listen on {place} for [admin]: {error}"))),
    }
}

/// From a terminal the password is asked twice and not shown; otherwise it is the first line of standard input.
fn hash_password() -> Result<(), Failure> {
    let password = if io::stdin().is_terminal() {
        let password = rpassword::prompt_password("password: ")?;
        if rpassword::prompt_password("again: ")? != password {
            return Err(Failure::Usage("evenly: the two passwords differ".to_owned()));
        }
        password
    } else {
        let mut line = String::new();
        io::stdin().read_line(&mut line)?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    let hash = password::hash(&password).map_err(|error| Failure::Usage(format!("evenly: {error}")))?;
    println_out(&hash);
    Ok(())
}

/// Finds, reads and parses the file.
fn load(file: Option<PathBuf>) -> Result<(PathBuf, Config), Failure> {
    let path = find(file)?;
    let config = Config::parse(&path.display().to_string(), &read(&path)?).map_err(Failure::Faults)?;
    Ok((path, config))
}

fn find(file: Option<PathBuf>) -> Result<PathBuf, Failure> {
    match file {
        Some(path) => Ok(path),
        None => DEFAULT_FILES.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
            let tried = DEFAULT_FILES.join(" nor ");
            Failure::Usage(format!(
                "evenly: no --config given, and neither {tried} is there\n\n\
                 without a file:  evenly run --listen :8080 --to 127.0.0.1:6000\n\
                 a new file:      evenly config --template > evenly.toml\n\
                 to look around:  evenly demo"
            ))
        }),
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::Usage(format!("evenly: cannot read {}: {error}", path.display())))
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// SIGINT and SIGTERM, which both mean: finish and end.
pub(crate) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    pub(crate) async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Whether somebody looks at it who likes colours.
fn is_coloured(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// A line to standard output; a reader that went away is no fault of ours.
pub(crate) fn println_out(line: &str) {
    use io::Write;
    let _ = writeln!(io::stdout().lock(), "{line}");
}

const EXAMPLES: &str = "Examples:
  evenly run --listen :8080 --to 127.0.0.1:6000^2 --to 127.0.0.1:7000 --cache
  evenly run --config cfg.toml
  evenly demo";
const MORE: &str = "Examples:
  evenly run --listen :8080 --to 127.0.0.1:6000^2 --to 127.0.0.1:7000 --cache
  evenly config --template > evenly.toml && evenly check --config evenly.toml
  evenly run --config evenly.toml
  evenly demo

Exit codes:
  0  all went well
  1  something failed at run time
  2  wrong usage, or a faulty configuration

Signals:
  HUP        read the file again (a change of the file is noticed without it)
  TERM, INT  no new connections, finish what is under way, end; a second one: end now

Environment:
  RUST_LOG             what goes to the log, such as info,evenly=debug
  NO_COLOR             anything: no colours
  EVENLY_ADMIN_TOKEN   the token of the admin listener that --admin names";
const RUN: &str = "Examples:
  evenly run --config cfg.toml
  evenly run --listen :8080 --to 127.0.0.1:6000^2 --to 127.0.0.1:7000 --cache";
const RUN_MORE: &str = "Examples:
  evenly run --config cfg.toml
  evenly run --listen :8080 --to 127.0.0.1:6000^2 --to 127.0.0.1:7000 --cache
  evenly run --listen unix:/run/app.sock --to https://api.example.com --balance least_load
  evenly run --to dns+web.default.svc.cluster.local:8080 --admin 127.0.0.1:9180 --access-log json

Exit codes:
  0  a signal ended it, and what was under way is finished or its time was over
  1  something failed at run time, such as a port that is taken
  2  wrong usage, or a faulty configuration";
/// Where goproxy looks for its file.
const DEFAULT_FILES: [&str; 2] = ["/etc/proxy/cfg.toml", "./config/cfg.toml"];
