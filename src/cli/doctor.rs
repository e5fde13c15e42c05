//! `switchhook doctor`: what would keep calls from their tenants, each with its fix.

mod clock;
mod finding;
mod hooks;
mod livekit;
mod local;
mod router;
mod rules;
mod screen;
mod sip;
mod trouble;
mod trunks;

use std::path::PathBuf;

use self::finding::{Finding, Severity, Subject};
use self::hooks::{FoundBy, HookIndex};
use self::livekit::Survey;
use self::local::HooksFile;
use self::router::Running;
use self::sip::Sip;
use super::check::Targets;
use super::failure::Failure;
use super::remote::client::Router;
use super::terminal::{counted, say_json};
use crate::config::{Fallback, around, network_of, platform_keys};
use crate::time::Clock;
use crate::visible::shown;

/// Says what would keep calls from their tenants, each with its fix. Exit code 0, or 1 with problems or warnings.
///
/// Asks LiveKit for its SIP trunks and dispatch rules, and the running router how it is and which hooks it has. Where no
/// router runs, reads the hooks file instead, with the flags given here. Whatever cannot be asked is said, and the rest
/// is checked.
#[derive(clap::Args)]
pub struct Flags {
    /// LiveKit's address, such as wss://livekit.example.com [default with --dev: ws://127.0.0.1:7880]
    #[arg(long, env = "LIVEKIT_URL", value_name = "URL", hide_env_values = true)]
    livekit_url: Option<String>,
    /// LiveKit's API keys, one `key: secret` a line; those of the environment count, too
    #[arg(long, env = "SWITCHHOOK_KEYS_FILE", value_name = "FILE")]
    keys_file: Option<PathBuf>,
    /// The hook table; it is not read if a router answers
    #[arg(long, env = "SWITCHHOOK_HOOKS", value_name = "FILE", default_value = "hooks.yaml")]
    hooks: PathBuf,
    #[command(flatten)]
    fallback: Fallback,
    #[command(flatten)]
    network: Targets,
    #[command(flatten)]
    router: Router,
    /// One JSON object per finding instead
    #[arg(long)]
    json: bool,
}

/// What was asked, and what was found.
#[derive(Default)]
struct Visit {
    /// What was asked, its name, and what it says.
    asked: Vec<[String; 3]>,
    /// A router was asked, and answered.
    has_router: bool,
    findings: Vec<Finding>,
}

/// Looks at everything, and prints what it found.
pub async fn run(mut flags: Flags) -> Result<(), Failure> {
    flags.router.url = flags.router.url.map(livekit::bare);
    let mut visit = Visit::default();
    let hooks = HookIndex::new(visit.hooks(&flags).await);
    let sip = visit.livekit(&flags).await;
    visit.sip(&sip, &hooks, flags.fallback.to_fallback);
    let Visit { asked, findings, .. } = &visit;
    if flags.json {
        findings.iter().for_each(say_json);
    } else {
        screen::print(asked, findings);
    }
    match findings.iter().any(|finding| finding.severity < Severity::Note) {
        true => Err(Failure::silent()),
        false => Ok(()),
    }
}

impl Visit {
    fn ask(&mut self, thing: &str, name: String, told: impl Into<String>) {
        self.asked.push([thing.to_owned(), name, told.into()]);
    }

    fn say(&mut self, severity: Severity, check: &'static str, thing: &'static str, text: [&str; 3]) {
        self.findings.push(Finding::new(severity, check, Subject::the(thing), text.map(str::to_owned)));
    }

    /// LiveKit's trunks and rules, as far as it gives them.
    async fn livekit(&mut self, flags: &Flags) -> Sip {
        let dev = flags.network.dev.then(|| "ws://127.0.0.1:7880".to_owned());
        let Some(url) = flags.livekit_url.clone().filter(|url| !url.is_empty()).or(dev) else {
            self.ask("LiveKit", "-".to_owned(), "not asked: no LIVEKIT_URL");
            let why = "its trunks, dispatch rules and clock were not checked";
            let fix = "set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET, as for LiveKit's own tools";
            // If no router was asked either, next to nothing is checked: a variable may have been lost.
            let severity = if self.has_router { Severity::Note } else { Severity::Warning };
            self.say(severity, "livekit_not_asked", "LiveKit", ["was not asked", why, fix]);
            return Sip::default();
        };
        let address = livekit::address(&url);
        let name = address.as_ref().map_or_else(|_| "-".to_owned(), livekit::shown);
        let mut wrong = Vec::new();
        let keys = platform_keys(flags.network.dev, flags.keys_file.as_deref(), &mut wrong).all();
        let asked = match address {
            Ok(_) if !wrong.is_empty() => Err(Failure::new(wrong.join(" "))),
            Ok(address) => livekit::ask(address, keys.into_iter().collect(), &Clock::system()).await,
            Err(failure) => Err(failure),
        };
        match asked {
            Ok(Survey { sip, findings, ahead }) => {
                self.ask("LiveKit", name, told(&sip));
                self.ask("clock", String::new(), told_of_clock(ahead));
                self.findings.extend(findings);
                sip
            }
            Err(failure) => {
                self.ask("LiveKit", name, "not asked");
                let what = format!("cannot be asked: {}", failure.message);
                let why = "its trunks, dispatch rules and clock were not checked";
                let fix = "the settings are those of LiveKit's own tools";
                self.say(Severity::Problem, "livekit_not_asked", "LiveKit", [&what, why, fix]);
                Sip::default()
            }
        }
    }

