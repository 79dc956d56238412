//! From method and path to what is asked for.

use hyper::Method;

use super::events::Wish;
use super::refusal::Refusal;
use crate::herder::Order;

/// How many lines of a log are answered when nobody says.
const DEFAULT_LINES: u64 = 10;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// The document of `status --json`.
    Services,
    /// One service of it.
    Service { id: String },
    /// The last lines of a service's log, or of what it kept apart of standard error.
    Logs { id: String, lines: u64, stderr: bool },
    /// A command to the services that these ids and globs name.
    Order { order: Order, names: Vec<String> },
    /// A signal to them.
    Signal { names: Vec<String> },
    /// Read the confs again.
    Reload,
    /// How the last upgrade went.
    LastUpgrade,
    /// Put another program in the place of the daemon's.
    Upgrade,
    /// End the daemon.
    Shutdown,
    /// What happens, and what has.
    Events(Wish),
    /// Whether the herd answers.
    Health,
}

/// What is asked for. A path is known before its method is looked at, and its method before its query.
pub(super) fn route(method: &Method, path: &str, query: Option<&str>) -> Result<Route, Refusal> {
    let unknown = || Refusal::NoSuchPath { path: path.to_owned() };
    let segments: Vec<&str> = path.strip_prefix('/').ok_or_else(unknown)?.split('/').collect();
    let allow = |allowed: Method, name: &'static str| {
        if *method == allowed { Ok(()) } else { Err(Refusal::Method { method: method.to_string(), allowed: name }) }
    };
    let get = || allow(Method::GET, "GET");
    let post = || allow(Method::POST, "POST");

    let route = match segments[..] {
        ["healthz"] => get().map(|()| Route::Health),
        ["v1", "services"] => get().map(|()| Route::Services),
        ["v1", "services", id] => get().and_then(|()| Ok(Route::Service { id: decode(id)? })),
        ["v1", "services", id, "logs"] => {
            return get().and_then(|()| {
                let (lines, stderr) = part_of_log(query)?;
                Ok(Route::Logs { id: decode(id)?, lines, stderr })
            });
        }
        ["v1", "events"] => return get().and_then(|()| Ok(Route::Events(wish(query)?))),
        ["v1", "services", names, "signal"] => {
            post().and_then(|()| Ok(Route::Signal { names: split(&decode(names)?)? }))
        }
        ["v1", "services", names, verb] => {
            let order = order(verb).ok_or_else(unknown)?;
            post().and_then(|()| Ok(Route::Order { order, names: split(&decode(names)?)? }))
        }
        ["v1", "reload"] => post().map(|()| Route::Reload),
        ["v1", "upgrade"] if *method == Method::GET => Ok(Route::LastUpgrade),
        ["v1", "upgrade"] => allow(Method::POST, "GET, POST").map(|()| Route::Upgrade),
        ["v1", "shutdown"] => post().map(|()| Route::Shutdown),
        _ => Err(unknown()),
    }?;
    match query {
        None | Some("") => Ok(route),
        Some(query) => Err(Refusal::BadRequest(format!("{path} takes no query, but there is {query:?}"))),
    }
}

fn order(verb: &str) -> Option<Order> {
    match verb {
        "start" => Some(Order::Start),
        "stop" => Some(Order::Stop),
        "restart" => Some(Order::Restart),
        _ => None,
    }
}

fn split(names: &str) -> Result<Vec<String>, Refusal> {
    let names: Vec<String> = names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if names.is_empty() { Err(Refusal::BadRequest("no service is named".to_owned())) } else { Ok(names) }
}

/// Which events: those to come, and no past ones, unless it says otherwise.
fn wish(query: Option<&str>) -> Result<Wish, Refusal> {
    let mut wish = Wish { follow: true, ..Wish::default() };
    pairs(query, "past=NUMBER and follow=false are", |key, value| {
        match (key, value) {
            ("past", number) => wish.past = number.parse().ok()?,
            ("follow", "true") => wish.follow = true,
            ("follow", "false") => wish.follow = false,
            _ => return None,
        }
        Some(())
    })?;
    Ok(wish)
}

/// How many lines, and whether of standard error.
fn part_of_log(query: Option<&str>) -> Result<(u64, bool), Refusal> {
    let (mut lines, mut stderr) = (DEFAULT_LINES, false);
    pairs(query, "lines=NUMBER and stream=stderr are", |key, value| {
        match (key, value) {
            ("lines", number) => lines = number.parse().ok()?,
            ("stream", "stdout") => stderr = false,
            ("stream", "stderr") => stderr = true,
            _ => return None,
        }
        Some(())
    })?;
    Ok((lines, stderr))
}

/// Reads a query. `understand` takes each pair of it, or nothing if it does not know it.
fn pairs(
    query: Option<&str>,
    known: &str,
    mut understand: impl FnMut(&str, &str) -> Option<()>,
) -> Result<(), Refusal> {
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let understood = pair.split_once('=').and_then(|(key, value)| understand(key, value));
        if understood.is_none() {
            return Err(Refusal::BadRequest(format!("{pair:?} in the query is not understood: {known}")));
        }
    }
    Ok(())
}

