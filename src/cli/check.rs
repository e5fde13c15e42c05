//! `switchhook check`.

use std::path::PathBuf;

use ipnet::IpNet;
use serde_json::json;

use super::failure::Failure;
use super::terminal::say;
use crate::config::{around, network_of, platform_keys};
use crate::hooks;
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
    /// One JSON object per fault instead
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
    let shown = flags.file.display();
    let mut wrong = Vec::new();
    let keys = platform_keys(*dev, flags.keys_file.as_deref(), &mut wrong).all();
    if !wrong.is_empty() {
        return Err(Failure::new(wrong.join("\n")));
    }
    let text =
        std::fs::read_to_string(&flags.file).map_err(|error| Failure::new(format!("{shown}: {error}")))?;
    match hooks::parse(&text, &around(&flags.file, network).beside_keys(move |key| keys.has(key))) {
        Ok(entries) => {
            if !flags.json {
                let count = entries.len();
                say(format_args!("{shown}: {count} {}, no fault", if count == 1 { "hook" } else { "hooks" }));
            }
            Ok(())
        }
        Err(faults) => {
            let count = faults.len();
            if flags.json {
                faults.iter().for_each(|fault| say(object(fault)));
            } else {
                let noun = if count == 1 { "fault" } else { "faults" };
                say(format_args!("{shown}: {count} {noun}, nothing loaded\n"));
                faults.iter().for_each(say);
            }
            Err(Failure::silent())
        }
    }
}

fn object(fault: &TextFault) -> serde_json::Value {
    json!({
        "line": fault.place.line, "column": fault.place.column, "key": fault.key,
        "message": fault.message, "fix": fault.fix,
    })
}
