//! `man`: the manual page, of the same source as the help.

use std::io;

use clap_mangen::Man;

use super::arguments::command;

/// What every part of the page begins with: apostrophes as they are, whoever formats it.
const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// The page in roff: the options that all verbs have, then each verb with its own, then what `--help` ends with.
///
/// # Errors
/// None, as long as memory can be written to.
pub(super) fn man() -> io::Result<String> {
    let page = Man::new(command()).manual("User Commands");
    let mut text = PREAMBLE.to_owned();
    text += &written(|out| page.render_title(out))?;
    text += &written(|out| page.render_name_section(out))?;
    text += &written(|out| page.render_synopsis_section(out))?;
    text += &written(|out| page.render_description_section(out))?;
    text += &written(|out| page.render_options_section(out))?;
    text += ".SH COMMANDS\n";
    // As it stands in the source: what all verbs have is not repeated with each.
    for verb in command().get_subcommands() {
        let name = verb.get_name().to_owned();
        let alone = verb.clone().bin_name(format!("daemonherder {name}")).disable_help_flag(true);
        let has_options = alone.get_arguments().next().is_some();
        let verb = Man::new(alone);
        text += &written(|out| verb.render_synopsis_section(out))?.replace(".SH SYNOPSIS", &format!(".SS {name}"));
        text += &written(|out| verb.render_description_section(out))?.replace(".SH DESCRIPTION", ".PP");
        if has_options {
            text += &written(|out| verb.render_options_section(out))?.replace(".SH OPTIONS\n", "");
        }
    }
    // Tables and a conf: lines that are not to be filled.
    let notes = written(|out| page.render_extra_section(out))?;
    text += &notes.replace(".SH EXTRA\n", ".SH NOTES\n.nf\n");
    text += ".fi\n";
    Ok(text)
}

fn written(render: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> io::Result<String> {
    let mut bytes = Vec::new();
    render(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).replace(PREAMBLE, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_in_the_page_once_and_with_its_options() {
        let page = man().unwrap();
        for verb in command().get_subcommands() {
            let heading = format!("\n.SS {}\n", verb.get_name());
            assert_eq!(page.matches(&heading).count(), 1, "{heading} in\n{page}");
        }
        for words in ["\\-\\-leave\\-services", "\\-\\-no\\-revive", "4  no such service", ".SH NOTES"] {
            assert!(page.contains(words), "{words} in\n{page}");
        }
        assert_eq!(page.matches(PREAMBLE).count(), 1);
        assert_eq!(page.matches("DHERDER_CONFIG_DIR").count(), 1, "once for all verbs");
    }
}