/// Undoes percent-encoding (RFC 3986, 2.1).
fn decode(segment: &str) -> Result<String, Refusal> {
    let bad = || Refusal::BadRequest(format!("{segment:?} is not percent-encoded UTF-8"));
    let mut decoded = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            decoded.push(first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2).ok_or_else(bad)?;
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        decoded.push(digit(digits[0]).zip(digit(digits[1])).map(|(high, low)| high << 4 | low).ok_or_else(bad)?);
        rest = after;
    }
    String::from_utf8(decoded).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &str, path: &str) -> Result<Route, Refusal> {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        route(&method.parse().unwrap(), path, query)
    }

    fn order(order: Order, names: &[&str]) -> Result<Route, Refusal> {
        Ok(Route::Order { order, names: names.iter().map(ToString::to_string).collect() })
    }

    #[test]
    fn every_route_is_known() {
        assert_eq!(ask("GET", "/healthz"), Ok(Route::Health));
        assert_eq!(ask("GET", "/v1/services"), Ok(Route::Services));
        assert_eq!(ask("GET", "/v1/services?"), Ok(Route::Services));
        assert_eq!(ask("GET", "/v1/services/web"), Ok(Route::Service { id: "web".into() }));
        assert_eq!(ask("GET", "/v1/services/web/logs"), Ok(Route::Logs { id: "web".into(), lines: 10, stderr: false }));
        let logs = |lines, stderr| Ok(Route::Logs { id: "web".into(), lines, stderr });
        assert_eq!(ask("GET", "/v1/services/web/logs?lines=3"), logs(3, false));
        assert_eq!(ask("GET", "/v1/services/web/logs?stream=stderr&lines=3"), logs(3, true));
        assert_eq!(ask("POST", "/v1/services/web/start"), order(Order::Start, &["web"]));
        assert_eq!(ask("POST", "/v1/services/a,b/stop"), order(Order::Stop, &["a", "b"]));
        assert_eq!(ask("POST", "/v1/services/a%2cb,*%3F/restart"), order(Order::Restart, &["a", "b", "*?"]));
        assert_eq!(ask("POST", "/v1/services/a,b/signal"), Ok(Route::Signal { names: vec!["a".into(), "b".into()] }));
        assert_eq!(ask("POST", "/v1/reload"), Ok(Route::Reload));
        let events = |past, follow| Ok(Route::Events(Wish { past, after: None, follow }));
        assert_eq!(ask("GET", "/v1/events"), events(0, true));
        assert_eq!(ask("GET", "/v1/events?past=7&follow=false"), events(7, false));
        assert_eq!(ask("GET", "/v1/upgrade"), Ok(Route::LastUpgrade));
        assert_eq!(ask("POST", "/v1/upgrade"), Ok(Route::Upgrade));
        assert_eq!(ask("POST", "/v1/shutdown"), Ok(Route::Shutdown));
    }

    #[test]
    fn what_is_no_route_is_refused() {
        for path in
            ["/", "", "/v1", "/v2/services", "/v1/services/", "/v1/services/web/explode", "/healthz/", "v1/reload"]
        {
            let refused = ask("GET", path);
            // `/v1/services/` names a service with an empty id, which nobody has.
            if path == "/v1/services/" {
                assert_eq!(refused, Ok(Route::Service { id: String::new() }));
            } else {
                assert_eq!(refused, Err(Refusal::NoSuchPath { path: path.into() }), "{path}");
            }
        }
    }

    #[test]
    fn a_wrong_method_is_told_the_right_one() {
        for (method, path, allowed) in [
            ("POST", "/v1/services", "GET"),
            ("DELETE", "/v1/services/web", "GET"),
            ("POST", "/v1/services/web/logs", "GET"),
            ("POST", "/healthz", "GET"),
            ("POST", "/v1/events", "GET"),
            ("GET", "/v1/services/web/start", "POST"),
            ("GET", "/v1/reload", "POST"),
            ("PUT", "/v1/upgrade", "GET, POST"),
            ("PUT", "/v1/shutdown", "POST"),
        ] {
            assert_eq!(ask(method, path), Err(Refusal::Method { method: method.into(), allowed }), "{method} {path}");
        }
    }

    #[test]
    fn a_bad_query_or_encoding_is_refused() {
        for (method, path) in [
            ("GET", "/v1/services?full=1"),
            ("GET", "/v1/events?past=-1"),
            ("GET", "/v1/events?follow=maybe"),
            ("GET", "/v1/services/web/logs?lines=x"),
            ("GET", "/v1/services/web/logs?line=1"),
            ("GET", "/v1/services/web/logs?stream=x"),
            ("GET", "/v1/services/%zz"),
            ("GET", "/v1/services/%f"),
            ("GET", "/v1/services/%ff"),
            ("POST", "/v1/services/,/start"),
            ("POST", "/v1/services//start"),
        ] {
            assert!(matches!(ask(method, path), Err(Refusal::BadRequest(_))), "{method} {path}");
        }
    }
}
