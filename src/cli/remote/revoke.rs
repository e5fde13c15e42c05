//! `switchhook token revoke`: tokens that the running router refuses from now on.

use reqwest::Method;

use super::client::Router;
use crate::cli::failure::Failure;
use crate::cli::terminal::{confirmed, plain, say, say_json};
use crate::wire::Revoked;

/// Which tokens.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["jti", "tenant"]))]
pub struct Flags {
    /// The token's id, as `switchhook token` and `switchhook audit --json` tell it
    jti: Option<String>,
    /// All tokens of this tenant that were made before now
    #[arg(long)]
    tenant: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// One JSON object instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    router: Router,
}

/// Has the router refuse them, also after a restart.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    let Flags { jti, tenant, yes, json, router } = flags;
    let (what, question) = match (&jti, &tenant) {
        (Some(jti), _) => {
            let what = format!("the token {}", plain(jti));
            (what, router.ask(Method::DELETE, &["v1", "tokens", jti]))
        }
        (None, tenant) => {
            let tenant = tenant.as_deref().unwrap_or_default();
            let what = format!("all tokens of {} that were made before now", plain(tenant));
            (what, router.post(&["v1", "tenants", tenant, "revoke"]))
        }
    };
    let warning = "Whoever uses it gets 401 at once, also after a restart, and for good: make another with \
                   `switchhook token`.";
    confirmed(&format!("Revoke {what}? {warning}"), yes)?;
    let revoked: Revoked = question.answer().await?;
    if json {
        say_json(&revoked);
    } else {
        say(format_args!("revoked: {what}"));
    }
    Ok(())
}
