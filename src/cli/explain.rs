//! `switchhook explain`: the decision for an event or a header, step by step, without a router.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::check::Targets;
use super::failure::Failure;
use super::terminal::{plain, say, say_json};
use crate::calls::Rehearsal;
use crate::config::{Fallback, network_of, read_hooks};
use crate::event::{Caller, Event};
use crate::hooks::{Around, Hook, HookTable, Tenant};
use crate::ids::HookId;
use crate::outbox::Hooks;
use crate::route::{Basis, Door, explain};
use crate::visible::shown;

/// Says where an event would go by a hook table, and why, without a running router.
///
/// With a file (- for standard input): the event in it. Else: a caller with these headers.
#[derive(clap::Args)]
pub struct Flags {
    /// An event as LiveKit posts it
    event: Option<PathBuf>,
    /// What came before it: a recording, or events line by line; calls are bound by it
    #[arg(long, value_name = "FILE", requires = "event")]
    after: Option<PathBuf>,
    /// The tenant by whose own URL it comes
    #[arg(long, value_name = "TENANT")]
    at: Option<String>,
    /// What the edge wrote: sip.h.x-to-ip
    #[arg(long, value_name = "VALUE", conflicts_with = "event")]
    x_to_ip: Option<String>,
    /// sip.h.to
    #[arg(long, value_name = "VALUE", conflicts_with = "event")]
    to: Option<String>,
    /// The number dialled: sip.trunkPhoneNumber
    #[arg(long, value_name = "NUMBER", conflicts_with = "event")]
    number: Option<String>,
    /// The SIP trunk: sip.trunkID
    #[arg(long, value_name = "ID", conflicts_with = "event")]
    trunk: Option<String>,
    /// The hook table
    #[arg(long, env = "SWITCHHOOK_HOOKS", value_name = "FILE", default_value = "hooks.yaml")]
    hooks: PathBuf,
    #[command(flatten)]
    fallback: Fallback,
    #[command(flatten)]
    network: Targets,
    /// One JSON object instead
    #[arg(long)]
    json: bool,
}

/// Stands for every secret that is elsewhere.
const SOME_SECRET: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Prints the decision.
pub fn run(flags: &Flags) -> Result<(), Failure> {
    let hooks = table_of(flags)?;
    // Ids count from 1, in the file's order.
    let lines: Vec<u64> = hooks.entries.iter().map(|entry| entry.line).collect();
    let numbered = (1..).zip(hooks.entries).map(|(id, entry)| (entry, HookId(id), Vec::new()));
    let table = HookTable::build(numbered.collect(), Vec::new());
    let door = door(flags, &table)?;
    let body = flags.event.as_deref().map_or(Ok(Vec::new()), read_event)?;
    let event = match &flags.event {
        Some(path) => {
            Event::parse(&body).map_err(|error| Failure::new(format!("{}: {error}", shown(path))))?
        }
        None => Event { caller: Some(caller(flags)?), ..Event::default() },
    };
    let file = shown(&flags.hooks);
    let place = |hook: &Hook| {
        let line = usize::try_from(hook.id.0 - 1).ok().and_then(|at| lines.get(at));
        line.map(|line| format!("{file} line {line}")).unwrap_or_default()
    };
    let mut rehearsal = Rehearsal::new(table, flags.fallback.to_fallback, door);
    if let Some(path) = &flags.after {
        hear(&mut rehearsal, &String::from_utf8_lossy(&read_event(path)?))?;
    }
    let (hooks, to_fallback) = (rehearsal.table().all(), flags.fallback.to_fallback);
    let seen = Basis { hooks, call: rehearsal.call(&event), to_fallback };
    let explanation = explain(&event, rehearsal.route(&event), seen, place);
    if flags.json {
        say_json(&explanation);
    } else {
        explanation.steps.iter().for_each(say);
    }
    Ok(())
}

/// The hook table. What may be dialled decides nothing here: one for --dev is explained as well. Nor do
/// secrets: they need not be here.
fn table_of(flags: &Flags) -> Result<Hooks, Failure> {
    let Targets { allow_network, allow_http, dev } = &flags.network;
    let mut network = network_of(allow_network, *allow_http, *dev);
    network.allow_http = true;
    network.allowed.extend(["0.0.0.0/0", "::/0"].iter().filter_map(|net| net.parse::<ipnet::IpNet>().ok()));
    let around = Around::new(network, |_| Ok(SOME_SECRET.to_owned().into()));
    read_hooks(&flags.hooks, &around).map_err(Failure::new)
}

/// Binds calls by what came before: a recording, or events line by line.
fn hear(rehearsal: &mut Rehearsal, before: &str) -> Result<(), Failure> {
    for (number, line) in (1..).zip(before.lines().filter(|line| !line.trim().is_empty())) {
        let told: Value = serde_json::from_str(line)
            .map_err(|error| Failure::new(format!("--after: line {number}: no event: {error}")))?;
        // A recording's line holds the body as a text.
        rehearsal.hear(told["body"].as_str().unwrap_or(line).as_bytes());
    }
    Ok(())
}

fn door(flags: &Flags, table: &HookTable) -> Result<Door, Failure> {
    let Some(name) = &flags.at else { return Ok(Door::Platform) };
    let tenant = Tenant::new(name).filter(|tenant| table.knows(tenant));
    let unknown = || Failure::new(format!("no hook has the tenant {}: its URL answers 404", plain(name)));
    // Whose key it is signed with decides nothing here.
    Ok(Door::Tenant { tenant: tenant.ok_or_else(unknown)?, own_key: false })
}

fn read_event(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut body).map(drop)
    } else {
        std::fs::read(path).map(|read| body = read)
    };
    read.map(|()| body).map_err(|error| Failure::new(format!("{}: {error}", shown(path))))
}

fn caller(flags: &Flags) -> Result<Caller<'_>, Failure> {
    let given = [&flags.x_to_ip, &flags.to, &flags.number, &flags.trunk];
    Caller::of(given.map(Option::as_deref)).ok_or_else(|| {
        Failure::usage(
            "nothing to explain: name an event's file, or give --x-to-ip, --to, --number or --trunk",
        )
    })
}
