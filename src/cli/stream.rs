//! Server-sent events (the HTML standard, 9.2), as the daemon writes them.

use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;

use super::Failure;
use super::client::{Daemon, refused};

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Its id, where it has one.
    pub(super) id: Option<String>,
    /// What it is called.
    pub(super) name: String,
    /// What it says.
    pub(super) data: String,
}

/// Bytes to events.
#[derive(Debug, Default)]
struct Parser {
    rest: Vec<u8>,
    told: Told,
}

impl Daemon {
    /// Hears events until the daemon has no more to say or `hear` has heard enough, which it says by false. `after` is the id of the
    /// last event that was heard before.
    ///
    /// # Errors
    /// There is no daemon, or it refuses. A daemon that goes away has no more to say.
    pub(super) fn hear(
        &self,
        path: &str,
        after: Option<&str>,
        mut hear: impl FnMut(Told) -> bool,
    ) -> Result<(), Failure> {
        self.in_runtime(async {
            let stream = self.stream()?;
            let gone = |_: hyper::Error| Failure::NoAnswer;
            let (mut sender, connection) = http1::handshake::<_, String>(TokioIo::new(stream)).await.map_err(gone)?;
            tokio::spawn(connection);
            let mut request = Request::get(path).header(HOST, "daemonherder");
            if let Some(after) = after {
                request = request.header("last-event-id", after);
            }
            let request = request.body(String::new()).map_err(|error| Failure::NotUnderstood(error.to_string()))?;
            let answer = sender.send_request(request).await.map_err(gone)?;
            let status = answer.status();
            let mut body = answer.into_body();
            if status != StatusCode::OK {
                let body = body.collect().await.map_err(gone)?.to_bytes();
                return Err(refused(status, &body));
            }
            let mut parser = Parser::default();
            while let Some(Ok(frame)) = body.frame().await {
                let Ok(bytes) = frame.into_data() else { continue };
                if !parser.take(&bytes).into_iter().all(&mut hear) {
                    break;
                }
            }
            Ok(())
        })
    }
}

impl Parser {
    /// The events that are whole by these bytes.
    fn take(&mut self, bytes: &[u8]) -> Vec<Told> {
        self.rest.extend_from_slice(bytes);
        let mut whole = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            match line.split_once(':').map(|(field, value)| (field, value.strip_prefix(' ').unwrap_or(value))) {
                _ if line.is_empty() => {
                    let told = std::mem::take(&mut self.told);
                    whole.extend((!told.data.is_empty()).then_some(told));
                }
                Some(("id", id)) => self.told.id = Some(id.to_owned()),
                Some(("event", name)) => name.clone_into(&mut self.told.name),
                Some(("data", data)) => self.told.data.push_str(data),
                // A comment, or what a later daemon says besides.
                _ => {}
            }
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_whole_wherever_the_bytes_are_cut() {
        let text =
            b": hello\n\nid: a-1\nevent: state\ndata: {\"x\":1}\n\nevent: missed\ndata: {}\nretry: 5\n\nid: a-2\n";
        let told = |id: Option<&str>, name: &str, data: &str| Told {
            id: id.map(str::to_owned),
            name: name.into(),
            data: data.into(),
        };
        let expected = [told(Some("a-1"), "state", "{\"x\":1}"), told(None, "missed", "{}")];
        for cut in 0..text.len() {
            let mut parser = Parser::default();
            let mut heard = parser.take(&text[..cut]);
            heard.extend(parser.take(&text[cut..]));
            assert_eq!(heard, expected, "{cut}");
        }
    }
}
