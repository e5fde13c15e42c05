//! `switchhook tenants`: which tenants are down, paused or backed up; and the erasure of a tenant's data.

mod erase;

use super::states;
use crate::cli::failure::Failure;
use crate::cli::remote::client::ListFlags;
use crate::cli::terminal::{columns, say, say_json, shorten};
use crate::wire::{LaneState, TenantState, TenantStateList, TenantStateQuery};

/// Lists tenants with the state of their hooks, or erases a tenant's data.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Flags {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: ListFlags,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Erase all stored data of a tenant: events, deliveries still to be made, calls, numbers, audit details
    Erase(erase::Flags),
}

/// Prints the list, or erases.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    match flags.command {
        Some(Command::Erase(flags)) => erase::run(flags).await,
        None => list(flags.list).await,
    }
}

async fn list(list: ListFlags) -> Result<(), Failure> {
    let query = TenantStateQuery { after: list.after.clone(), limit: Some(list.limit()) };
    let page: TenantStateList = list.router.get(&["v1", "states", "tenants"]).query(&query).answer().await?;
    if list.json {
        page.tenants.iter().for_each(say_json);
    } else if page.tenants.is_empty() {
        say("no tenants: nobody has a hook");
    } else {
        let heading = ["tenant", "hooks", "state", "waiting", "oldest", "last answer"];
        columns(heading, page.tenants.iter().map(row), &[1, 3, 4]).iter().for_each(say);
    }
    list.tell_next(page.tenants.len(), page.next.as_deref());
    let is_troubled = |tenant: &TenantState| tenant.state != LaneState::Delivering;
    if !list.json && page.tenants.iter().any(is_troubled) {
        say("\nEach state is that of the tenant's worst hook. Which one: switchhook hooks --tenant TENANT");
    }
    Ok(())
}

fn row(tenant: &TenantState) -> [String; 6] {
    [
        shorten(&tenant.tenant, 40),
        tenant.hooks.to_string(),
        states::of_tenant(tenant),
        states::waiting(tenant.waiting),
        states::oldest(tenant.oldest_ms),
        states::last(tenant.last.as_ref()),
    ]
}
