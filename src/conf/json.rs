//! JSON with comments: text to values that know where they stand, and syntax errors in words for people.
//!
//! Comments are the only freedom. Keys and values borrow from the text; doubled keys are kept, for whoever reads the
//! object to tell of them.

use jsonc_parser::ast::{Object, Value};
use jsonc_parser::common::Ranged;
use jsonc_parser::errors::ParseErrorKind;
use jsonc_parser::{CollectOptions, ParseOptions, ParseStringErrorKind, parse_to_ast};

use super::problem::Problem;
use super::problem::Problems;

/// What is expected of every file.
const EXPECTED: &str = "expected an object: { … }";

/// The text of a file without its byte order mark.
///
/// # Errors
/// The bytes are not UTF-8: where.
pub(super) fn decode(mut bytes: Vec<u8>) -> Result<String, Problem> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    if bytes.starts_with(MARK) {
        bytes.drain(..MARK.len());
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let valid = String::from_utf8_lossy(&error.as_bytes()[..at]);
        let mut problems = Problems::of(&valid);
        problems.add(at, "not UTF-8, expected every character in that encoding");
        problems.into_sorted().remove(0)
    })
}

/// The one object that a text holds. On failure the problem is added.
pub(super) fn parse<'t>(text: &'t str, problems: &mut Problems<'_>) -> Option<Object<'t>> {
    if let Some(at) = torn_string(text) {
        problems.add(
            at,
            "expected a '\"' at the end of this text: no line break or control character may be in it (write \\n, \\t)",
        );
        return None;
    }
    match parse_to_ast(text, &CollectOptions::default(), &strict()) {
        Ok(parsed) => match parsed.value {
            Some(Value::Object(object)) => return Some(object),
            Some(other) => problems.add(start(&other), format!("{EXPECTED}, found {}", kind(&other))),
            None => problems.add(0, format!("{EXPECTED}, found nothing")),
        },
        Err(error) => problems.add(error.range().start, wording(error.kind())),
    }
    None
}

/// Where a value begins.
pub(super) fn start(value: &Value<'_>) -> usize {
    value.range().start
}

/// What a value is, for a message.
pub(super) fn kind(value: &Value<'_>) -> &'static str {
    match value {
        Value::StringLit(_) => "a text",
        Value::NumberLit(_) => "a number",
        Value::BooleanLit(_) => "true or false",
        Value::Object(_) => "an object",
        Value::Array(_) => "a list",
        Value::NullKeyword(_) => "null",
    }
}

fn strict() -> ParseOptions {
    ParseOptions {
        allow_comments: true,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    }
}

/// The first string with a control character in it, which JSON forbids and the parser lets pass: with a forgotten quote
/// the error would otherwise be told lines later.
fn torn_string(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let find = |from: usize, end: &[u8]| {
        bytes[from..]
            .windows(end.len())
            .position(|window| window == end)
            .map_or(bytes.len(), |at| from + at + end.len())
    };
    let mut at = 0;
    while at < bytes.len() {
        at = match (bytes[at], bytes.get(at + 1)) {
            (b'/', Some(b'/')) => find(at + 2, b"\n"),
            (b'/', Some(b'*')) => find(at + 2, b"*/"),
            (b'"', _) => {
                let mut end = at + 1;
                while end < bytes.len() && bytes[end] != b'"' {
                    if bytes[end] < b' ' {
                        return Some(at);
                    }
                    end +=
                        if bytes[end] == b'\\' && bytes.get(end + 1).is_some_and(|next| *next >= b' ') { 2 } else { 1 };
                }
                end + 1
            }
            _ => at + 1,
        };
    }
    None
}

fn wording(kind: &ParseErrorKind) -> &'static str {
    use ParseErrorKind as Kind;
    match kind {
        Kind::BareDecimalPointNumbersNotAllowed => "expected a digit before and after the decimal point",
        Kind::CommentsNotAllowed => "expected no comment",
        Kind::ExpectedColonAfterObjectKey => "expected ':' after the key",
        Kind::ExpectedObjectValue => "expected a value after ':'",
        Kind::ExpectedDigit | Kind::ExpectedDigitFollowingNegativeSign => "expected a digit",
        Kind::ExpectedPlusMinusOrDigitInNumberLiteral => "expected '+', '-' or a digit in the exponent",
        Kind::ExpectedStringObjectProperty => "expected a key in double quotes",
        Kind::HexadecimalNumbersNotAllowed => "expected a decimal number",
        Kind::ExpectedComma => "expected ',' or the closing bracket after this value",
        Kind::MultipleRootJsonValues => "expected the end of the file after the closing '}'",
        Kind::NonFiniteNumbersNotAllowed => "expected a finite number",
        Kind::SingleQuotedStringsNotAllowed => "expected double quotes, found a single one",
        Kind::String(kind) => string_wording(kind),
        Kind::TrailingCommasNotAllowed => "expected no ',' after the last entry",
        Kind::UnaryPlusNumbersNotAllowed => "expected a number without '+'",
        Kind::UnexpectedCloseBrace => "expected a value, found '}'",
        Kind::UnexpectedCloseBracket => "expected a value, found ']'",
        Kind::UnexpectedColon => "expected a value, found ':'",
        Kind::UnexpectedComma => "expected a value, found ','",
        Kind::UnexpectedToken => "expected a value or a comment",
        Kind::UnexpectedTokenInObject => "expected a key in double quotes or '}'",
        Kind::UnexpectedWord => "expected a value: texts stand in double quotes",
        Kind::UnterminatedArray => "expected a ']' that closes this list",
        Kind::UnterminatedCommentBlock => "expected a '*/' that closes this comment",
        Kind::UnterminatedObject => "expected a '}' that closes this object",
        Kind::NestingDepthExceeded => "expected less nesting",
    }
}

