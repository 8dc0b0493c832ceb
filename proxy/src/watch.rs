//! Notices that a file has changed, however that was done.
//!
//! ```text
//! written in place           cfg.toml                          an event of the file
//! editors                    cfg.toml~ ─rename─► cfg.toml      an event of its folder
//! Kubernetes                 cfg.toml ─► ..data ─► ..2026/     a rename of ..data in its folder
//! a link to somewhere else   cfg.toml ─► /elsewhere/cfg.toml   an event of that folder
//! network file systems       no event at all                   a look every [`LOOK`]
//! ```
//!
//! So folders are watched, that of the name and that of what it leads to; events only say *look*, and whoever looks
//! compares contents.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout_at},
};

/// Waits for changes of one file.
#[derive(Debug)]
pub(crate) struct FileWatch {
    file: PathBuf,
    watcher: Option<RecommendedWatcher>,
    folders: Vec<PathBuf>,
    events: mpsc::Receiver<()>,
}

impl FileWatch {
    /// Begins to watch. Without the system's help (inotify's limits are reached) it looks now and then instead.
    pub(crate) fn new(file: &Path) -> FileWatch {
        let (sender, events) = mpsc::channel(1);
        let told = move |event: notify::Result<notify::Event>| {
            // Full means that somebody has been told already.
            if !event.is_ok_and(|event| is_only_read(event.kind)) {
                let _ = sender.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(told);
        if let Err(error) = &watcher {
            tracing::warn!(%error, look_s = LOOK.as_secs(), "cannot watch the file; looking now and then");
        }
        let mut watch =
            FileWatch { file: file.to_owned(), watcher: watcher.ok(), folders: Vec::new(), events };
        watch.follow();
        watch
    }

    /// Returns when the file may have changed and its folder has been quiet for a moment.
    pub(crate) async fn changed(&mut self) {
        let look = Instant::now() + LOOK;
        if let Ok(Some(())) = timeout_at(look, self.events.recv()).await {
            // A file is written in several steps; this waits for the last, but not for ever.
            let latest = Instant::now() + QUIET * 10;
            while let Ok(Some(())) = timeout_at(latest.min(Instant::now() + QUIET), self.events.recv()).await
            {
                if Instant::now() >= latest {
                    break;
                }
            }
        } else {
            // The deadline has passed, or nobody is there to tell us.
            sleep(look.saturating_duration_since(Instant::now())).await;
        }
        self.follow();
    }

    /// Watches the folders that matter now: links may lead elsewhere than before.
    fn follow(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let target = self.file.canonicalize().unwrap_or_else(|_| self.file.clone());
        let folder = |file: &Path| {
            let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
            parent.unwrap_or(Path::new(".")).to_owned()
        };
        let mut wanted = vec![folder(&self.file), folder(&target)];
        wanted.dedup();
        for gone in self.folders.iter().filter(|folder| !wanted.contains(folder)) {
            // It may have been removed, and its watch with it.
            let _ = watcher.unwatch(gone);
        }
        for new in &wanted {
            // Again for those that are watched: a folder of the same name may be another one by now.
            if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                tracing::warn!(%error, folder = %new.display(), "cannot watch");
            }
        }
        self.folders = wanted;
    }
}

/// Whoever looks opens and reads the file: that is no change, and no reason to look again.
fn is_only_read(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

/// How long it must be quiet before anybody looks.
const QUIET: Duration = Duration::from_millis(50);
/// How often to look when no event comes.
const LOOK: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::time::timeout;

    use super::*;

    /// It looked at its own looking, twenty times a second.
    #[tokio::test]
    async fn reading_is_no_change_and_writing_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cfg.toml");
        fs::write(&file, "a").unwrap();
        let mut watch = FileWatch::new(&file);
        // What was written before may still be told.
        let _ = timeout(QUIET * 4, watch.changed()).await;
        for _ in 0..3 {
            fs::read(&file).unwrap();
        }
        assert!(timeout(QUIET * 6, watch.changed()).await.is_err(), "nothing was changed");
        fs::write(&file, "b").unwrap();
        assert!(timeout(LOOK / 2, watch.changed()).await.is_ok());
    }
}
