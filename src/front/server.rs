//! Accepting connections and serving them.

use std::convert::Infallible;
use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::access::{Access, Stranger};
use super::answer::{Desk, whole};
use super::refusal::Refusal;
use super::{Herd, Identity};

/// How many connections are served at a time; further ones wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 320;
/// How long the head of a request may take to arrive, and how long an idle connection is kept.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// The longest head of a request, a list of many ids in its path included.
const MAX_HEAD: usize = 64 << 10;
/// How long requests that are under way may take to finish when the door is closed.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long to wait when the process has no descriptor left for a connection.
const EXHAUSTED: Duration = Duration::from_secs(1);

/// The open door. Dropping it closes it, too, without anybody waiting for the end: [`Server::close`] does.
#[derive(Debug)]
pub struct Server {
    closing: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

/// Answers on a socket until the server is closed. Must be called on the actors' thread, in their runtime: connections
/// are tasks of it.
///
/// # Errors
/// The runtime can't watch the socket.
pub fn serve(listener: StdListener, herd: impl Into<Herd>, identity: Identity, access: Access) -> io::Result<Server> {
    let listener = UnixListener::from_std(listener)?;
    let (closing, closes) = watch::channel(false);
    let desk = Rc::new(Desk::new(herd.into(), identity));
    let serving = tokio::task::spawn_local(accept(listener, desk, access, closes));
    Ok(Server { closing, serving })
}

impl Server {
    /// Takes no more connections, removes the socket, lets requests that are under way finish (for two seconds at most),
    /// and ends.
    pub async fn close(self) {
        self.closing.send_replace(true);
        // An error says that it panicked, which has been told already; then there is nothing left to close.
        let _ = self.serving.await;
    }
}

async fn accept(listener: UnixListener, desk: Rc<Desk>, access: Access, mut closes: watch::Receiver<bool>) {
    let path = listener.local_addr().ok().and_then(|address| address.as_pathname().map(PathBuf::from));
    let mut connections = JoinSet::new();
    let mut warned = false;
    loop {
        tokio::select! {
            biased;
            _ = closes.changed() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    warned = false;
                    connections.spawn_local(serve_connection(stream, Rc::clone(&desk), access, closes.clone()));
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if !std::mem::replace(&mut warned, true) {
                        log::warn!("cannot accept a connection on the control socket: {error}");
                    }
                    make_room(&mut connections, &mut closes).await;
                }
            },
        }
    }
    drop(listener);
    if let Some(Err(error)) = path.map(std::fs::remove_file) {
        log::warn!("cannot remove the control socket: {error}");
    }
    let all_done = async { while connections.join_next().await.is_some() {} };
    // What is left after that belongs to somebody who does not read, and ends with the set.
    let _ = tokio::time::timeout(FAREWELL, all_done).await;
}

/// Waits until it may be worth to accept again: the connection stays in the backlog, so accept(2) would fail at once, for
/// ever. A descriptor becomes free with a connection of ours, or elsewhere in the process, of which nobody tells us.
async fn make_room(connections: &mut JoinSet<()>, closes: &mut watch::Receiver<bool>) {
    let room = async {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            _ = closes.wait_for(|closing| *closing) => {}
        }
    };
    // That nobody told us is what the time limit is for.
    let _ = tokio::time::timeout(EXHAUSTED, room).await;
}

async fn serve_connection(stream: UnixStream, desk: Rc<Desk>, access: Access, mut closes: watch::Receiver<bool>) {
    let admitted = access.check(&stream);
    let service = service_fn(|request| {
        let desk = Rc::clone(&desk);
        async move {
            Ok::<_, Infallible>(match admitted {
                Ok(peer) => desk.answer(request, peer).await,
                Err(Stranger { uid }) => whole(Refusal::Forbidden { uid }.response()),
            })
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(MAX_HEAD)
        // A client may say that it has no more to say, and still wait for its answer (`nc -N`, `socat`).
        .half_close(true)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = closes.wait_for(|closing| *closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        log::debug!("a connection to the control socket ended: {error}");
    }
}
