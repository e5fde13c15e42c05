//! The flags of `switchhook serve`; most are environment variables, too.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::telemetry::logging;
use crate::time::parse_duration;

/// Certificates of the two listeners.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct TlsFlags {
    /// Serve LiveKit's events over TLS: the certificate and its chain, PEM; reloaded when it is renewed
    #[arg(long, env = "SWITCHHOOK_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert, PEM
    #[arg(long, env = "SWITCHHOOK_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Serve the API over TLS: the certificate and its chain, PEM; reloaded when it is renewed
    #[arg(long, env = "SWITCHHOOK_API_TLS_CERT", value_name = "FILE")]
    pub api_tls_cert: Option<PathBuf>,

    /// The private key of --api-tls-cert, PEM
    #[arg(long, env = "SWITCHHOOK_API_TLS_KEY", value_name = "FILE")]
    pub api_tls_key: Option<PathBuf>,
}

/// How receivers are reached.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ReachFlags {
    /// A nameserver that is asked for receivers' names, such as 10.0.0.53 or 10.0.0.53:5353; may be repeated
    /// [default: those of /etc/resolv.conf]
    #[arg(long, env = "SWITCHHOOK_NAMESERVER", value_name = "ADDRESS", value_delimiter = ',',
          value_parser = nameserver)]
    pub nameserver: Vec<SocketAddr>,

    /// Certificates of further authorities that sign receivers' certificates, PEM; read at the start. The system's are trusted, too
    #[arg(long, env = "SWITCHHOOK_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// The flags of `switchhook serve`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Flags {
    /// Where LiveKit posts its events; health, too [default: 0.0.0.0:7890]
    #[arg(long, env = "SWITCHHOOK_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,

    /// Where the API, the metrics and health are served
    #[arg(long, env = "SWITCHHOOK_API_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:7891")]
    pub api_listen: SocketAddr,

    /// The hook table
    #[arg(long, env = "SWITCHHOOK_HOOKS", value_name = "FILE", default_value = "hooks.yaml")]
    pub hooks: PathBuf,

    /// The data directory; made if missing, for the owner only
    #[arg(long, env = "SWITCHHOOK_DATA", value_name = "DIR", default_value = "data")]
    pub data: PathBuf,

    /// LiveKit's API keys, one `key: secret` a line; reloaded when it changes
    #[arg(long, env = "SWITCHHOOK_KEYS_FILE", value_name = "FILE")]
    pub keys_file: Option<PathBuf>,

    /// What signs API tokens, one secret a line, the current one first; reloaded when it changes
    /// [default: made in the data directory on first start]
    #[arg(long, value_name = "FILE")]
    pub api_secret_file: Option<PathBuf>,

    /// A name the API is asked by, such as that of a proxy before it; may be repeated. IP addresses, localhost
    /// and the names in --api-tls-cert need not be given
    #[arg(long, env = "SWITCHHOOK_API_HOST", value_name = "NAME", value_delimiter = ',')]
    pub api_host: Vec<String>,

    #[command(flatten)]
    pub tls: TlsFlags,

    /// What tenants' secrets derive from [default: made in the data directory on first start]
    #[arg(long, value_name = "FILE")]
    pub master_secret_file: Option<PathBuf>,

    /// A private network hooks may deliver to, such as 10.0.0.0/8; may be repeated
    #[arg(long, env = "SWITCHHOOK_ALLOW_NETWORK", value_name = "CIDR", value_delimiter = ',')]
    pub allow_network: Vec<IpNet>,

    /// Hooks may use plain http
    #[arg(long, env = "SWITCHHOOK_ALLOW_HTTP", value_parser = clap::builder::BoolishValueParser::new())]
    pub allow_http: bool,

    #[command(flatten)]
    pub reach: ReachFlags,

    #[command(flatten)]
    pub fallback: Fallback,

    /// How long an event waits for its call while no tenant is known for its room
    #[arg(long, env = "SWITCHHOOK_HOLD", value_name = "DURATION", default_value = "30s",
          value_parser = parse_duration)]
    pub hold: Duration,

    /// A request waits at most this long for its event to be stored; then it is acknowledged from memory
    #[arg(long, env = "SWITCHHOOK_PATIENCE", value_name = "DURATION", default_value = "5s",
          value_parser = parse_duration)]
    pub patience: Duration,

    /// How long what routing read of past calls is kept: switchhook check tries a new hook table on them
    #[arg(long, env = "SWITCHHOOK_KEEP_FACTS", value_name = "DURATION", default_value = "7d",
          value_parser = parse_duration)]
    pub keep_facts: Duration,

    /// Serve the metrics on the API's listener without a token
    #[arg(long, env = "SWITCHHOOK_METRICS_OPEN", value_parser = clap::builder::BoolishValueParser::new())]
    pub metrics_open: bool,

    /// The most the database may hold, in MiB [default: 80 % of its file system]
    #[arg(long, env = "SWITCHHOOK_STORE_LIMIT", value_name = "MIB")]
    pub store_limit: Option<u32>,

    /// While the store does not take events, acknowledge up to this many MiB of them from memory
    #[arg(long, env = "SWITCHHOOK_MEMORY_QUEUE", value_name = "MIB", default_value_t = 64,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub memory_queue: u16,

    /// Connections each listener serves at once; for one more, the oldest that has shown no valid token is closed.
    /// Fewer if the limit of open files is small
    #[arg(long, env = "SWITCHHOOK_CONNECTIONS", value_name = "COUNT", default_value_t = 4096,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub connections: u16,

    /// How log lines look [default: text on a terminal, else json]
    #[arg(long, env = "SWITCHHOOK_LOG", value_name = "FORMAT")]
    pub log: Option<logging::LogFormat>,

    /// Which lines are logged: error, warn, info, debug
    #[arg(long, env = "SWITCHHOOK_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    pub log_level: tracing::level_filters::LevelFilter,

    /// End when standard input does, so that a router ends with the process that started it
    #[arg(long, hide = true)]
    pub until_stdin_closes: bool,

    /// For trying out beside `livekit-server --dev`: its keys devkey/secret, loopback only, http and
    /// loopback targets allowed
    #[arg(long)]
    pub dev: bool,
}

