//! `switchhook hooks HOST`: one hook's state and settings.

use serde::Serialize;

use super::states;
use crate::cli::failure::Failure;
use crate::cli::remote::client::{Refusal, Router, Tagged, refused};
use crate::cli::terminal::{plain, say, say_json};
use crate::wire::{HookAnswer, HookQuery, HookState, HookStateList, Limit, SecretSource};

/// Which hook.
#[derive(clap::Args)]
pub struct Flags {
    /// The hook's host
    pub host: String,
    /// One JSON object instead
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub router: Router,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Shown<'h> {
    #[serde(flatten)]
    hook: &'h HookAnswer,
    etag: Option<&'h str>,
}

/// Prints the hook.
pub async fn run(router: &Router, host: &str, json: bool) -> Result<(), Failure> {
    let Tagged { answer: hook, etag, .. } = get(router, host).await?;
    if json {
        say_json(&Shown { hook: &hook, etag: etag.as_deref() });
        return Ok(());
    }
    let state = state(router, &hook).await;
    say(format_args!("hook {}   tenant {}\n", plain(&hook.host), plain(&hook.tenant)));
    let settings = state.iter().flat_map(doing).chain(settings(&hook, etag.as_deref()));
    for (name, value) in settings {
        say(format_args!("  {name:<14} {value}"));
    }
    Ok(())
}

/// The hook of a host, with its entity tag.
///
/// # Errors
/// When there is none, or the router refuses to say.
pub async fn get(router: &Router, host: &str) -> Result<Tagged<HookAnswer>, Failure> {
    try_get(router, host).await?.map_err(|refusal| refused(&refusal))
}

/// The same, where it is expected that there is none.
///
/// # Errors
/// When no router answers.
pub async fn try_get(router: &Router, host: &str) -> Result<Result<Tagged<HookAnswer>, Refusal>, Failure> {
    router.get(&["v1", "hooks", host]).try_tagged().await
}

/// Of one tenant, so many hooks are looked at for their state.
const HOOKS: u32 = 1000;

/// How it is doing; none if it is behind the first [`HOOKS`] of its tenant.
async fn state(router: &Router, hook: &HookAnswer) -> Option<HookState> {
    let query = HookQuery {
        tenant: Some(hook.tenant.clone()),
        layer: Some(hook.layer),
        after: None,
        limit: Some(Limit::at_most(HOOKS)),
    };
    let page: HookStateList = router.get(&["v1", "states", "hooks"]).query(&query).answer().await.ok()?;
    page.hooks.into_iter().find(|state| state.host == hook.host)
}

fn doing(state: &HookState) -> Vec<(&'static str, String)> {
    let oldest = state.oldest_ms.map(|ms| format!(", the oldest for {}", states::oldest(Some(ms))));
    let rows = [
        Some(("state", states::of_hook(state))),
        states::lane(state).map(|lane| ("lane", lane)),
        Some(("waiting", format!("{}{}", states::waiting(state.waiting), oldest.unwrap_or_default()))),
        Some(("last answer", states::last_of_hook(state))),
    ];
    rows.into_iter().flatten().collect()
}

fn settings(hook: &HookAnswer, etag: Option<&str>) -> Vec<(&'static str, String)> {
    let list = |items: &[String]| items.iter().map(|item| plain(item)).collect::<Vec<_>>().join(", ");
    let listed = |items: &[String]| Some(list(items)).filter(|text| !text.is_empty());
    let events = match (listed(&hook.events.include), listed(&hook.events.exclude)) {
        (Some(include), _) => format!("only {include}"),
        (None, Some(exclude)) => format!("all but {exclude}"),
        (None, None) => "all".to_owned(),
    };
    let secret = match hook.secret {
        SecretSource::Given => "given with the hook".to_owned(),
        SecretSource::Derived => format!("derived: switchhook secret {}", plain(&hook.tenant)),
    };
    let retry = &hook.retry;
    let wait = |text: &Option<String>| plain(text.as_deref().unwrap_or("-"));
    let retry = format!(
        "first after {}, then × {} up to {}, for {}",
        wait(&retry.initial),
        retry.factor.unwrap_or_default(),
        wait(&retry.max),
        wait(&retry.max_age)
    );
    let named = |name: &'static str, value: Option<String>| value.map(|value| (name, value));
    let rate = hook.rate.map(|rate| format!(", {rate} started per second")).unwrap_or_default();
    let changed = |at: &Option<String>| at.as_deref().map(plain);
    let rows = [
        Some(("url", plain(&hook.url))),
        Some(("layer", states::layer(hook.layer).to_owned())),
        Some(("secret", secret)),
        named("numbers", listed(&hook.numbers)),
        named("trunks", listed(&hook.trunks)),
        named("without", listed(&hook.without).map(|claims| format!("{claims}: the hooks file has them"))),
        named("livekit", hook.livekit.as_deref().map(plain)),
        Some(("events", events)),
        Some(("sign", list(&hook.sign))),
        named("livekit_sign", hook.livekit_sign.as_deref().map(plain)),
        Some(("format", plain(&hook.format))),
        named("headers", listed(&hook.headers).map(|names| format!("{names} (values not shown)"))),
        named("redact", listed(&hook.redact)),
        Some(("timeout", plain(&hook.timeout))),
        Some(("retry", retry)),
        Some(("order_wait", plain(&hook.order_wait))),
        named(
            "keep",
            hook.keep.as_deref().map(|keep| format!("{}, bodies of delivered events", plain(keep))),
        ),
        Some(("concurrency", format!("{}{rate}", hook.concurrency))),
        named("registered", changed(&hook.created_at)),
        named("changed", changed(&hook.changed_at)),
        named("version", etag.map(|etag| plain(etag.trim_matches('"')))),
    ];
    rows.into_iter().flatten().collect()
}
