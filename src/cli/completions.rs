//! `completions`: what a shell has to know of the command line.

use clap_complete::{Shell, generate};

use super::arguments::command;

/// The script for a shell.
pub(super) fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    generate(shell, &mut command(), "daemonherder", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_learns_every_verb() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(completions(*shell)).unwrap();
            for verb in command().get_subcommands() {
                assert!(script.contains(verb.get_name()), "{shell} does not know {}", verb.get_name());
            }
            assert!(script.contains("leave-services"), "{shell}");
        }
    }
}
