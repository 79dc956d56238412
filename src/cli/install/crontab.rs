//! The user's crontab: the lines in it that are ours, and the program that it is read and written by (crontab(1)).

use std::io::{self, Write};
use std::process::{Command, Stdio};

use super::super::Failure;

/// What a line is for, as it says itself.
const WITH_THE_MACHINE: &str = "starts with the machine";
const WITHIN_A_MINUTE: &str = "comes back within a minute";

/// Our lines: with the machine, and where revival is wanted each minute. The words are a command's, the name is the
/// daemon's.
///
/// # Errors
/// A word that no crontab can hold.
pub(super) fn lines(words: &[String], name: &str, revive: bool) -> Result<Vec<String>, String> {
    let mut command = Vec::new();
    for word in words {
        // What becomes of a backslash before a percent sign differs from cron to cron.
        if word.contains(|c: char| c.is_control() || c == '\\') {
            return Err(format!("{word:?} has a character that no crontab can hold: choose another path"));
        }
        // To cron an unescaped percent sign is the end of the command (crontab(5)), in quotes or not.
        command.push(quoted(word).replace('%', "\\%"));
    }
    let command = command.join(" ");
    let line = |when: &str, what: &str| format!("{when} {command} # {name}: {what}");
    let both = [line("@reboot", WITH_THE_MACHINE), line("* * * * *", WITHIN_A_MINUTE)];
    Ok(both.into_iter().take(if revive { 2 } else { 1 }).collect())
}

/// A word as the shell reads it back (POSIX, 2.2.2). A quote is put in the other kind of quotes, not behind a backslash.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@,%=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\"'\"'"))
}

/// Whether a line is one of ours: it ends with our comment, which is one to the shell, whatever somebody made of the rest.
fn is_ours(line: &[u8], name: &str) -> bool {
    let line = line.trim_ascii();
    let ours = |what| line.ends_with(format!(" # {name}: {what}").as_bytes());
    !line.starts_with(b"#") && (ours(WITH_THE_MACHINE) || ours(WITHIN_A_MINUTE))
}

/// Our lines in a table.
pub(super) fn ours(table: &[u8], name: &str) -> Vec<String> {
    let ours = table.split(|byte| *byte == b'\n').filter(|line| is_ours(line, name));
    ours.map(|line| String::from_utf8_lossy(line.trim_ascii()).into_owned()).collect()
}

/// The table with these as our lines, where the first of them was or at the end; each byte of all the others is as before.
pub(super) fn with(table: &[u8], name: &str, wanted: &[String]) -> Vec<u8> {
    let mut new = Vec::new();
    let mut ours: Option<String> = Some(wanted.iter().map(|line| format!("{line}\n")).collect());
    for line in table.split_inclusive(|byte| *byte == b'\n') {
        if !is_ours(line, name) {
            new.extend_from_slice(line);
        } else if let Some(ours) = ours.take() {
            new.extend_from_slice(ours.as_bytes());
        }
    }
    if let Some(ours) = ours.filter(|ours| !ours.is_empty()) {
        if new.last().is_some_and(|last| *last != b'\n') {
            new.push(b'\n');
        }
        new.extend_from_slice(ours.as_bytes());
    }
    new
}

/// Reads the table of this user; none where there is no program for it.
///
/// # Errors
/// The program does not let us.
pub(super) fn read() -> Result<Option<Vec<u8>>, Failure> {
    let failed = |why| failure("read your crontab", why);
    // In its own language it may say anything where there is no table.
    let output = match Command::new("crontab").arg("-l").env("LC_ALL", "C").stdin(Stdio::null()).output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        output => output.map_err(|error| failed(error.to_string()))?,
    };
    if output.status.success() {
        return Ok(Some(output.stdout));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    // The first is what the crons of most systems say, the second is busybox.
    if said.contains("no crontab for") || said.contains("No such file or directory") {
        return Ok(Some(Vec::new()));
    }
    Err(failed(said.trim().to_owned()))
}

