//! The life of the process: up, reloaded at a signal or when the file changes, drained, ended.
//!
//! | signal | what |
//! |---|---|
//! | SIGHUP | read the file again |
//! | SIGTERM, SIGINT | no new connections, finish what is under way, end; a second one: end now |
//!
//! systemd learns of each step by `sd_notify` where it asks for that (`Type=notify-reload`).

use std::path::Path;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    cli::Signals,
    reload::{ReloadError, Service},
    watch::FileWatch,
};

/// Runs `service` until a signal ends it.
pub(crate) async fn run(service: &Service) -> std::io::Result<()> {
    let mut stop = Signals::new()?;
    let hangup = signal(SignalKind::hangup())?;
    tell(&[NotifyState::Ready]);
    tokio::select! {
        () = stop.stop() => {}
        () = follow(service, hangup) => {}
    }
    tell(&[NotifyState::Stopping]);
    service.proxy().drain();
    let limit = service.config().await.server.timeouts.drain;
    tracing::info!(limit_s = limit.as_secs(), "draining; a second signal stops now");
    tokio::select! {
        all = service.proxy().drained(limit) => tracing::info!(all_finished = all, "evenly ends"),
        () = stop.stop() => tracing::warn!("second signal: evenly stops now"),
    }
    Ok(())
}

/// Reloads whenever there is reason to. Never returns.
async fn follow(service: &Service, mut hangup: Signal) {
    let mut watch = service.file().map(FileWatch::new);
    // What changed before anybody watched.
    if let Some(reloaded) = service.reload_if_changed().await {
        report(service.file(), &reloaded);
    }
    loop {
        let changed = async {
            match &mut watch {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        let reloaded = tokio::select! {
            _ = hangup.recv() => {
                if let Ok(now) = NotifyState::monotonic_usec_now() {
                    tell(&[NotifyState::Reloading, now]);
                }
                let reloaded = service.reload().await;
                tell(&[NotifyState::Ready]);
                Some(reloaded)
            }
            () = changed => service.reload_if_changed().await,
        };
        if let Some(reloaded) = reloaded {
            report(service.file(), &reloaded);
        }
    }
}

fn report(file: Option<&Path>, reloaded: &Result<(), ReloadError>) {
    let file = file.unwrap_or(Path::new("")).display();
    match reloaded {
        Ok(()) => tracing::info!(%file, "reload: the new configuration is in effect"),
        Err(error) => tracing::error!(%file, "reload: refused, the configuration in effect stays\n{error}"),
    }
}

/// A service manager that does not listen is none of our business.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "sd_notify");
    }
}
