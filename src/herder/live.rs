//! Live reload: the confs are read again when they change.

use std::time::Duration;

use actix::fut::wrap_future;
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
        ctx.spawn(wrap_future(async move {
            let error = follow(changes, lists, || this.do_send(Changed)).await;
            log::error!("changes of confs are not noticed any more, but by `reload`: {error}");
        }));
    }
}

/// Calls when something has changed and it has become quiet. Comes back with the reason why nothing is heard any more.
async fn follow(
    mut changes: Changes,
    mut lists: tokio::sync::watch::Receiver<WatchList>,
    reload: impl Fn(),
) -> std::io::Error {
    loop {
        tokio::select! {
            changed = changes.next() => {
                if let Err(error) = changed {
                    return error;
                }
                let latest = Instant::now() + LONGEST;
                // A change in this time makes it longer.
                while let Ok(Ok(())) = timeout(QUIET.min(latest - Instant::now()), changes.next()).await {}
                reload();
            }
            Ok(()) = lists.changed() => changes.follow(lists.borrow_and_update().clone()),
        }
    }
}