    /// The hooks in force: those that the running router says; where none runs, those of the hooks file.
    async fn hooks(&mut self, flags: &Flags) -> Vec<FoundBy> {
        let router = &flags.router;
        let name = router.url.as_ref().map_or_else(|| shown(&router.data), ToString::to_string);
        if router.url.is_none() {
            self.findings.extend(local::permissions(&router.data));
        }
        match router::ask(router).await {
            // Its hooks file and its flags may be others than those given here: the file is not looked at.
            Ok(Running { hooks, findings, summary }) => {
                self.has_router = true;
                self.ask("router", name, summary);
                self.findings.extend(findings);
                hooks
            }
            Err(failure) if router.url.is_some() => {
                self.ask("router", name, "does not answer");
                let text = [&*failure.message, "nothing of it was checked", "is --url its API?"];
                self.say(Severity::Problem, "router_away", "router", text);
                Vec::new()
            }
            Err(_) if local::is_closed(&router.data) => {
                self.ask("router", name, "not asked");
                let what = "cannot be asked: its data directory is closed to this user";
                let why = "whether it runs, and which hooks are in force, was not checked";
                let fix = "ask as its owner or as root: `sudo --preserve-env switchhook doctor`, with --data";
                self.say(Severity::Warning, "data_closed", "router", [what, why, fix]);
                Vec::new()
            }
            Err(_) => {
                self.store(flags, name);
                self.hooks_file(flags)
            }
        }
    }

    /// The data directory, beside which no router answers.
    fn store(&mut self, flags: &Flags, name: String) {
        let data = &flags.router.data;
        let why = "whether LiveKit reaches it, and which hooks are in force, was not checked";
        let fix = "start it, and ask again; a router elsewhere is named by --data, or --url and --token";
        self.say(Severity::Note, "router_not_running", "router", ["does not run here", why, fix]);
        if !data.exists() {
            return self.ask("router", name, "does not run here; there is no data directory yet");
        }
        match local::store(data) {
            Ok(0) => self.ask("router", name, "does not run here; its store can be read"),
            Ok(hooks) => {
                let hooks = counted(hooks, "hook");
                self.ask(
                    "router",
                    name,
                    format!("does not run here; its store has {hooks} of the API, not looked at"),
                );
            }
            Err(finding) => {
                self.ask("router", name, "does not run here");
                self.findings.push(*finding);
            }
        }
    }

    /// The hooks of the file; none, if it cannot be used.
    fn hooks_file(&mut self, flags: &Flags) -> Vec<FoundBy> {
        let Targets { allow_network, allow_http, dev } = &flags.network;
        // The keys file's faults are reported by `livekit`, which reads it as well.
        let keys = platform_keys(*dev, flags.keys_file.as_deref(), &mut Vec::new()).all();
        let around = around(&flags.hooks, network_of(allow_network, *allow_http, *dev));
        let HooksFile { hooks, finding, summary } =
            HooksFile::read(&flags.hooks, &around.beside_keys(move |key| keys.has(key)));
        self.ask("hooks file", shown(&flags.hooks), summary);
        self.findings.extend(finding);
        hooks
    }

    /// Trunks, rules and hooks against each other.
    fn sip(&mut self, sip: &Sip, hooks: &HookIndex, to_fallback: bool) {
        self.findings.extend(trunks::inbound(sip, hooks, to_fallback));
        self.findings.extend(rules::findings(sip, hooks));
        self.findings.extend(hooks.findings(sip));
        self.findings.extend(sip.outbound.as_deref().map(trunks::outbound).unwrap_or_default());
    }
}

/// What LiveKit has, in a few words.
fn told(sip: &Sip) -> String {
    let counts = [
        (sip.inbound.as_ref().map(Vec::len), "inbound trunk"),
        (sip.rules.as_ref().map(Vec::len), "dispatch rule"),
        (sip.outbound.as_ref().map(Vec::len), "outbound trunk"),
    ];
    let lists: Vec<_> = counts.iter().filter_map(|(count, noun)| Some(counted((*count)?, noun))).collect();
    if lists.is_empty() { "gives no list".to_owned() } else { lists.join(", ") }
}

fn told_of_clock(ahead: Option<i64>) -> &'static str {
    match ahead {
        None => "LiveKit's is not known",
        Some(ahead) if clock::finding(ahead).is_none() => "agrees with LiveKit's",
        Some(_) => "differs from LiveKit's",
    }
}

#[cfg(test)]
mod tests;
