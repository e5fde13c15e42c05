//! `switchhook secret TENANT`.

use reqwest::Method;
use serde_json::Value;

use super::client::Router;
use super::{Failure, say};

/// Prints what signs a tenant's deliveries, for its receiver's configuration.
#[derive(clap::Args)]
pub struct Flags {
    /// The tenant; without `tenant:` in the hook table, its host
    tenant: String,
    /// One JSON object instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    router: Router,
}

/// The current secret first; while an older one signs too, it follows.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    let answer = flags.router.ask(Method::GET, &["v1", "tenants", &flags.tenant, "secret"]).await?;
    if flags.json {
        say(answer);
        return Ok(());
    }
    let secrets = answer["secrets"].as_array().into_iter().flatten().filter_map(Value::as_str);
    secrets.for_each(say);
    Ok(())
}
