//! `switchhook hooks set`: registers a hook, or changes it.

use std::io::Read;
use std::path::{Path, PathBuf};

use reqwest::header::{IF_MATCH, IF_NONE_MATCH};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value};

use super::show;
use crate::cli::failure::Failure;
use crate::cli::remote::client::{Router, Tagged, refused};
use crate::cli::terminal::{aside, confirmed, plain, say, say_json};
use crate::hooks::shown;
use crate::visible;
use crate::wire::{HookAnswer, HookEdit, HookLayer};

/// The hook, and how it is set.
#[derive(clap::Args)]
pub struct Flags {
    /// The hook's host: calls.acme.com, or *.acme.com for any below it
    host: String,
    /// Where its events are posted
    #[arg(value_name = "URL", required_unless_present = "file")]
    target: Option<String>,
    /// Whose it is; without: the token's tenant, or for operators the host
    #[arg(long)]
    tenant: Option<String>,
    /// A JSON object with the hook's other keys, spelled as in hooks.yaml; - for standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Calls in progress move to the new URL, too
    #[arg(long)]
    now: bool,
    /// Only if this is its version now, as `switchhook hooks HOST` shows it
    #[arg(long, value_name = "VERSION")]
    if_version: Option<String>,
    /// Do not ask before a hook is changed
    #[arg(long)]
    yes: bool,
    /// One JSON object instead; a new hook's secret is in it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    router: Router,
}

/// Sets the hook. The secret of a new one is the last line on standard output.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    let mut spec = spec(&flags)?;
    let Flags { host, now, if_version, yes, json, router, .. } = &flags;
    let known = match show::try_get(router, host).await? {
        Ok(known) => Some(known),
        Err((StatusCode::NOT_FOUND, _)) => None,
        Err(refusal) => return Err(refused(&refusal)),
    };
    // One of the file cannot be changed: the router says so.
    let known = known.filter(|known| known.answer.layer == HookLayer::Api);
    if let Some(Tagged { answer: hook, .. }) = &known {
        // To the API, a hook without a tenant is another one, named as its host.
        spec.entry("tenant").or_insert_with(|| Value::String(hook.tenant.clone()));
        confirmed(&question(hook, &spec, *now), *yes)?;
    }
    let request = router.ask(Method::PUT, &["v1", "hooks", host]).query(&HookEdit { now: *now }).json(&spec);
    // `If-Match` has the version that was read, so that a hook changed since then is not overwritten.
    let request = match (if_version, known.and_then(|known| known.etag)) {
        (Some(version), _) => request.header(IF_MATCH, &quoted(version)),
        (None, Some(etag)) => request.header(IF_MATCH, &etag),
        (None, None) => request.header(IF_NONE_MATCH, "*"),
    };
    let set = request.try_tagged::<HookAnswer>().await?.map_err(|refusal| refused(&refusal))?;
    if *json {
        say_json(&set.answer);
    } else {
        tell(&set);
    }
    Ok(())
}

/// The hook as the API takes it: the file's keys, and over them what was given.
fn spec(flags: &Flags) -> Result<Map<String, Value>, Failure> {
    let mut spec = flags.file.as_deref().map(read).transpose()?.unwrap_or_default();
    let given = [("url", &flags.target), ("tenant", &flags.tenant)];
    for (key, value) in given {
        if let Some(value) = value {
            spec.insert(key.to_owned(), Value::String(value.clone()));
        }
    }
    if spec.contains_key("url") {
        Ok(spec)
    } else {
        Err(Failure::usage("there is no URL: give it behind the host, or as `url` in the file"))
    }
}

fn read(path: &Path) -> Result<Map<String, Value>, Failure> {
    let is_piped = path.as_os_str() == "-";
    let shown = if is_piped { "standard input".into() } else { visible::shown(path) };
    let mut text = String::new();
    let read = if is_piped {
        std::io::stdin().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(path).map(|read| text = read)
    };
    read.map_err(|error| Failure::new(format!("{shown}: {error}")))?;
    serde_json::from_str(&text).map_err(|error| {
        Failure::new(format!("{shown} does not hold a JSON object with keys of a hook: {error}"))
    })
}

/// An entity tag with its quotes.
pub fn quoted(version: &str) -> String {
    format!("\"{}\"", version.trim_matches('"'))
}

/// What is asked before a registered hook is changed: it names what will happen.
fn question(hook: &HookAnswer, spec: &Map<String, Value>, now: bool) -> String {
    let given = |key: &str| spec.get(key).and_then(Value::as_str).unwrap_or_default();
    let (host, tenant) = (plain(&hook.host), plain(&hook.tenant));
    let mut question = format!("Change {host} of {tenant}?");
    if given("tenant") != hook.tenant {
        let other = plain(given("tenant"));
        question +=
            &format!(" IT BECOMES A HOOK OF {other}; calls in progress and what waits stay {tenant}'s.");
    } else if given("url") == hook.url {
        question += " Its URL stays.";
    } else {
        let calls = if now { "move to it" } else { "keep the one they have" };
        // What is asked may be recorded: not with a query that is a credential.
        let (old, url) = (plain(&hook.url), plain(&shown(given("url"))));
        question += &if old == url {
            format!(" Its URL {url} gets the query that is given; calls in progress {calls}.")
        } else {
            format!(" Its URL {old} becomes {url}; calls in progress {calls}.")
        };
    }
    question + " Keys that are not given get their defaults."
}

fn tell(set: &Tagged<HookAnswer>) {
    let hook = &set.answer;
    let (host, tenant, url) = (plain(&hook.host), plain(&hook.tenant), plain(&hook.url));
    let told = if set.is_new {
        format!("{host} is registered for {tenant}: its events go to {url}")
    } else {
        let version = set.etag.as_deref().map(|etag| etag.trim_matches('"')).unwrap_or_default();
        format!("{host} of {tenant} is in force: its events go to {url} (version {})", plain(version))
    };
    match hook.secrets.as_deref().and_then(<[_]>::first) {
        // On standard error: what is printed is to be piped.
        Some(secret) => {
            aside(told);
            aside("Its receiver verifies with this secret:");
            say(&*secret.0);
        }
        None => say(told),
    }
}
