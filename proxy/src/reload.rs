//! A proxy that follows its file: what changed takes effect, what did not lives on, and a faulty file changes nothing.
//!
//! ```text
//! SIGHUP, `evenly reload`, the file changed ─► read ─► parse ─► check ─► open new listeners ─► build ─► swap
//!                                                                            │ any fault              │
//!                                                                            └► reported, all as before └► close old listeners
//! ```
//!
//! Members keep their load, health and connections, caches their entries, and clients their connections: a request,
//! a download or a tunnel under way ends as it began. The clients of a listener that goes finish the request they
//! are at. What is decided once, at the start, and said to be so when a reload finds it changed: where the proxy's own log goes
//! (how much of it, `log` says at each reload), `[admin]`, and how many workers there are.

use std::{
    collections::HashMap,
    fmt, io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::{Mutex, watch};

use crate::{
    config::{AdminConfig, Config, Faults, Listen, ServerConfig},
    logging,
    server::{Listener, Proxy},
    state::StartError,
    workers::{self, Seat, Workers},
};

/// A proxy with its file and its listeners. Clones are handles to the same service.
#[derive(Debug, Clone)]
pub struct Service {
    proxy: Proxy,
    file: Option<Arc<Path>>,
    running: Arc<Mutex<Running>>,
    workers: Arc<Workers>,
    until_the_end: Arc<UntilTheEnd>,
}

/// One listener in the event loop of each worker.
type Shares = Vec<(Listener, Seat)>;

#[derive(Debug, Default)]
struct Running {
    /// The file as it was last read, good or bad.
    seen: Vec<u8>,
    config: Option<Config>,
    /// Each with what ends it when dropped.
    listeners: HashMap<Listen, watch::Sender<()>>,
}

impl Service {
    /// Listens as `config` says, which was read from `file` if there is one to follow. `inherited` are listeners that
    /// were opened for us, as by systemd: one that stands where `config` wants one is used instead of a new one.
    ///
    /// # Errors
    /// When a listener cannot be opened, or what is asked for cannot be built.
    pub fn start(
        config: Config,
        file: Option<PathBuf>,
        inherited: Vec<Listener>,
    ) -> Result<Service, ReloadError> {
        let proxy = Proxy::new(&config).map_err(ReloadError::Build)?;
        // Read a second time, only to know whether it changes; if it cannot be read, it has.
        let seen = file.as_ref().and_then(|file| std::fs::read(file).ok()).unwrap_or_default();
        let mut running = Running { seen, ..Running::default() };
        let until_the_end = Arc::new(UntilTheEnd::of(&config));
        let workers = Workers::start(config.server.workers.unwrap_or_else(workers::cores));
        let workers = workers.map_err(ReloadError::Workers)?;
        let opened = running.open(&config, inherited, &workers)?;
        // Here, and not on one of the workers, which have other things to do.
        proxy.tend_members();
        running.listen(&proxy, opened, config);
        let running = Arc::new(Mutex::new(running));
        let workers = Arc::new(workers);
        Ok(Service { proxy, file: file.map(Into::into), running, workers, until_the_end })
    }

    /// Reads the file again and lets it take effect, even if it says what it said before: a file that it names may
    /// have changed. Without a file there is nothing to do.
    ///
    /// # Errors
    /// When it is missing or faulty or a listener cannot be opened; then everything is as before.
    pub async fn reload(&self) -> Result<(), ReloadError> {
        let mut running = self.running.lock().await;
        let Some(file) = &self.file else { return Ok(()) };
        let taken = match read(file).await {
            Ok(bytes) => self.take(&mut running, file, bytes).await,
            Err(error) => Err(error),
        };
        self.proxy.reloaded(file, &taken);
        taken
    }

    /// Like [`reload`](Service::reload), but does nothing if the file has not changed since it was last read, whatever
    /// it said. Nothing if there was nothing to do.
    pub async fn reload_if_changed(&self) -> Option<Result<(), ReloadError>> {
        let mut running = self.running.lock().await;
        // A file that is just being replaced may be missing for a moment: that is no news.
        let file = self.file.as_ref()?;
        let bytes = read(file).await.ok()?;
        if running.seen == bytes {
            return None;
        }
        let taken = self.take(&mut running, file, bytes).await;
        self.proxy.reloaded(file, &taken);
        Some(taken)
    }

    /// The proxy itself.
    #[must_use]
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// The configuration in effect.
    pub async fn config(&self) -> Config {
        let running = self.running.lock().await;
        running.config.clone().expect("`start` has set it before it hands out a service")
    }

    /// The file it follows, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    async fn take(&self, running: &mut Running, file: &Path, bytes: Vec<u8>) -> Result<(), ReloadError> {
        let parsed = parse(file, &bytes);
        running.seen = bytes;
        let config = parsed?;
        let opened = running.open(&config, Vec::new(), &self.workers)?;
        // So that nobody asks a new name's members before there are any.
        self.proxy.settle_names(&config).await;
        self.proxy.apply(&config).map_err(ReloadError::Build)?;
        logging::follow(config.server.log);
        let waiting = self.until_the_end.differs_from(&UntilTheEnd::of(&config));
        if !waiting.is_empty() {
            tracing::warn!("reload: what takes effect at the next start only: {}", waiting.join(", "));
        }
        running.listen(&self.proxy, opened, config);
        Ok(())
    }
}

