//! `switchhook secret TENANT` and `switchhook secret rotate TENANT`.

use super::client::Router;
use crate::cli::failure::Failure;
use crate::cli::terminal::{aside, confirmed, plain, say, say_json};
use crate::wire::TenantSecrets;

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
                format!("Renew the secret of {}? Its receiver has 24 h to take the new one.", plain(&tenant));
            confirmed(&question, yes)?;
            show(&router.post(&["v1", "tenants", &tenant, "rotate"]).answer().await?, json);
        }
        None => {
            let tenant = flags.tenant.unwrap_or_default();
            show(&flags.router.get(&["v1", "tenants", &tenant, "secret"]).answer().await?, flags.json);
        }
    }
    Ok(())
}

fn show(answer: &TenantSecrets, json: bool) {
    if json {
        return say_json(answer);
    }
    for (secret, until) in answer.secrets.iter().zip(&answer.until) {
        say(&*secret.0);
        if let Some(until) = until {
            // On standard error: what is printed is to be piped.
            aside(format_args!("  ↑ the previous secret: it signs, too, until {until}"));
        }
    }
}
