//! Live reload: the confs are read again when they change.

use std::time::Duration;

use actix::{AsyncContext, Context, Handler, Message};
use tokio::time::{Instant, timeout};

use super::actor::Herder;
use super::messages::Reload;
use crate::conf::{Changes, Watch, WatchList, watch};

/// Changes that follow each other within this time are read together, as those of an editor are, or of git.
const QUIET: Duration = Duration::from_millis(20);
/// They are read after this time, however many there are.
const LONGEST: Duration = Duration::from_millis(500);

/// What it takes to hear of changes.
#[derive(Default)]
pub(super) struct Live {
    /// With whoever reads the confs at the moment.
    pub(super) watch: Option<Watch>,
    /// What is watched, for whoever listens.
    list: Option<tokio::sync::watch::Sender<WatchList>>,
}

/// Something of the confs has changed.
#[derive(Message)]
#[rtype(result = "()")]
struct Changed;

impl Handler<Changed> for Herder {
    type Result = ();

    fn handle(&mut self, _: Changed, ctx: &mut Self::Context) {
        if self.loading.settings.live_reload.0 {
            self.reload(Reload::default(), None, ctx);
        }
    }
}

impl Live {
    /// This is watched by now.
    pub(super) fn follow(&mut self, watch: Option<(Watch, WatchList)>) {
        let Some((watch, list)) = watch else { return };
        self.watch = Some(watch);
        if let Some(listener) = &self.list {
            listener.send_replace(list);
        }
    }
}

impl Herder {
    /// From the next reading of the confs on, changes of them are noticed.
    pub(super) fn listen_for_changes(&mut self, ctx: &mut Context<Self>) {
        let (watch, changes) = match watch() {
            Ok(ends) => ends,
            Err(error) => return log::warn!("changes of confs are not noticed, but by `reload`: {error}"),
        };
        let (list, lists) = tokio::sync::watch::channel(WatchList::default());
        self.loading.live = Live { watch: Some(watch), list: Some(list) };
        let this = ctx.address();
        // A task of its own: what an actor has spawned is polled with each message to it.
        tokio::task::spawn_local(async move {
            let tell = || {
                this.do_send(Changed);
                this.connected()
            };
            if let Err(error) = follow(changes, lists, tell).await {
                log::error!("changes of confs are not noticed any more, but by `reload`: {error}");
            }
        });
    }
}

/// Tells when something has changed and it has become quiet, until nobody wants to know.
///
/// # Errors
/// Nothing is heard any more.
async fn follow(
    mut changes: Changes,
    mut lists: tokio::sync::watch::Receiver<WatchList>,
    tell: impl Fn() -> bool,
) -> std::io::Result<()> {
    loop {
        tokio::select! {
            changed = changes.next() => {
                changed?;
                let latest = Instant::now() + LONGEST;
                // A change in this time makes it longer.
                while let Ok(Ok(())) = timeout(QUIET.min(latest - Instant::now()), changes.next()).await {}
                if !tell() {
                    return Ok(());
                }
            }
            listed = lists.changed() => match listed {
                Ok(()) => changes.follow(lists.borrow_and_update().clone()),
                // The Herder has gone.
                Err(_) => return Ok(()),
            },
        }
    }
}
