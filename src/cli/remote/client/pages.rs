//! Lists that are read page after page.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Refusal, Router, refused};
use crate::cli::failure::Failure;
use crate::time::Clock;

/// Who asks too often waits so long.
const PAUSE: Duration = Duration::from_secs(1);

/// So often.
const PAUSES: usize = 30;

impl Router {
    /// A page of the list at `path`. Waits a while if the router says that this is asked too often: a list of many
    /// pages may come to its limits.
    ///
    /// # Errors
    /// When no router answers, or when it refuses.
    pub async fn page<A: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &impl Serialize,
    ) -> Result<A, Failure> {
        let is_too_often = |refusal: &Refusal| refusal.0 == StatusCode::TOO_MANY_REQUESTS;
        let clock = Clock::system();
        let mut pauses = 0;
        loop {
            match self.get(path).query(query).try_answer().await? {
                Ok(page) => return Ok(page),
                Err(refusal) if is_too_often(&refusal) && pauses < PAUSES => clock.sleep(PAUSE).await,
                Err(refusal) => return Err(refused(&refusal)),
            }
            pauses += 1;
        }
    }
}
