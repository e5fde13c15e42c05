//! `switchhook check`.

mod against;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::Serialize;

use self::against::AgainstFlags;
use super::failure::Failure;
use super::terminal::{counted, plain, say, say_json};
use crate::config::{around, network_of, platform_keys};
use crate::hooks;
use crate::outbox::{self, FileTable};
use crate::visible::shown;
use crate::yaml::TextFault;

/// Checks a hook table: every fault, with line and column. Exit code 0 or 1.
#[derive(clap::Args)]
pub struct Flags {
    /// The hook table
    #[arg(env = "SWITCHHOOK_HOOKS", default_value = "hooks.yaml")]
    file: PathBuf,
    #[command(flatten)]
    network: Targets,
    /// The platform's LiveKit keys, which no tenant may have; those of the environment count, too
    #[arg(long, env = "SWITCHHOOK_KEYS_FILE", value_name = "FILE")]
    keys_file: Option<PathBuf>,
    /// A router's data directory: says which of the hooks registered over its API the table would shadow
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    against: AgainstFlags,
    /// One JSON object per fault, shadowed hook or difference instead
    #[arg(long)]
    json: bool,
}

/// What hooks may deliver to, as for `switchhook serve`.
#[derive(clap::Args)]
pub struct Targets {
    /// A private network hooks may deliver to; may be repeated
    #[arg(long, env = "SWITCHHOOK_ALLOW_NETWORK", value_name = "CIDR", value_delimiter = ',')]
    pub allow_network: Vec<IpNet>,
    /// Hooks may use plain http
    #[arg(long, env = "SWITCHHOOK_ALLOW_HTTP", value_parser = clap::builder::BoolishValueParser::new())]
    pub allow_http: bool,
    /// As `switchhook serve --dev`: http and loopback targets allowed
    #[arg(long)]
    pub dev: bool,
}

/// Reads and checks the file.
pub fn run(flags: &Flags) -> Result<(), Failure> {
    let Targets { allow_network, allow_http, dev } = &flags.network;
    let network = network_of(allow_network, *allow_http, *dev);
    let shown = shown(&flags.file);
    let mut wrong = Vec::new();
    let keys = platform_keys(*dev, flags.keys_file.as_deref(), &mut wrong).all();
    if !wrong.is_empty() {
        return Err(Failure::new(wrong.join("\n")));
    }
    let text =
        std::fs::read_to_string(&flags.file).map_err(|error| Failure::new(format!("{shown}: {error}")))?;
    match hooks::parse_file(&text, &around(&flags.file, network).beside_keys(move |key| keys.has(key))) {
        Ok(table) => passed(flags, &shown, table),
        Err(faults) => Err(failed(flags, &shown, &faults)),
    }
}

/// A table without fault: what it does.
fn passed(flags: &Flags, shown: &str, table: FileTable) -> Result<(), Failure> {
    let (count, against) = (table.0.len(), flags.against.against.as_deref());
    let lines: Vec<_> = table.0.iter().map(|entry| (entry.host.to_string(), entry.line)).collect();
    let preview = against.map(|data| flags.against.preview(data, table)).transpose()?;
    let shadows = shadows(lines, against.or(flags.data.as_deref()))?;
    match &preview {
        Some(preview) if flags.json => against::tell_json(count, preview),
        Some(preview) => against::tell(shown, count, preview),
        None if flags.json => {}
        None => say(format_args!("{shown}: {}, no fault", counted(count, "hook"))),
    }
    if flags.json {
        shadows.iter().for_each(say_json);
        return Ok(());
    }
    for Shadow { line, shadows, tenant } in &shadows {
        say(format_args!("  line {line}: shadows {} of the API (tenant {})", plain(shadows), plain(tenant)));
    }
    Ok(())
}

/// A table with faults: all of them.
fn failed(flags: &Flags, shown: &str, faults: &[TextFault]) -> Failure {
    if flags.json {
        faults.iter().map(Fault::of).for_each(|fault| say_json(&fault));
    } else {
        say(format_args!("{shown}: {}, nothing loaded\n", counted(faults.len(), "fault")));
        faults.iter().for_each(say);
    }
    Failure::silent()
}

/// A hook registered over the API that would not be in force beside the table. No fault: the file has the last word.
#[derive(Serialize)]
struct Shadow {
    /// Where the table has its host, from 1.
    line: u64,
    /// The host.
    shadows: String,
    /// Whose the hook of the API is.
    tenant: String,
}

fn shadows(lines: Vec<(String, u64)>, data: Option<&Path>) -> Result<Vec<Shadow>, Failure> {
    let Some(data) = data else { return Ok(Vec::new()) };
    let registered = outbox::registered_hooks(data).map_err(|error| {
        let advice = "--data takes the data directory of a router";
        Failure::new(format!("{}: its database cannot be read: {error}. {advice}", shown(data)))
    })?;
    let lines: HashMap<_, _> = lines.into_iter().collect();
    let shadow = |(host, tenant): (String, String)| {
        let line = *lines.get(&host)?;
        Some(Shadow { line, shadows: host, tenant })
    };
    Ok(registered.into_iter().filter_map(shadow).collect())
}

/// A fault as `--json` prints it.
#[derive(Serialize)]
struct Fault<'f> {
    line: u64,
    column: u64,
    key: &'f str,
    message: &'f str,
    fix: Option<&'f str>,
}

impl<'f> Fault<'f> {
    fn of(fault: &'f TextFault) -> Self {
        let TextFault { place, key, message, fix } = fault;
        Self { line: place.line, column: place.column, key, message, fix: fix.as_deref() }
    }
}
