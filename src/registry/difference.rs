//! What is different between two hooks, and between two hook tables: for the log.

use crate::hooks::{Hook, Settings};
use crate::ids::HookId;

/// What a new table changed.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    pub added: Vec<String>,
    pub changed: Vec<ChangedHook>,
    pub removed: Vec<String>,
    /// Hosts whose secret is another one.
    pub resigned: Vec<String>,
    /// Hosts whose secrets changed so often that the oldest ones sign no longer.
    pub unsigned: Vec<String>,
    /// Hosts of the API that the file has now, too: the file's hook is in force.
    pub shadowed: Vec<String>,
    /// Hosts of the API that are in force again, since the file has let them go.
    pub returned: Vec<String>,
}

/// A hook that is another one than before.
#[derive(Clone, Debug)]
pub struct ChangedHook {
    pub id: HookId,
    pub host: String,
    /// By their keys in the hooks file.
    pub parts: Vec<&'static str>,
    /// Its calls in progress keep the URL and format they were bound to.
    pub keeps_calls: bool,
    /// How many there are, if they were counted.
    pub calls: usize,
}

/// The keys of the hooks file in which two hooks differ.
pub fn parts(before: &Hook, after: &Hook) -> Vec<&'static str> {
    let given = |hook: &Hook| -> Vec<_> {
        let current = hook.secrets.iter().filter(|signing| signing.until.is_none() && hook.has_given_secret);
        current.map(|signing| signing.secret.clone()).collect()
    };
    let own = [
        ("url", before.url != after.url),
        ("secret", given(before) != given(after)),
        ("numbers", before.numbers != after.numbers),
        ("trunks", before.trunks != after.trunks),
        ("livekit", before.livekit != after.livekit),
    ];
    let own = own.into_iter().filter(|(_, differs)| *differs).map(|(part, _)| part);
    own.chain(settings(&before.settings, &after.settings)).collect()
}

fn settings(before: &Settings, after: &Settings) -> Vec<&'static str> {
    let Settings {
        events,
        sign,
        format,
        headers,
        timeout,
        retry,
        concurrency,
        rate,
        order_wait,
        keep,
        redact,
        paused,
    } = before;
    let all = [
        ("events", *events != after.events),
        ("sign", *sign != after.sign),
        ("format", *format != after.format),
        ("headers", *headers != after.headers),
        ("timeout", *timeout != after.timeout),
        ("retry", *retry != after.retry),
        ("concurrency", *concurrency != after.concurrency),
        ("rate", *rate != after.rate),
        ("order_wait", *order_wait != after.order_wait),
        ("keep", *keep != after.keep),
        ("redact", *redact != after.redact),
        ("paused", *paused != after.paused),
    ];
    all.into_iter().filter(|(_, differs)| *differs).map(|(part, _)| part).collect()
}
