//! Where lines go: to standard output, or to a file a day. A request never waits for a disk.
//!
//! ```text
//! request ends ─► line ─► queue (128,000 lines at most) ─► one thread ─► file or pipe
//!                           └─ full: the line is dropped and counted (`evenly_access_log_dropped_total`)
//! ```

use std::{
    cell::RefCell,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use http::{HeaderName, header};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

use super::{entry::Entry, line};
use crate::config::{AccessLog, Piece};

/// Makes lines of entries and queues them. When it is dropped, what is queued is written first.
#[derive(Debug)]
pub(crate) struct AccessLogWriter {
    format: AccessLog,
    wanted: Vec<HeaderName>,
    /// Absent for standard output.
    folder: Option<PathBuf>,
    queue: NonBlocking,
    dropped: ErrorCounter,
    _guard: WorkerGuard,
}

impl AccessLogWriter {
    /// Opens the log in `folder`, or on standard output; nothing when the log is off. After a reload that changed
    /// nothing of it, `previous` goes on.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub(crate) fn follow(
        format: &AccessLog,
        folder: Option<&Path>,
        previous: Option<&Arc<Self>>,
    ) -> io::Result<Option<Arc<Self>>> {
        if *format == AccessLog::Off {
            return Ok(None);
        }
        if let Some(same) = previous.filter(|log| log.format == *format && log.folder.as_deref() == folder) {
            return Ok(Some(Arc::clone(same)));
        }
        Ok(Some(Arc::new(match folder {
            None => Self::to(format, None, io::stdout()),
            Some(folder) => Self::to(format, Some(folder), daily_file(folder)?),
        })))
    }

    fn to<W: Write + Send + 'static>(format: &AccessLog, folder: Option<&Path>, destination: W) -> Self {
        // The thread flushes whenever the queue is empty: so many lines share a write under load, and none waits.
        let buffered = BufWriter::with_capacity(BUFFER_BYTES, destination);
        let (queue, guard) =
            NonBlockingBuilder::default().lossy(true).thread_name("access-log").finish(buffered);
        let dropped = queue.error_counter();
        let (format, wanted) = (format.clone(), wanted(format));
        let folder = folder.map(Path::to_owned);
        AccessLogWriter { format, wanted, folder, queue, dropped, _guard: guard }
    }

    /// The fields of a request's head that lines tell.
    pub(crate) fn wanted(&self) -> &[HeaderName] {
        &self.wanted
    }

    /// Queues the line of `entry`.
    pub(crate) fn write(&self, entry: &Entry) {
        LINE.with_borrow_mut(|line| {
            line.clear();
            line::write(line, &self.format, entry);
            // A full queue drops the line and counts it; there is no other error.
            let _ = self.queue.clone().write(line);
        });
    }

    /// Lines that found the queue full.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.dropped_lines() as u64
    }
}

fn daily_file(folder: &Path) -> io::Result<tracing_appender::rolling::RollingFileAppender> {
    tracing_appender::rolling::Builder::new()
        .rotation(tracing_appender::rolling::Rotation::DAILY)
        .filename_prefix("access.log")
        .max_log_files(FILES_MAX)
        .build(folder)
        .map_err(io::Error::other)
}

fn wanted(format: &AccessLog) -> Vec<HeaderName> {
    let mut wanted = vec![header::HOST, header::REFERER, header::USER_AGENT];
    if let AccessLog::Pattern(pieces) = format {
        wanted.extend(pieces.iter().filter_map(|piece| match piece {
            Piece::Request(name) => Some(name.clone()),
            _ => None,
        }));
    }
    wanted
}

thread_local! {
    /// Lines are made in place; the queue takes a copy of the right size.
    static LINE: RefCell<Vec<u8>> = RefCell::default();
}

const BUFFER_BYTES: usize = 1 << 16;
/// Two weeks.
const FILES_MAX: usize = 14;
