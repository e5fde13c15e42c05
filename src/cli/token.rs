//! `switchhook token`: an API token, made without a running router.

pub mod revoke;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::failure::Failure;
use super::terminal::{aside, say};
use crate::access::{Claims, Grant, Tokens};
use crate::config;
use crate::hooks::{HostPattern, Number, Tenant};
use crate::time::{Clock, UnixMillis, parse_duration, spell_duration};

/// The longest a token may be valid.
const LONGEST: Duration = Duration::from_secs(3650 * 24 * 3600);

/// Makes an API token: a tenant's, for what it may register, or an operator's.
///
/// The token is the last line on standard output, and what it permits is told on standard error. Nothing is stored:
/// whoever has the API secret can make tokens, and the router refuses one that is revoked by its id.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(group = clap::ArgGroup::new("whose").required(true).args(["tenant", "admin"]))]
pub struct Flags {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The tenant whose things the token may see and change, and nobody else's
    #[arg(long, value_name = "NAME", value_parser = tenant)]
    tenant: Option<Tenant>,
    /// An operator's token: everything of every tenant
    #[arg(long)]
    admin: bool,
    /// A host the tenant may register: calls.acme.com, or *.acme.com for any below it; may be repeated
    #[arg(long = "host", value_name = "HOST", value_parser = host, conflicts_with = "admin")]
    hosts: Vec<HostPattern>,
    /// A number the tenant's hooks may have; may be repeated
    #[arg(long = "number", value_name = "NUMBER", value_parser = number, conflicts_with = "admin")]
    numbers: Vec<Number>,
    /// A SIP trunk (ST_…) the tenant's hooks may have; may be repeated
    #[arg(long = "trunk", value_name = "TRUNK", value_parser = trunk, conflicts_with = "admin")]
    trunks: Vec<String>,
    /// A LiveKit API key (API…) of the tenant's own, which its hooks may have; may be repeated
    #[arg(long = "livekit-key", value_name = "KEY", value_parser = livekit_key, conflicts_with = "admin")]
    livekit: Vec<String>,
    /// The tenant's hooks may deliver to the private networks that the router is started with
    #[arg(long, conflicts_with = "admin")]
    private: bool,
    /// How long it is valid, at most 3650d
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = validity)]
    expires: Duration,
    /// One JSON object instead
    #[arg(long)]
    json: bool,
    /// The data directory of the router, which holds the API secret
    #[arg(long, env = "SWITCHHOOK_DATA", value_name = "DIR", default_value = "data")]
    data: PathBuf,
    /// The router's API secret, if it is not in the data directory (or SWITCHHOOK_API_SECRET)
    #[arg(long, value_name = "FILE")]
    api_secret_file: Option<PathBuf>,
}

/// What is done with tokens that exist.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Have the running router refuse one token, or all of a tenant's
    Revoke(revoke::Flags),
}

fn tenant(text: &str) -> Result<Tenant, String> {
    let rule = "a tenant's name has lower-case letters, digits, `.`, `_` and `-`, at most 253 of them";
    Tenant::new(text).ok_or_else(|| rule.to_owned())
}

fn host(text: &str) -> Result<HostPattern, String> {
    HostPattern::parse(text).map_err(|invalid| format!("it is neither a host nor a wildcard: {invalid}"))
}

fn number(text: &str) -> Result<Number, String> {
    let number = Number::new(text).filter(|number| number.as_str().chars().any(|c| c.is_ascii_digit()));
    number.ok_or_else(|| "it holds no number".to_owned())
}

fn trunk(text: &str) -> Result<String, String> {
    let named = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    if named {
        Ok(text.to_owned())
    } else {
        Err("a trunk's id has neither spaces nor control characters".to_owned())
    }
}

fn livekit_key(text: &str) -> Result<String, String> {
    trunk(text).map_err(|_| "a LiveKit API key has neither spaces nor control characters".to_owned())
}

fn validity(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    if duration < Duration::from_secs(1) {
        return Err("a token must be valid for a second at least".to_owned());
    }
    if duration > LONGEST {
        return Err(format!("a token may be valid for {} at most", spell_duration(LONGEST)));
    }
    Ok(duration)
}

/// What `--json` prints.
#[derive(Serialize)]
struct Made<'a> {
    token: &'a str,
    id: &'a str,
    tenant: Option<&'a str>,
    admin: bool,
    hosts: Vec<String>,
    numbers: Vec<&'a str>,
    trunks: &'a [String],
    livekit: &'a [String],
    private: bool,
    expires: String,
}