fn string_wording(kind: &ParseStringErrorKind) -> &'static str {
    use ParseStringErrorKind as Kind;
    match kind {
        Kind::ExpectedFourHexDigits | Kind::ExpectedTwoHexDigits => "expected four hexadecimal digits after \\u",
        Kind::InvalidUnicodeEscapeSequence(_) => "expected a character after \\u, found half of one or none",
        Kind::InvalidEscapeInSingleQuoteString | Kind::InvalidEscapeInDoubleQuoteString | Kind::InvalidEscape => {
            "expected one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u after the backslash"
        }
        Kind::UnterminatedStringLiteral => "expected a '\"' that closes this text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let mut problems = Problems::of(text);
        let parsed = parse(text, &mut problems);
        let found: Vec<String> = problems.into_sorted().iter().map(ToString::to_string).collect();
        assert_eq!(found.join("\n"), expected, "{text:?}");
        assert_eq!(parsed.is_some(), expected.is_empty());
    }

    #[test]
    fn an_object_with_comments_is_read() {
        for text in [
            "{}",
            " { } ",
            "// a\n{ /* b \" */ \"k\": 1 } // c",
            "{\"a\":{\"b\":[null,true,-1.5e3,\"\\u00e4\\ud83d\\ude00\\\"//\"]}}",
        ] {
            check(text, "");
        }
    }

    #[test]
    fn a_syntax_error_says_what_was_expected_and_where() {
        check("", "1:1: expected an object: { … }, found nothing");
        check("// only this", "1:1: expected an object: { … }, found nothing");
        check(" []", "1:2: expected an object: { … }, found a list");
        check("\"x\"", "1:1: expected an object: { … }, found a text");
        check("{", "1:1: expected a '}' that closes this object");
        check("{\n \"a\": [1, 2\n}", "3:1: expected a value, found '}'");
        check("{\n  \"a\": 1\n  \"b\": 2\n}", "2:9: expected ',' or the closing bracket after this value");
        check("{ \"a\": [1 2] }", "1:10: expected ',' or the closing bracket after this value");
        check("{ \"a\": 1, }", "1:9: expected no ',' after the last entry");
        check("{ \"a\": [1,] }", "1:10: expected no ',' after the last entry");
        check("{ a: 1 }", "1:3: expected a key in double quotes");
        check("{ \"a\" 1 }", "1:7: expected ':' after the key");
        check("{ \"a\": }", "1:8: expected a value, found '}'");
        check("{ \"a\":", "1:7: expected a value after ':'");
        check("{ \"a\": yes }", "1:8: expected a value: texts stand in double quotes");
        check("{ 'a': 1 }", "1:3: expected double quotes, found a single one");
        check("{ \"a\": 'b' }", "1:8: expected double quotes, found a single one");
        check("{ \"a\": 0x1f }", "1:8: expected a decimal number");
        check("{ \"a\": +1 }", "1:8: expected a number without '+'");
        check("{ \"a\": .5 }", "1:8: expected a digit before and after the decimal point");
        check("{ \"a\": NaN }", "1:8: expected a value: texts stand in double quotes");
        check("{ \"a\": \"\\x41\" }", "1:9: expected one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u after the backslash");
        check("{ \"a\": \"\\u12\" }", "1:9: expected four hexadecimal digits after \\u");
        check("{ \"a\": \"\\ud800\" }", "1:9: expected a character after \\u, found half of one or none");
        check("{} {}", "1:4: expected the end of the file after the closing '}'");
        check("{} /* x", "1:4: expected a '*/' that closes this comment");
        check("{ \"ä\": 1, \"ö\" }", "1:15: expected ':' after the key");
    }

    #[test]
    fn a_forgotten_quote_is_told_where_the_text_begins() {
        let torn =
            "expected a '\"' at the end of this text: no line break or control character may be in it (write \\n, \\t)";
        check("{\n  \"cmd\": \"foo,\n  \"args\": []\n}", &format!("2:10: {torn}"));
        check("{ \"a\": \"b\tc\" }", &format!("1:8: {torn}"));
        check("{ \"a\": \"b\\\n\" }", &format!("1:8: {torn}"));
        check("{ \"a\": \"b }", "1:8: expected a '\"' that closes this text");
    }

    #[test]
    fn deep_nesting_is_refused_and_not_followed() {
        let text = "{\"a\":".to_owned() + &"[".repeat(200_000);
        let mut problems = Problems::of(&text);
        assert!(parse(&text, &mut problems).is_none());
        assert_eq!(problems.into_sorted()[0].message, "expected less nesting");
    }

    #[test]
    fn bytes_are_utf8_with_or_without_a_mark() {
        assert_eq!(decode(b"\xef\xbb\xbf{}".to_vec()), Ok("{}".to_owned()));
        assert_eq!(decode("ä".into()), Ok("ä".to_owned()));
        let error = decode(b"\xef\xbb\xbfa\n\xc3\xa4 \xff".to_vec()).unwrap_err();
        assert_eq!(error.to_string(), "2:3: not UTF-8, expected every character in that encoding");
    }
}
