//! The log of the process: where it goes, decided at the start, and how much of it, which a reload may change.
//!
//! `tracing` has one subscriber in a process, and so this room has the one global of the proxy: the handle to that
//! subscriber's level. A library's user has a subscriber of his own and no such handle; then a reload changes nothing.

use std::{
    io::{self, IsTerminal as _},
    path::Path,
    sync::OnceLock,
};

use tracing_appender::{
    non_blocking::WorkerGuard,
    rolling::{RollingFileAppender, Rotation},
};
use tracing_subscriber::{EnvFilter, fmt::writer::BoxMakeWriter};

use crate::config::{LogLevel, ServerConfig};

/// Logs to standard error, or to a file a day in `log_path`, until the guard is dropped.
///
/// # Errors
/// When the folder or its file cannot be made; the text says all.
pub(crate) fn start(server: &ServerConfig) -> Result<Option<WorkerGuard>, String> {
    let (writer, guard, is_coloured) = match &server.log_path {
        None => {
            let is_coloured = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            (BoxMakeWriter::new(io::stderr), None, is_coloured)
        }
        Some(folder) => {
            let (writer, guard) = tracing_appender::non_blocking(log_file(folder)?);
            (BoxMakeWriter::new(writer), Some(guard), false)
        }
    };
    let said = EnvFilter::try_from_default_env().ok();
    let may_change = said.is_none();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(said.unwrap_or_else(|| filter(server.log)))
        .with_target(false)
        .with_ansi(is_coloured)
        .with_writer(writer)
        .with_filter_reloading();
    if may_change {
        let handle = builder.reload_handle();
        // Set before by nobody: a process starts one log.
        let _ = LEVEL.set(Box::new(move |level| drop(handle.reload(filter(level)))));
    }
    builder.init();
    Ok(guard)
}

/// From now on as much as `level` says, unless `RUST_LOG` has said otherwise.
pub(crate) fn follow(level: LogLevel) {
    if let Some(set) = LEVEL.get() {
        set(level);
    }
}

fn filter(level: LogLevel) -> EnvFilter {
    EnvFilter::new(match level {
        LogLevel::Debug => "info,evenly=debug",
        LogLevel::Info => "info",
    })
}

fn log_file(folder: &Path) -> Result<RollingFileAppender, String> {
    let told = |error: &dyn std::fmt::Display| format!("evenly: cannot log to {}: {error}", folder.display());
    std::fs::create_dir_all(folder).map_err(|error| told(&error))?;
    RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("evenly.log")
        .max_log_files(FILES_MAX)
        .build(folder)
        .map_err(|error| told(&error))
}

type SetLevel = Box<dyn Fn(LogLevel) + Send + Sync>;

static LEVEL: OnceLock<SetLevel> = OnceLock::new();
const FILES_MAX: usize = 14;
