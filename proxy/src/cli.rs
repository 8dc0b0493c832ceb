//! The command line: arguments to one call each.
//!
//! Exit codes: 0 all went well · 1 something failed at run time · 2 wrong usage or a faulty configuration.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::{
    admit::password,
    config::{Config, LogLevel, ServerConfig},
    demo,
    reload::Service,
    server::Listener,
};

/// Runs what the arguments of this process ask for.
#[must_use]
pub fn main() -> ExitCode {
    let asked = Arguments::parse();
    let done = match asked.command {
        Command::Run { config } => run(config),
        Command::Check { config } => check(config),
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

/// A thin, strict, caching and load-balancing HTTP proxy.
#[derive(Debug, Parser)]
#[command(name = "evenly", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the proxy from a configuration file
    #[command(after_help = "Example:\n  evenly run --config cfg.toml")]
    Run {
        /// The file [default: /etc/proxy/cfg.toml, then ./config/cfg.toml]
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Read a configuration file and report every fault in it
    #[command(after_help = "Example:\n  evenly check --config cfg.toml && echo fine")]
    Check {
        /// The file [default: /etc/proxy/cfg.toml, then ./config/cfg.toml]
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
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
    /// The configuration or the usage is wrong; the text says all.
    Usage(String),
    /// Something failed while running.
    Runtime(String),
}

impl Failure {
    fn report(&self) -> ExitCode {
        let (text, code) = match self {
            Failure::Usage(text) => (text, 2),
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

fn run(file: Option<PathBuf>) -> Result<(), Failure> {
    let (path, config) = load(file)?;
    let _log_guard = start_log(&config.server)?;
    runtime()?.block_on(async {
        let (place, balance) = (config.server.listen.clone(), config.server.balance);
        let members = config.server.members.len();
        let admin = config.admin.clone();
        let service =
            Service::start(config, Some(path.clone()), Listener::inherited()?).map_err(|error| {
                let text = format!("evenly: {error}");
                if error.is_usage() { Failure::Usage(text) } else { Failure::Runtime(text) }
            })?;
        tracing::info!(listen = %place, config = %path.display(), %balance, members, "evenly is up");
        if let Some(admin) = admin {
            let place = &admin.listen;
            let listener = Listener::bind(place).map_err(|error| {
                Failure::Runtime(format!("evenly: cannot listen on {place} for [admin]: {error}"))
            })?;
            tracing::info!(listen = %place, "dashboard, metrics and admin API");
            let service = service.clone();
            tokio::spawn(async move { service.serve_admin(listener, &admin).await });
        }
        crate::run::run(&service).await?;
        Ok(())
    })
}

fn check(file: Option<PathBuf>) -> Result<(), Failure> {
    let (path, _) = load(file)?;
    println_out(&format!("{}: no faults", path.display()));
    Ok(())
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
    let path = match file {
        Some(path) => path,
        None => DEFAULT_FILES.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
            let tried = DEFAULT_FILES.join(" and ");
            Failure::Usage(format!("evenly: no --config given, and neither {tried} is there"))
        })?,
    };
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Failure::Usage(format!("evenly: cannot read {}: {error}", path.display())))?;
    let config = Config::parse(&path.display().to_string(), &text)
        .map_err(|faults| Failure::Usage(faults.to_string()))?;
    Ok((path, config))
}

/// Logs go to standard error, or to a file a day in `log_path`.
fn start_log(server: &ServerConfig) -> Result<Option<tracing_appender::non_blocking::WorkerGuard>, Failure> {
    let level = match server.log {
        LogLevel::Debug => "info,evenly=debug",
        LogLevel::Info => "info",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
    match &server.log_path {
        None => {
            builder.with_writer(io::stderr).init();
            Ok(None)
        }
        Some(folder) => {
            let (writer, guard) = tracing_appender::non_blocking(log_file(folder)?);
            builder.with_ansi(false).with_writer(writer).init();
            Ok(Some(guard))
        }
    }
}

fn log_file(folder: &Path) -> Result<tracing_appender::rolling::RollingFileAppender, Failure> {
    std::fs::create_dir_all(folder)
        .map_err(|error| Failure::Runtime(format!("evenly: cannot log to {}: {error}", folder.display())))?;
    tracing_appender::rolling::Builder::new()
        .rotation(tracing_appender::rolling::Rotation::DAILY)
        .filename_prefix("evenly.log")
        .max_log_files(LOG_FILES_MAX)
        .build(folder)
        .map_err(|error| Failure::Runtime(format!("evenly: cannot log to {}: {error}", folder.display())))
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

/// A line to standard output; a reader that went away is no fault of ours.
pub(crate) fn println_out(line: &str) {
    use io::Write;
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Where goproxy looks for its file.
const DEFAULT_FILES: [&str; 2] = ["/etc/proxy/cfg.toml", "./config/cfg.toml"];
const LOG_FILES_MAX: usize = 14;
