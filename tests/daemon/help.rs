//! What needs no daemon and reads nothing: help, the version, the manual page, the schema, completions.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::herd::{Herd, finish, is_there};

/// What a verb says on stdout, and nothing else.
fn said(herd: &Herd, line: &str) -> String {
    let done = herd.done(line);
    assert_eq!(done.err, "", "{line}");
    done.out
}

/// All verbs, as the help names them.
fn verbs(herd: &Herd) -> Vec<String> {
    let help = said(herd, "--help");
    let (_, below) = help.split_once("\nCommands:\n").unwrap();
    let (verbs, _) = below.split_once("\n\n").unwrap();
    let verbs: Vec<_> = verbs.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    assert!(verbs.len() > 15 && verbs.contains(&"status".to_owned()), "{verbs:?}");
    verbs
}

#[test]
fn the_help_of_every_verb() {
    let herd = Herd::new();
    let mut text = format!("$ daemonherder --help\n{}", said(&herd, "--help"));
    for verb in verbs(&herd) {
        text.push_str(&format!("\n$ daemonherder {verb} --help\n{}", said(&herd, &format!("{verb} --help"))));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_version_is_that_of_the_package() {
    let herd = Herd::new();
    for flag in ["--version", "-V"] {
        assert_eq!(said(&herd, flag), format!("daemonherder {}\n", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn the_manual_page() {
    let herd = Herd::new();
    let page = said(&herd, "man");
    insta::assert_snapshot!(page.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    if !is_there("groff", "the manual page as it is set") {
        return;
    }
    let path = herd.path().join("daemonherder.1");
    fs::write(&path, page).unwrap();
    let set = finish(Command::new("groff").args(["-man", "-Tutf8", "-ww", "-z"]).arg(path));
    assert_eq!((set.code, set.err.as_str()), (0, ""));
}

#[test]
fn the_schema() {
    insta::assert_snapshot!(said(&Herd::new(), "schema"));
}

/// A file with the completions for a shell, where that is installed.
fn completions(herd: &Herd, shell: &str) -> Option<String> {
    is_there(shell, "its completions").then(|| {
        let path = herd.path().join("completions");
        fs::write(&path, said(herd, &format!("completions {shell}"))).unwrap();
        path.to_str().unwrap().to_owned()
    })
}

/// What a shell prints for a script with these words.
fn shell(herd: &Herd, program: &str, script: &str, words: &[&str]) -> Vec<String> {
    let mut command = Command::new(program);
    herd.place(&mut command);
    let done = finish(command.args(["-c", script]).args(words));
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{words:?}: {}", done.out);
    done.out.lines().map(str::to_owned).collect()
}

// The scripts are clap's, and what they look like is its business: what counts is what Tab does.

#[test]
fn bash_completes_verbs_and_their_options() {
    let herd = Herd::new();
    let Some(file) = completions(&herd, "bash") else { return };
    // As bash calls whatever is registered for a command (bash(1), "Programmable Completion").
    let script = r#"
        source "$0"
        [[ $(complete -p daemonherder) =~ -F\ ([^ ]+) ]]
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        "${BASH_REMATCH[1]}" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let completed = |line: &str| {
        let words: Vec<_> = [file.as_str()].into_iter().chain(line.split(' ')).collect();
        shell(&herd, "bash", script, &words)
    };
    assert_eq!(completed("daemonherder sta"), ["status", "start"]);
    assert_eq!(completed("daemonherder upg"), ["upgrade"]);
    assert_eq!(completed("daemonherder status --w"), ["--watch"]);
    assert_eq!(completed("daemonherder shutdown --l"), ["--leave-services"]);
    assert_eq!(completed("daemonherder completions zs"), ["zsh"]);
    let offered = completed("daemonherder ");
    assert!(verbs(&herd).iter().all(|verb| offered.contains(verb)), "{offered:?}");
}

#[test]
fn fish_completes_verbs_and_their_options() {
    let herd = Herd::new();
    let Some(file) = completions(&herd, "fish") else { return };
    let completed = |line: &str| {
        let offered = shell(&herd, "fish", "source $argv[1]; complete -C $argv[2]", &[&file, line]);
        // What it is, and behind a tab what it does.
        offered.iter().map(|one| one.split('\t').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(completed("daemonherder sta"), ["start", "status"]);
    assert_eq!(completed("daemonherder status --w"), ["--watch"]);
    let offered = completed("daemonherder ");
    assert!(verbs(&herd).iter().all(|verb| offered.contains(verb)), "{offered:?}");
}

#[test]
fn zsh_reads_its_completions_and_knows_whose_they_are() {
    let herd = Herd::new();
    let Some(file) = completions(&herd, "zsh") else { return };
    let named = Path::new(&file).with_file_name("_daemonherder");
    fs::rename(&file, &named).unwrap();
    // Where a user would put it. Pressing Tab takes a terminal; that it is found, read, and gets as far as the verbs does not.
    let script = r#"
        fpath=("$1" $fpath)
        autoload -Uz compinit && compinit -u -d "$1/dump"
        print -r -- $_comps[daemonherder]
        compdef() { }
        _arguments() { }
        source "$1/_daemonherder"
        _describe() { shift $(( # - 1 )); print -rl -- "${(@P)1%%:*}" }
        _daemonherder_commands
    "#;
    let directory = herd.path().to_str().unwrap();
    let mut shown = shell(&herd, "zsh", script, &["zsh", directory]);
    assert_eq!(shown.remove(0), "_daemonherder");
    assert_eq!(shown, verbs(&herd));
}
