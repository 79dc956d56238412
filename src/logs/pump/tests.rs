//! The thread of the streams, with pipes and files of its own and no services.

use std::fs::{self, File};
use std::io::Write;

use super::*;
use crate::model::LogFormat;
use crate::os::fifo::open_fifo;

const WATCHDOG: Duration = Duration::from_secs(60);

struct Bench {
    pump: Pump,
    words: mpsc::UnboundedReceiver<Word>,
    state: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap(), None)
    }

    fn at(state: tempfile::TempDir, shelf: Option<Shelf>) -> Self {
        let (pump, words) = Pump::start(state.path(), shelf).unwrap();
        Self { pump, words, state }
    }

    async fn follow(&mut self, outputs: Outputs) -> (Pipes, Arc<Tally>) {
        let tally = Arc::<Tally>::default();
        self.pump.follow(id(), outputs, Arc::clone(&tally));
        match tokio::time::timeout(WATCHDOG, self.words.recv()).await {
            Ok(Some(Word::Opened(service, Ok(pipes)))) if service == id() => (pipes, tally),
            other => panic!("{other:?}"),
        }
    }

    async fn file(&self, name: &str) -> String {
        tokio::time::timeout(WATCHDOG, self.pump.settled(id())).await.unwrap();
        fs::read_to_string(self.state.path().join("logs/web").join(name)).unwrap()
    }
}

fn id() -> ServiceId {
    "web".parse().unwrap()
}

fn outputs(separate: bool, format: LogFormat) -> Outputs {
    Outputs { separate, spec: Arc::new(LogsSpec { format, ..LogsSpec::default() }) }
}

fn write(path: &Path, text: &str) {
    File::from(open_fifo(path).unwrap()).write_all(text.as_bytes()).unwrap();
}

#[tokio::test]
async fn what_is_written_to_the_pipes_is_in_the_files_once_that_has_settled() {
    let mut bench = Bench::new();
    let (pipes, tally) = bench.follow(outputs(true, LogFormat::Raw)).await;
    write(&pipes.output, "one\ntwo");
    write(pipes.errors.as_deref().unwrap(), "error\n");
    assert_eq!(bench.file("current.log").await, "one\ntwo");
    assert_eq!(bench.file("stderr.log").await, "error\n");
    assert_eq!((tally.bytes(), tally.dropped(), tally.trouble()), (13, 0, None));
    // The same pipes for the next run, and other rules.
    let (again, _) = bench.follow(outputs(false, LogFormat::Raw)).await;
    assert_eq!(again, Pipes { errors: None, ..pipes });
    write(&again.output, "!\n");
    assert_eq!(bench.file("current.log").await, "one\ntwo!\n");
}

#[tokio::test]
async fn the_end_of_a_run_ends_its_line() {
    let mut bench = Bench::new();
    let (pipes, _) = bench.follow(outputs(false, LogFormat::Json)).await;
    write(&pipes.output, "one\ntwo");
    assert_eq!(bench.file("current.log").await.lines().count(), 1);
    bench.pump.ended(id());
    assert!(bench.file("current.log").await.ends_with("\"line\":\"two\"}\n"));
}

#[tokio::test]
async fn nothing_is_left_of_a_service_that_has_left_but_its_files() {
    let mut bench = Bench::new();
    let (pipes, _) = bench.follow(outputs(false, LogFormat::Raw)).await;
    write(&pipes.output, "last\n");
    bench.pump.forget(id());
    assert_eq!(bench.file("current.log").await, "last\n");
    assert!(!pipes.output.exists());
}

#[tokio::test]
async fn the_next_one_writes_what_waited_on_the_shelf() {
    let shelf = Shelf::new().unwrap();
    let mut first = Bench::at(tempfile::tempdir().unwrap(), Some(shelf.try_clone().unwrap()));
    let (pipes, _) = first.follow(outputs(false, LogFormat::Raw)).await;
    let Bench { pump, state, .. } = first;
    pump.finish();
    // Nobody reads it, and nobody has it open when this is over.
    write(&pipes.output, "meanwhile\n");
    let mut second = Bench::at(state, Some(shelf));
    second.follow(outputs(false, LogFormat::Raw)).await;
    assert_eq!(second.file("current.log").await, "meanwhile\n");
}

#[tokio::test]
async fn what_else_has_the_path_of_a_pipe_gives_way() {
    let mut bench = Bench::new();
    let path = bench.state.path().join("pipes/web.stdout");
    fs::create_dir(path.parent().unwrap()).unwrap();
    fs::write(&path, "a file").unwrap();
    let (pipes, _) = bench.follow(outputs(false, LogFormat::Raw)).await;
    assert_eq!(pipes.output, path);
    write(&pipes.output, "hello\n");
    assert_eq!(bench.file("current.log").await, "hello\n");
}
