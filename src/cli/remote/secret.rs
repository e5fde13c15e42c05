//! `switchhook secret TENANT` and `switchhook secret rotate TENANT`.

use reqwest::Method;
use serde_json::Value;

use super::client::Router;
use crate::cli::failure::Failure;
use crate::cli::terminal::{confirmed, say};

/// Prints what signs a tenant's deliveries, for its receiver's configuration.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Flags {
    #[command(subcommand)]
    command: Option<Command>,
    /// The tenant; without `tenant:` in the hook table, its host
    #[arg(required = true)]
    tenant: Option<String>,
    /// One JSON object instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    router: Router,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Renew a tenant's derived secret; the one before signs beside it for 24 h
    Rotate {
        /// The tenant
        tenant: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// One JSON object instead
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        router: Router,
    },
}

/// The current secret first; while an older one signs too, it follows.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    match flags.command {
        Some(Command::Rotate { tenant, yes, json, router }) => {
            let question =
                format!("Renew the secret of {tenant}? Its receiver has 24 h to take the new one.");
            confirmed(&question, yes)?;
            show(&router.ask(Method::POST, &["v1", "tenants", &tenant, "rotate"]).await?, json);
        }
        None => {
            let tenant = flags.tenant.unwrap_or_default();
            show(&flags.router.ask(Method::GET, &["v1", "tenants", &tenant, "secret"]).await?, flags.json);
        }
    }
    Ok(())
}

fn show(answer: &Value, json: bool) {
    if json {
        return say(answer);
    }
    let list = |key: &str| answer[key].as_array().cloned().unwrap_or_default();
    for (secret, until) in list("secrets").iter().zip(list("until")) {
        let secret = secret.as_str().unwrap_or_default();
        match until.as_str() {
            // On standard error: what is printed is to be piped.
            Some(until) => {
                say(secret);
                eprintln!("  ↑ the previous secret: it signs, too, until {until}");
            }
            None => say(secret),
        }
    }
}