/// Writes the table of this user.
///
/// # Errors
/// The program does not let us; the old table is still there.
pub(super) fn write(table: &[u8]) -> Result<(), Failure> {
    let failed = |why| failure("write your crontab", why);
    let pipe = || {
        let mut command = Command::new("crontab");
        let mut child = command.arg("-").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        // One that refuses the table may do so without having read it; what it says then is the reason.
        let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(table));
        child.wait_with_output().map(|output| (written, output))
    };
    let (written, output) = pipe().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    written.map_err(|error| failed(error.to_string()))
}

fn failure(what: &'static str, why: String) -> Failure {
    Failure::Program { what, program: "crontab".to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: &str = "@reboot /d run --detach # daemonherder: starts with the machine";
    const MINUTE: &str = "* * * * * /d run --detach # daemonherder: comes back within a minute";

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_lines_are_the_command_and_what_it_is_for() {
        let command = words(&["/d", "run", "--detach"]);
        assert_eq!(lines(&command, "daemonherder", true).unwrap(), [BOOT, MINUTE]);
        assert_eq!(lines(&command, "daemonherder", false).unwrap(), [BOOT]);
    }

    #[test]
    fn what_means_something_to_the_shell_or_to_cron_is_written_as_itself() {
        for (word, written) in [
            ("/usr/bin/x-1.2_y", "/usr/bin/x-1.2_y"),
            ("/a b", "'/a b'"),
            ("/50%", "/50\\%"),
            ("/5 0%", "'/5 0\\%'"),
            ("it's", "'it'\"'\"'s'"),
            ("$HOME;#", "'$HOME;#'"),
            ("", "''"),
            ("ä", "'ä'"),
        ] {
            let expected = format!("@reboot {written} # x: {WITH_THE_MACHINE}");
            assert_eq!(lines(&words(&[word]), "x", false).unwrap(), [expected], "{word}");
        }
        for bad in ["a\nb", "a\\b", "a\0"] {
            assert!(lines(&words(&[bad]), "x", true).unwrap_err().contains("no crontab can hold"), "{bad:?}");
        }
    }

    #[test]
    fn the_shell_reads_back_what_was_quoted() {
        for word in ["", "a b", "it's", "$HOME `id` \"x\" # y; z & *", "ä\t~"] {
            let output = Command::new("/bin/sh").args(["-c", &format!("printf %s {}", quoted(word))]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }

    #[test]
    fn our_lines_come_and_go_and_the_others_stay_byte_for_byte() {
        let (boot, minute) = (BOOT, MINUTE);
        let both = format!("{boot}\n{minute}\n");
        let edited = boot.replace("/d run", "nice /old run");
        let other = boot.replace("# daemonherder:", "# daemonherder-12345678:");
        let comment = format!("# {boot}\n");
        for (table, wanted, expected) in [
            (String::new(), 2, both.clone()),
            (String::new(), 0, String::new()),
            ("MAILTO=me\n\n".into(), 2, format!("MAILTO=me\n\n{both}")),
            ("0 1 * * * x".into(), 2, format!("0 1 * * * x\n{both}")),
            ("0 1 * * * x".into(), 0, "0 1 * * * x".into()),
            (both.clone(), 2, both.clone()),
            (both.clone(), 1, format!("{boot}\n")),
            (format!("{boot}\n"), 2, both.clone()),
            (format!("a\n{both}b"), 0, "a\nb".into()),
            (format!("a\n{minute}\nb\n{boot}\nc\n"), 2, format!("a\n{both}b\nc\n")),
            (format!("{edited}  \nb\n"), 2, format!("{both}b\n")),
            (format!("{other}\n{comment}"), 2, format!("{other}\n{comment}{both}")),
            (format!("{other}\n{comment}{both}"), 0, format!("{other}\n{comment}")),
        ] {
            let wanted = &words(&[boot, minute])[..wanted];
            let new = with(table.as_bytes(), "daemonherder", wanted);
            assert_eq!(String::from_utf8(new.clone()).unwrap(), expected, "{table:?} with {wanted:?}");
            assert_eq!(ours(&new, "daemonherder"), wanted);
            assert_eq!(with(&new, "daemonherder", wanted), new, "twice is once");
        }
        // Other people's bytes need not be text.
        assert_eq!(with(b"\xff\n", "daemonherder", &[]), b"\xff\n");
    }
}
