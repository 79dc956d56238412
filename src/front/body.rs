//! The body of a request, bounded in bytes and in time.

use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use serde::de::DeserializeOwned;

use super::refusal::Refusal;

/// The longest body.
const LIMIT: usize = 1 << 20;
/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads all of a body. One that is announced to be too long is not read at all.
async fn read(body: Incoming) -> Result<Bytes, Refusal> {
    let too_large = Refusal::TooLarge { limit: LIMIT };
    if body.size_hint().lower() > LIMIT as u64 {
        return Err(too_large);
    }
    // A request without a body, which is nearly every one, needs no timer.
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    match tokio::time::timeout(PATIENCE, Limited::new(body, LIMIT).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large),
        Ok(Err(error)) => Err(Refusal::BadRequest(format!("the body can't be read: {error}"))),
        Err(_) => Err(Refusal::TooSlow { seconds: PATIENCE.as_secs() }),
    }
}

/// Reads options. An empty body is that of every version, for ever: it has all the defaults.
pub(super) async fn options<T: DeserializeOwned + Default>(body: Incoming) -> Result<T, Refusal> {
    let bytes = read(body).await?;
    if bytes.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&bytes).map_err(|error| Refusal::BadRequest(format!("the body is not understood: {error}")))
}