/// Reads an address with a port or without: DNS has port 53.
///
/// # Errors
/// How it is spelled.
fn nameserver(text: &str) -> Result<SocketAddr, &'static str> {
    let bare = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let address = text.parse().or_else(|_| bare.map(|address| SocketAddr::new(address, 53)));
    address.map_err(|_| "a nameserver is an IP address, such as 10.0.0.53, 10.0.0.53:5353 or [fd00::53]:53")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nameserver_has_port_53_unless_it_says_otherwise() {
        let table = [
            ("10.0.0.53", "10.0.0.53:53"),
            ("10.0.0.53:5353", "10.0.0.53:5353"),
            ("fd00::53", "[fd00::53]:53"),
            ("[fd00::53]", "[fd00::53]:53"),
            ("[fd00::53]:5353", "[fd00::53]:5353"),
        ];
        for (text, expected) in table {
            assert_eq!(nameserver(text).map(|address| address.to_string()).as_deref(), Ok(expected));
        }
        for text in ["", "dns.example", "10.0.0.53:", "10.0.0:53", "10.0.0.53:99999"] {
            assert!(nameserver(text).is_err(), "{text}");
        }
    }
}

/// Whether the SIP header To may give the domain: a setting of all that route.
#[derive(Clone, Debug, clap::Args)]
pub struct Fallback {
    /// Read the domain from sip.h.to where sip.h.x-to-ip gives none
    #[arg(
        long, env = "SWITCHHOOK_TO_FALLBACK", value_name = "BOOL", default_value_t = true,
        num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set,
        value_parser = clap::builder::BoolishValueParser::new()
    )]
    pub to_fallback: bool,
}
