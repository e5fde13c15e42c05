//! `switchhook hooks`: which hooks there are, and which of them are down, paused or backed up.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::states;
use crate::cli::failure::Failure;
use crate::cli::remote::client::{ListFlags, Router};
use crate::cli::terminal::{columns, say, say_json, shorten};
use crate::wire::{HookLayer, HookQuery, HookState, HookStateList};

/// Which hooks the list holds.
#[derive(clap::Args)]
pub struct Selection {
    /// Only this tenant's
    #[arg(long, conflicts_with = "host")]
    tenant: Option<String>,
    /// Only those of the hooks file, or only those registered over the API
    #[arg(long, conflicts_with = "host", value_parser = layers())]
    layer: Option<HookLayer>,
    #[command(flatten)]
    list: ListFlags,
}

impl Selection {
    /// Which router is asked.
    pub fn router(&self) -> &Router {
        &self.list.router
    }

    /// Whether JSON is printed.
    pub fn json(&self) -> bool {
        self.list.json
    }
}

fn layers() -> impl TypedValueParser<Value = HookLayer> {
    PossibleValuesParser::new(["file", "api"]).map(|name| match &*name {
        "file" => HookLayer::File,
        _ => HookLayer::Api,
    })
}

/// Prints the list.
pub async fn run(selection: Selection) -> Result<(), Failure> {
    let Selection { tenant, layer, list } = selection;
    let is_filtered = tenant.is_some() || layer.is_some();
    let query = HookQuery { tenant, layer, after: list.after.clone(), limit: Some(list.limit()) };
    let page: HookStateList = list.router.get(&["v1", "states", "hooks"]).query(&query).answer().await?;
    if list.json {
        page.hooks.iter().for_each(say_json);
    } else if page.hooks.is_empty() {
        say(if is_filtered {
            "no hook passes the filters"
        } else {
            "no hooks: register one with `switchhook hooks set HOST URL`, or write it into hooks.yaml"
        });
    } else {
        let heading = ["host", "tenant", "layer", "state", "waiting", "oldest", "last answer"];
        let rows = page.hooks.iter().map(row);
        columns(heading, rows, &[4, 5]).iter().for_each(say);
    }
    list.tell_next(page.hooks.len(), page.next.as_deref());
    Ok(())
}

fn row(hook: &HookState) -> [String; 7] {
    [
        shorten(&hook.host, 40),
        shorten(&hook.tenant, 24),
        states::layer(hook.layer).to_owned(),
        states::of_hook(hook),
        states::waiting(hook.waiting),
        states::oldest(hook.oldest_ms),
        states::last_of_hook(hook),
    ]
}
