//! The control socket as any client sees it: bytes in, bytes out.
#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect has failed")]

#[path = "../fake_herder/mod.rs"]
mod fake_herder;

mod answers;
mod clients;
mod exhaustion;
mod goldens;
mod rude;
mod strangers;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use fake_herder::Door;
use serde_json::Value;

/// An answer, taken apart.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body with everything taken out that is another one every time.
    fn golden(&self) -> String {
        fn settle(value: &mut Value) {
            match value {
                Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| match (name.as_str(), &value) {
                    ("since" | "at", Value::String(time)) => {
                        assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
                        *value = "TIME".into();
                    }
                    ("uptime_ms", Value::Number(_)) => *value = "MILLISECONDS".into(),
                    _ => settle(value),
                }),
                Value::Array(values) => values.iter_mut().for_each(settle),
                _ => {}
            }
        }
        let mut value = self.json();
        settle(&mut value);
        serde_json::to_string_pretty(&value).unwrap()
    }
}

/// Many a shell allows 1024 descriptors where the system allows more.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
}

fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    // Only a watchdog: no answer in a minute is none.
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

fn read_answer(stream: &mut UnixStream) -> Answer {
    let mut bytes = Vec::new();
    // A server that hangs up on bytes that it did not read resets the connection after its answer.
    let _ = stream.read_to_end(&mut bytes);
    parse(&String::from_utf8(bytes).unwrap())
}

fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

fn ask(door: &Door, method: &str, path: &str, body: &str) -> Answer {
    let mut stream = connect(&door.socket());
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    read_answer(&mut stream)
}
