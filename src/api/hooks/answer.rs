//! Hooks as the API tells them: with their effective settings, without secrets.

use crate::hooks::{Hook, Layer, Retry, Settings, shown};
use crate::registry::{Edited, Etag, ListedHook, Pause, PausedBy};
use crate::time::{UnixMillis, spell_duration};
use crate::wire::{EventNames, HiddenText, HookAnswer, HookLayer, PauseCause, RetrySpec, SecretSource};

/// A hook of a list.
pub fn listed(listed: &ListedHook) -> HookAnswer {
    let without = listed.claims.iter().map(|claim| format!("{}: {}", claim.field, claim.value)).collect();
    HookAnswer { shadowed: listed.is_shadowed, without, ..of(&listed.hook, listed.pause) }
}

/// A hook after an edit; with its secrets, if they are to be shown.
pub fn edited(edited: &Edited, hook: &Hook, pause: Pause, now: UnixMillis) -> HookAnswer {
    let valid = hook.secrets.iter().filter(|signing| signing.is_valid(now));
    let secrets =
        edited.shows_secret.then(|| valid.map(|signing| HiddenText(signing.secret.reveal())).collect());
    HookAnswer { secrets, ..of(hook, pause) }
}

/// A hook for the audit log.
pub fn recorded(hook: &Hook) -> Option<String> {
    serde_json::to_string(&of(hook, Pause::default())).ok().map(shortened)
}

/// Bytes of a hook in the audit log, so that its records cannot fill the disk.
const RECORDED_BYTES: usize = 8 << 10;

/// JSON that is short, or says that it is not.
fn shortened(json: String) -> String {
    match json.len() {
        0..=RECORDED_BYTES => json,
        bytes => format!("{{\"cut\":true,\"bytes\":{bytes}}}"),
    }
}

/// The entity tag of a hook (RFC 9110 §8.8.3).
pub fn etag(hook: &Hook) -> String {
    format!("\"{}\"", Etag::of(hook))
}

fn of(hook: &Hook, pause: Pause) -> HookAnswer {
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
        paused: _,
    } = &*hook.settings;
    let standard = sign.standard.then(|| "standard".to_owned());
    let livekit = sign.livekit.as_ref().map(|_| "livekit".to_owned());
    HookAnswer {
        host: hook.host.to_string(),
        tenant: hook.tenant.to_string(),
        layer: layer(hook.origin.layer),
        version: hook.origin.version,
        url: shown(hook.url.as_str()),
        secret: if hook.has_given_secret { SecretSource::Given } else { SecretSource::Derived },
        numbers: hook.numbers.iter().map(|number| number.as_str().to_owned()).collect(),
        trunks: hook.trunks.to_vec(),
        events: EventNames { include: events.include.clone(), exclude: events.exclude.clone() },
        livekit: hook.livekit.as_ref().map(|pair| pair.key.clone()),
        sign: standard.into_iter().chain(livekit).collect(),
        livekit_sign: sign.livekit.as_ref().map(|pair| pair.key.clone()),
        format: format.as_str().to_owned(),
        headers: headers.iter().map(|(name, _)| name.clone()).collect(),
        timeout: spell_duration(*timeout),
        retry: spell_retry(retry),
        concurrency: u32::try_from(*concurrency).unwrap_or(u32::MAX),
        rate: *rate,
        order_wait: spell_duration(*order_wait),
        keep: Some(*keep).filter(|keep| !keep.is_zero()).map(spell_duration),
        redact: redact.clone(),
        paused_by: pause.since.and(pause.by).map(cause),
        paused_since: pause.since.map(|since| since.to_string()),
        shadowed: false,
        without: Vec::new(),
        created_at: hook.origin.created_at.map(|at| at.to_string()),
        changed_at: hook.origin.changed_at.map(|at| at.to_string()),
        secrets: None,
    }
}

fn spell_retry(Retry { initial, factor, max, max_age }: &Retry) -> RetrySpec {
    RetrySpec {
        initial: Some(spell_duration(*initial)),
        // Spelled as it was given: 1.1, not the nearest number of twice the precision.
        factor: factor.to_string().parse().ok(),
        max: Some(spell_duration(*max)),
        max_age: Some(spell_duration(*max_age)),
    }
}

/// Who wrote a hook.
pub fn layer(layer: Layer) -> HookLayer {
    match layer {
        Layer::File => HookLayer::File,
        Layer::Api => HookLayer::Api,
    }
}

/// What paused a hook.
pub fn cause(by: PausedBy) -> PauseCause {
    match by {
        PausedBy::Gone => PauseCause::Gone,
        PausedBy::File => PauseCause::File,
        PausedBy::Api => PauseCause::Api,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_hook_is_recorded_as_its_size() {
        let largest = "x".repeat(RECORDED_BYTES);
        assert_eq!(shortened(largest.clone()), largest);
        let cut: serde_json::Value = serde_json::from_str(&shortened(largest + "x")).expect("JSON");
        assert!(cut["cut"] == true && cut["bytes"] == 8193, "{cut}");
    }
}
