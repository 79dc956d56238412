//! How long a load of 1,000 small confs takes: `cargo bench --bench conf`.

#![expect(clippy::unwrap_used, reason = "a bench may panic")]

use std::time::Instant;

use daemonherder::conf::{Source, load};

fn main() {
    let directory = tempfile::tempdir().unwrap();
    for number in 0..1000 {
        let text = format!(
            "{{\n  \"name\": \"Service {number}\",\n  \"cwd\": \"/\",\n  \"cmd\": \"/bin/sleep\",\n  \"args\": [\"--number\", \"{number}\"],\n  \"env\": {{ \"PORT\": \"{number}\" }},\n  \"user\": \"root\",\n  \"restart\": {{ \"intensity\": 3, \"delay\": \"1s\" }}\n}}\n"
        );
        std::fs::write(directory.path().join(format!("service-{number}.conf")), text).unwrap();
    }
    let source = Source { directory: directory.path().to_owned(), host: "bench".parse().unwrap() };
    let mut times: Vec<_> = (0..50)
        .map(|_| {
            let begin = Instant::now();
            let loaded = load(&source).unwrap();
            let took = begin.elapsed();
            assert_eq!(loaded.services.len(), 1000);
            took
        })
        .collect();
    times.sort();
    println!("load of 1,000 confs: min {:?}, median {:?}, max {:?}", times[0], times[25], times[49]);
}