/// What a reload cannot change.
#[derive(Debug, PartialEq, Eq)]
struct UntilTheEnd {
    admin: Option<AdminConfig>,
    log_path: Option<PathBuf>,
    workers: Option<NonZeroUsize>,
}

impl UntilTheEnd {
    fn of(config: &Config) -> UntilTheEnd {
        let ServerConfig { log_path, workers, .. } = &config.server;
        UntilTheEnd { admin: config.admin.clone(), log_path: log_path.clone(), workers: *workers }
    }

    /// The keys, as the file has them.
    fn differs_from(&self, other: &UntilTheEnd) -> Vec<&'static str> {
        let keys = [
            ("[admin]", self.admin != other.admin),
            ("log_path", self.log_path != other.log_path),
            ("workers", self.workers != other.workers),
        ];
        keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }
}

impl Running {
    /// Opens the listeners that `config` wants and that are not there yet.
    fn open(
        &self,
        config: &Config,
        mut inherited: Vec<Listener>,
        workers: &Workers,
    ) -> Result<Vec<(Listen, Shares)>, ReloadError> {
        let wanted = config.places().filter(|place| !self.listeners.contains_key(place));
        let open = |place: &Listen| {
            let ready = inherited.iter().position(|listener| listener.stands_at(place));
            let listener = match ready {
                Some(at) => Ok(inherited.swap_remove(at)),
                None => Listener::bind(place),
            };
            let share = |listener: Listener| {
                let share = |seat: Seat| Ok((listener.share_with(&seat)?, seat));
                workers.seats().map(share).collect::<io::Result<Shares>>()
            };
            match listener.and_then(share) {
                Ok(shares) => Ok((place.clone(), shares)),
                Err(source) => Err(ReloadError::Listen { place: place.clone(), source }),
            }
        };
        wanted.map(open).collect()
    }

    /// Serves on `opened` as well, and no longer where `config` does not say so.
    fn listen(&mut self, proxy: &Proxy, opened: Vec<(Listen, Shares)>, config: Config) {
        for (place, shares) in opened {
            let stop = watch::Sender::new(());
            for (listener, seat) in shares {
                let (proxy, mut stopped) = (proxy.clone(), stop.subscribe());
                seat.handle().clone().spawn(async move {
                    // The sender says nothing; it is dropped.
                    let stopped = async move { drop(stopped.changed().await) };
                    proxy.serve_at(Some(seat), listener, stopped).await;
                });
            }
            self.listeners.insert(place, stop);
        }
        self.listeners.retain(|place, _| config.places().any(|wanted| wanted == place));
        self.config = Some(config);
    }
}

async fn read(file: &Path) -> Result<Vec<u8>, ReloadError> {
    let read = tokio::fs::read(file).await;
    read.map_err(|source| ReloadError::Read { file: file.to_owned(), source })
}

fn parse(file: &Path, bytes: &[u8]) -> Result<Config, ReloadError> {
    let text = std::str::from_utf8(bytes).map_err(|error| ReloadError::Read {
        file: file.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidData, error),
    })?;
    Config::parse(&file.display().to_string(), text).map_err(ReloadError::Faults)
}

/// Why a file did not take effect.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReloadError {
    /// It cannot be read, or is not UTF-8.
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It has faults.
    Faults(Faults),
    /// A listener cannot be opened.
    Listen {
        /// Where it should stand.
        place: Listen,
        /// Why.
        source: io::Error,
    },
    /// It reads well, but asks for what cannot be built.
    Build(StartError),
    /// The threads that serve cannot be started.
    Workers(io::Error),
}

impl ReloadError {
    /// Whether the file is to blame, and not the machine.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        !matches!(self, ReloadError::Listen { .. } | ReloadError::Workers(_))
    }
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReloadError::Read { file, source } => write!(f, "cannot read {}: {source}", file.display()),
            ReloadError::Faults(faults) => faults.fmt(f),
            ReloadError::Listen { place, source } => write!(f, "cannot listen on {place}: {source}"),
            ReloadError::Build(error) => error.fmt(f),
            ReloadError::Workers(error) => write!(f, "cannot start the threads that serve: {error}"),
        }
    }
}

impl std::error::Error for ReloadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ReloadError::Read { source, .. } | ReloadError::Listen { source, .. } => Some(source),
            ReloadError::Faults(faults) => Some(faults),
            ReloadError::Build(error) => Some(error),
            ReloadError::Workers(error) => Some(error),
        }
    }
}