/// Makes the token, tells what it permits, and prints it.
pub fn run(flags: Flags) -> Result<(), Failure> {
    let secret = config::api_secret(&flags.data, flags.api_secret_file.as_deref());
    let secret = secret.map_err(|faults| {
        let advice = "A token is made with the running router's API secret: name its data directory with --data, or \
                      the secret's file with --api-secret-file.";
        Failure::new(format!("{} {advice}", faults.join(" ")))
    })?;
    let Flags { tenant, hosts, numbers, trunks, livekit, private, expires, json, .. } = flags;
    let now = Clock::system().unix();
    let until = now.after(expires);
    let grant = tenant.map(|tenant| Grant { tenant, hosts, numbers, trunks, livekit, private });
    let claims = match &grant {
        Some(grant) => Claims::tenant(grant, now, until),
        None => Claims::operator(now, until),
    };
    let tokens = Tokens::new(&secret.text);
    let token = tokens.sign(&claims).unwrap_or_default();
    if let Err(refused) = tokens.verify(&token, now) {
        let reason = refused.as_str();
        let limit =
            "A token holds at most 1000 hosts, numbers, trunks and LiveKit keys each, and 16 KiB in all.";
        return Err(Failure::new(format!("the router would refuse this token ({reason}). {limit}")));
    }
    if json {
        say(spelled(&token, claims.jti(), grant.as_ref(), until));
    } else {
        tell(claims.jti(), grant.as_ref(), until, expires);
        say(token);
    }
    Ok(())
}

fn spelled(token: &str, id: &str, grant: Option<&Grant>, until: UnixMillis) -> String {
    let hosts = grant.map(|grant| grant.hosts.iter().map(ToString::to_string).collect());
    let numbers = grant.map(|grant| grant.numbers.iter().map(Number::as_str).collect());
    let made = Made {
        token,
        id,
        tenant: grant.map(|grant| grant.tenant.as_str()),
        admin: grant.is_none(),
        hosts: hosts.unwrap_or_default(),
        numbers: numbers.unwrap_or_default(),
        trunks: grant.map_or(&[], |grant| &grant.trunks),
        livekit: grant.map_or(&[], |grant| &grant.livekit),
        private: grant.is_some_and(|grant| grant.private),
        expires: until.to_string(),
    };
    serde_json::to_string(&made).unwrap_or_default()
}

/// What the token permits, in words, on standard error: standard output is to be piped.
fn tell(id: &str, grant: Option<&Grant>, until: UnixMillis, expires: Duration) {
    match grant {
        None => aside("An operator's token: it sees and changes everything of every tenant."),
        Some(grant) => tell_grant(grant),
    }
    let seconds = UnixMillis(until.seconds() * 1000);
    aside(format_args!("  valid until  {seconds} ({})", spell_duration(expires)));
    aside(format_args!("  id           {id} (jti; what the token is revoked by)"));
    aside("Whoever has it may do that: hand it over in private. It is printed once and stored nowhere.");
}

fn tell_grant(grant: &Grant) {
    let Grant { tenant, hosts, numbers, trunks, livekit, private } = grant;
    aside(format_args!(
        "A token of tenant {tenant}: it sees and changes this tenant's things alone, and may register"
    ));
    for host in hosts {
        match host {
            HostPattern::Exact(host) => aside(format_args!("  host         {host}")),
            HostPattern::Below(domain) => {
                aside(format_args!(
                    "  hosts        *.{domain}: A WILDCARD, every host below {domain}, at any depth"
                ));
            }
            HostPattern::Any => {
                aside("  hosts        *: A WILDCARD, EVERY HOST THERE IS that nobody has yet");
            }
        }
    }
    numbers.iter().for_each(|number| aside(format_args!("  number       {}", number.as_str())));
    trunks.iter().for_each(|trunk| aside(format_args!("  trunk        {trunk}")));
    livekit.iter().for_each(|key| aside(format_args!("  livekit key  {key}")));
    if hosts.is_empty() && numbers.is_empty() && trunks.is_empty() {
        aside("  nothing      (no --host, --number or --trunk is given)");
    }
    if *private {
        aside("  private      its hooks may deliver to the private networks that the router is started with");
    }
}
