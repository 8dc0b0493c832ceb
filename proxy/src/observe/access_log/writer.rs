//! Where lines go: to standard output, or to a file a day. A request never waits for a disk.
//!
//! ```text
//! request ends ─► line ─► a buffer ─► one thread: after [`GATHER`], or 64 KiB ─► file or pipe
//!                           └─ 16 MiB wait: the line is dropped and counted (`evenly_access_log_dropped_total`)
//! ```
//!
//! Lines wait a moment so that many leave in one write, and so that the thread is woken twenty times a second at most:
//! woken for each line it cost more than the request did (4.3 of 8.4 system calls).

use std::{
    cell::RefCell,
    fmt,
    io::{self, Write},
    mem,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

use super::{
    entry::{Entry, Wanted},
    line::Form,
};
use crate::config::AccessLog;

/// Makes lines of entries and queues them. When it is dropped, what is queued is written first.
#[derive(Debug)]
pub(crate) struct AccessLogWriter {
    format: AccessLog,
    form: Form,
    /// Absent for standard output.
    folder: Option<PathBuf>,
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    lines: Mutex<Lines>,
    /// There are lines after there were none, or very many, or no more will come.
    changed: Condvar,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    is_ended: bool,
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
        let log = match folder {
            None => Self::to(format, None, io::stdout()),
            Some(folder) => Self::to(format, Some(folder), daily_file(folder)?),
        };
        log.map(Arc::new).map(Some)
    }

    fn to<W>(format: &AccessLog, folder: Option<&Path>, destination: W) -> io::Result<Self>
    where
        W: Write + Send + 'static,
    {
        let queue = Arc::<Queue>::default();
        let of_thread = Arc::clone(&queue);
        let thread = thread::Builder::new().name("access-log".to_owned());
        let thread = Some(thread.spawn(move || of_thread.write_to(destination))?);
        let (format, form) = (format.clone(), Form::of(format));
        Ok(AccessLogWriter { format, form, folder: folder.map(Path::to_owned), queue, thread })
    }

    /// What lines tell of a request's head.
    pub(crate) fn wanted(&self) -> &Wanted {
        &self.form.wanted
    }

    /// Queues the line of `entry`.
    pub(crate) fn write(&self, entry: &Entry) {
        LINE.with_borrow_mut(|line| {
            line.clear();
            self.form.write(line, entry);
            self.queue.push(line);
        });
    }

    /// Lines that found the queue full.
    pub(crate) fn dropped(&self) -> u64 {
        self.queue.dropped.load(Relaxed)
    }
}

impl Drop for AccessLogWriter {
    fn drop(&mut self) {
        self.queue.lines.lock().is_ended = true;
        self.queue.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // Whatever it could not write is lost either way.
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn push(&self, line: &[u8]) {
        let mut lines = self.lines.lock();
        let before = lines.bytes.len();
        if before + line.len() > QUEUED_BYTES_MAX {
            drop(lines);
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        lines.bytes.extend_from_slice(line);
        let is_news = before == 0 || before < BUFFER_BYTES && before + line.len() >= BUFFER_BYTES;
        drop(lines);
        if is_news {
            self.changed.notify_one();
        }
    }

    /// Writes until no more will come.
    fn write_to(&self, mut destination: impl Write) {
        let mut leaving = Vec::new();
        loop {
            let mut lines = self.lines.lock();
            while lines.bytes.is_empty() && !lines.is_ended {
                self.changed.wait(&mut lines);
            }
            if !lines.is_ended && lines.bytes.len() < BUFFER_BYTES {
                self.changed.wait_for(&mut lines, GATHER);
            }
            mem::swap(&mut lines.bytes, &mut leaving);
            let is_ended = lines.is_ended;
            drop(lines);
            if destination.write_all(&leaving).and_then(|()| destination.flush()).is_err() {
                self.dropped.fetch_add(memchr::memchr_iter(b'\n', &leaving).count() as u64, Relaxed);
            }
            leaving.clear();
            // What a burst needed is not kept for ever.
            leaving.shrink_to(2 * BUFFER_BYTES);
            if is_ended {
                return;
            }
        }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("dropped", &self.dropped).finish_non_exhaustive()
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

thread_local! {
    /// Lines are made in place; the queue takes a copy of the right size.
    static LINE: RefCell<Vec<u8>> = RefCell::default();
}

/// How long the first line waits for others.
const GATHER: Duration = Duration::from_millis(50);
/// So many are written at once without waiting.
const BUFFER_BYTES: usize = 1 << 16;
/// So many may wait for a disk that does not keep up.
const QUEUED_BYTES_MAX: usize = 16 << 20;
/// Two weeks.
const FILES_MAX: usize = 14;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Gives what is written to a test, and takes it only when the test lets it.
    struct Gate {
        open: mpsc::Receiver<()>,
        seen: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.open.recv().map_err(|_| io::Error::other("closed"))?;
            let _ = self.seen.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gate() -> (Arc<Queue>, JoinHandle<()>, mpsc::Sender<()>, mpsc::Receiver<Vec<u8>>) {
        let queue = Arc::<Queue>::default();
        let (open, opened) = mpsc::channel();
        let (seen, sees) = mpsc::channel();
        let of_thread = Arc::clone(&queue);
        let thread = thread::spawn(move || of_thread.write_to(Gate { open: opened, seen }));
        (queue, thread, open, sees)
    }

    #[test]
    fn lines_leave_in_order_and_the_last_ones_at_the_end() {
        let (queue, thread, open, sees) = gate();
        let lines: Vec<String> = (0..1000).map(|n| format!("line {n}\n")).collect();
        for line in &lines {
            queue.push(line.as_bytes());
        }
        queue.lines.lock().is_ended = true;
        queue.changed.notify_one();
        for _ in 0..1000 {
            // More than it needs: it may have ended.
            let _ = open.send(());
        }
        thread.join().unwrap();
        assert_eq!(sees.try_iter().flatten().collect::<Vec<u8>>(), lines.concat().into_bytes());
        assert_eq!(queue.dropped.load(Relaxed), 0);
    }

    #[test]
    fn a_disk_that_does_not_keep_up_costs_lines_and_they_are_counted() {
        let (queue, thread, open, sees) = gate();
        let line = [b"x".repeat(1023), vec![b'\n']].concat();
        // The thread may have taken some already, and holds those.
        let pushed = 2 * QUEUED_BYTES_MAX / line.len() + 100;
        (0..pushed).for_each(|_| queue.push(&line));
        let dropped = queue.dropped.load(Relaxed) as usize;
        assert!(dropped >= 100, "{dropped}");
        queue.lines.lock().is_ended = true;
        queue.changed.notify_one();
        for _ in 0..4 {
            // More than it needs: it may have ended.
            let _ = open.send(());
        }
        thread.join().unwrap();
        let written: usize = sees.try_iter().map(|bytes| bytes.len()).sum();
        assert_eq!(written / line.len() + dropped, pushed);
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let (queue, thread, open, _sees) = gate();
        drop(open);
        queue.push(b"a\n");
        queue.push(b"b\n");
        queue.lines.lock().is_ended = true;
        queue.changed.notify_one();
        thread.join().unwrap();
        assert_eq!(queue.dropped.load(Relaxed), 2);
    }
}
