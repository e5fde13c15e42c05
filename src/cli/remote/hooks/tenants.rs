//! `switchhook tenants`: which tenants are down, paused or backed up.

use super::states;
use crate::cli::failure::Failure;
use crate::cli::remote::client::ListFlags;
use crate::cli::terminal::{columns, say, say_json, shorten};
use crate::wire::{LaneState, TenantState, TenantStateList, TenantStateQuery};

/// Lists tenants with the state of their hooks.
#[derive(clap::Args)]
pub struct Flags {
    #[command(flatten)]
    list: ListFlags,
}

/// Prints the list.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    let Flags { list } = flags;
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
