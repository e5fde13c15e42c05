//! `switchhook hooks set`: registers a hook, or changes it.

use std::io::Read;
use std::path::{Path, PathBuf};

use reqwest::header::{IF_MATCH, IF_NONE_MATCH};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value};

use super::show;
use crate::cli::failure::Failure;
use crate::cli::remote::client::{Router, Tagged, refused};
use crate::cli::terminal::{confirmed, plain, say, say_json};
use crate::wire::{HookAnswer, HookEdit, HookLayer};

/// The hook, and how it is set.
#[derive(clap::Args)]
pub struct Flags {
    /// The hook's host: calls.acme.com, or *.acme.com for any below it
    host: String,
    /// Where its events are posted
    #[arg(required_unless_present = "file")]
    url: Option<String>,
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
    let spec = spec(&flags)?;
    let Flags { host, now, yes, json, router, .. } = &flags;
    let question = router.ask(Method::PUT, &["v1", "hooks", host]).query(&HookEdit { now: *now }).json(&spec);
    // What was asked about is what is changed: not what somebody has made of it meanwhile.
    let question = match (&flags.if_version, yes) {
        (Some(version), true) => question.header(IF_MATCH, &quoted(version)),
        (None, true) => question,
        (version, false) => match asked(router, host, &spec, *now).await? {
            Some(etag) => question.header(IF_MATCH, version.as_deref().map_or(etag, quoted).as_str()),
            None if version.is_none() => question.header(IF_NONE_MATCH, "*"),
            None => question.header(IF_MATCH, &quoted(version.as_deref().unwrap_or_default())),
        },
    };
    let set = question.try_tagged::<HookAnswer>().await?.map_err(|refusal| refused(&refusal))?;
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
    let given = [("url", &flags.url), ("tenant", &flags.tenant)];
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
    let failed = |error: &dyn std::fmt::Display| Failure::new(format!("{}: {error}", path.display()));
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(path).map(|read| text = read)
    };
    read.map_err(|error| failed(&error))?;
    serde_json::from_str(&text).map_err(|error| failed(&format_args!("it is no JSON object: {error}")))
}

/// An entity tag with its quotes.
pub fn quoted(version: &str) -> String {
    format!("\"{}\"", version.trim_matches('"'))
}

/// Asks before a registered hook is changed, and gives its entity tag; none: there is none, and it is not asked.
async fn asked(
    router: &Router,
    host: &str,
    spec: &Map<String, Value>,
    now: bool,
) -> Result<Option<String>, Failure> {
    let known = match show::try_get(router, host).await? {
        Ok(known) => known,
        Err((StatusCode::NOT_FOUND, _)) => return Ok(None),
        Err(refusal) => return Err(refused(&refusal)),
    };
    let Tagged { answer: hook, etag, .. } = known;
    // One of the file cannot be changed: the router says so.
    if hook.layer == HookLayer::Api {
        let url = spec.get("url").and_then(Value::as_str).unwrap_or_default();
        let calls = match now {
            _ if url == hook.url => "",
            true => " Calls in progress move to it.",
            false => " Calls in progress keep the URL they have.",
        };
        let (host, tenant, known) = (plain(&hook.host), plain(&hook.tenant), plain(&hook.url));
        let url = if url == hook.url {
            "Its URL stays".to_owned()
        } else {
            format!("{known} becomes {}", plain(url))
        };
        confirmed(
            &format!("Change {host} of {tenant}? {url}.{calls} Keys that are not given get their defaults."),
            false,
        )?;
    }
    Ok(etag)
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
            eprintln!("{told}");
            eprintln!("Its receiver verifies with this secret, which is shown this once:");
            say(&*secret.0);
        }
        None => say(told),
    }
}
