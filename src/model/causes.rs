//! An error for people.

use std::error::Error;

/// An error and what led to it, in one line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot {what}")]
    struct Failed {
        what: &'static str,
        #[source]
        source: Option<Box<Self>>,
    }

    #[test]
    fn the_first_cause_comes_last() {
        let failed = |what, source: Option<Failed>| Failed { what, source: source.map(Box::new) };
        let error = failed("start", Some(failed("read", Some(failed("open", None)))));
        assert_eq!(with_causes(&error), "cannot start: cannot read: cannot open");
    }
}
