//! `switchhook hooks rotate`: renews the derived secret of a hook's tenant.

use super::show;
use crate::cli::failure::Failure;
use crate::cli::remote::client::Router;
use crate::cli::terminal::{aside, confirmed, plain, say, say_json};
use crate::wire::{HiddenText, HookAnswer, TenantSecrets};

/// Whose secret is renewed.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["host", "tenant"]))]
pub struct Flags {
    /// The host of one of the tenant's hooks
    host: Option<String>,
    /// The tenant instead
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

/// Renews it. The new secret is the last line on standard output.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    let Flags { host, tenant, yes, json, router } = flags;
    let tenant = match (&host, tenant) {
        (Some(host), _) => show::get(&router, host).await?.answer.tenant,
        (None, tenant) => tenant.unwrap_or_default(),
    };
    let shown = plain(&tenant);
    let question = format!(
        "Renew the secret of {shown}? All its hooks without a secret of their own get it; its receivers have 24 h \
         to take it, since the one before signs beside it for so long."
    );
    confirmed(&question, yes)?;
    match host {
        Some(host) => {
            let answer: HookAnswer = router.post(&["v1", "hooks", &host, "rotate"]).answer().await?;
            if json {
                say_json(&answer);
            } else {
                tell(&shown, answer.secrets.as_deref().unwrap_or_default());
            }
        }
        None => {
            let answer: TenantSecrets = router.post(&["v1", "tenants", &tenant, "rotate"]).answer().await?;
            if json {
                say_json(&answer);
            } else {
                tell(&shown, &answer.secrets);
            }
        }
    }
    Ok(())
}

fn tell(tenant: &str, secrets: &[HiddenText]) {
    let Some(secret) = secrets.first() else { return };
    // On standard error: what is printed is to be piped.
    aside(format_args!(
        "The secret of {tenant} is renewed; the one before signs beside it for 24 h. The new one:"
    ));
    say(&*secret.0);
}
