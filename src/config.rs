//! Settings: flags, each also an environment variable, composed into every module's own Config.
//! The only place that reads the environment. Every fault is reported, not only the first.

mod hooks_file;

use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use zeroize::Zeroizing;

pub(crate) use self::hooks_file::{HooksSource, around, check_hooks, read_hooks};

use crate::dispatch;
use crate::ingress::{Keys, Limits};
use crate::network::Network;
use crate::outbox::{self, Retention};
use crate::signature::{MasterSecret, random_secret};
use crate::telemetry::logging;
use crate::time::parse_duration;

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

    /// What tenants' secrets derive from [default: made in the data directory on first start]
    #[arg(long, value_name = "FILE")]
    pub master_secret_file: Option<PathBuf>,

    /// A private network hooks may deliver to, such as 10.0.0.0/8; may be repeated
    #[arg(long, env = "SWITCHHOOK_ALLOW_NETWORK", value_name = "CIDR", value_delimiter = ',')]
    pub allow_network: Vec<IpNet>,

    /// Hooks may use plain http
    #[arg(long, env = "SWITCHHOOK_ALLOW_HTTP", value_parser = clap::builder::BoolishValueParser::new())]
    pub allow_http: bool,

    /// Read the domain from sip.h.to where sip.h.x-to-ip gives none
    #[arg(
        long, env = "SWITCHHOOK_TO_FALLBACK", value_name = "BOOL", default_value_t = true,
        num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set,
        value_parser = clap::builder::BoolishValueParser::new()
    )]
    pub to_fallback: bool,

    /// An event of a room nobody is known for yet waits this long for its call
    #[arg(long, env = "SWITCHHOOK_HOLD", value_name = "DURATION", default_value = "30s",
          value_parser = parse_duration)]
    pub hold: Duration,

    /// A request waits at most this long for its event to be stored; then it is acknowledged from memory
    #[arg(long, env = "SWITCHHOOK_PATIENCE", value_name = "DURATION", default_value = "5s",
          value_parser = parse_duration)]
    pub patience: Duration,

    /// Let whoever reaches the API's listener read the metrics, without a token
    #[arg(long, env = "SWITCHHOOK_METRICS_OPEN", value_parser = clap::builder::BoolishValueParser::new())]
    pub metrics_open: bool,

    /// The most the database may hold, in MiB [default: 80 % of its file system]
    #[arg(long, env = "SWITCHHOOK_STORE_LIMIT", value_name = "MIB")]
    pub store_limit: Option<u32>,

    /// While the store does not take events, acknowledge up to this many MiB of them from memory
    #[arg(long, env = "SWITCHHOOK_MEMORY_QUEUE", value_name = "MIB", default_value_t = 64,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub memory_queue: u16,

    /// How log lines look [default: text on a terminal, else json]
    #[arg(long, env = "SWITCHHOOK_LOG", value_name = "FORMAT")]
    pub log: Option<logging::Format>,

    /// Which lines are logged: error, warn, info, debug
    #[arg(long, env = "SWITCHHOOK_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    pub log_level: tracing::level_filters::LevelFilter,

    /// End when standard input does: for whoever starts a router and may be killed
    #[arg(long, hide = true)]
    pub until_stdin_closes: bool,

    /// For trying out beside `livekit-server --dev`: its keys devkey/secret, loopback only, http and
    /// loopback targets allowed
    #[arg(long)]
    pub dev: bool,
}

/// What a router is built from.
pub struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) api_listen: SocketAddr,
    /// Connections each listener serves at once.
    pub(crate) connections: usize,
    pub(crate) limits: Limits,
    pub(crate) keys: KeysSource,
    pub(crate) hooks: HooksSource,
    pub(crate) network: Network,
    pub(crate) outbox: outbox::Config,
    pub(crate) dispatch: dispatch::Config,
    pub(crate) master: MasterSecret,
    pub(crate) api_secret: Zeroizing<String>,
    pub(crate) metrics_open: bool,
    /// Threads of the asynchronous runtime.
    pub(crate) workers: usize,
    /// Keeps other routers off the data directory for as long as it lives.
    pub(crate) lock: fs::File,
}

/// Where the platform's API keys come from.
#[derive(Debug, Default)]
pub(crate) struct KeysSource {
    /// From the environment and `--dev`: they stay.
    fixed: Keys,
    /// The keys file and what it held.
    pub file: Option<(PathBuf, Zeroizing<String>)>,
}

impl KeysSource {
    /// All keys there are with these in the file.
    pub fn with_file(&self, file: Keys) -> Keys {
        let mut all = self.fixed.clone();
        all.extend(file);
        all
    }

    /// All keys there were at the start.
    pub fn all(&self) -> Keys {
        let file = self.file.as_ref().and_then(|(_, text)| Keys::parse(text).ok());
        self.with_file(file.unwrap_or_default())
    }
}

/// The settings cannot be used: everything that is wrong with them.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Unusable(pub(crate) Vec<String>);

const CONNECTIONS: usize = 4096;

impl Config {
    /// The configuration of `switchhook serve` with these arguments, in this environment.
    ///
    /// # Errors
    /// [`Unusable`] with every fault.
    pub fn from_args<I, T>(args: I) -> Result<Self, Unusable>
    where
        I: IntoIterator<Item = T>,
        T: Into<std::ffi::OsString> + Clone,
    {
        #[derive(clap::Parser)]
        #[command(no_binary_name = true)]
        struct Serve {
            #[command(flatten)]
            flags: Flags,
        }
        let parsed = <Serve as clap::Parser>::try_parse_from(args);
        load(&parsed.map_err(|error| Unusable(vec![error.to_string()]))?.flags)
    }
}

/// Reads what the flags name and checks it all.
///
/// # Errors
/// [`Unusable`] with every fault.
pub(crate) fn load(flags: &Flags) -> Result<Config, Unusable> {
    let mut faults = Vec::new();
    let listen = listen_address(flags, &mut faults);
    let network = network(flags);
    let keys = keys(flags, &mut faults);
    let secrets = data_directory(flags, &mut faults);
    let platform = keys.all();
    let around = around(&flags.hooks, network.clone()).beside_keys(move |key| platform.has(key));
    let hooks =
        hooks_file::at_start(flags, &around, secrets.as_ref().map(|secrets| &secrets.master), &mut faults);
    match (faults.is_empty(), secrets, hooks) {
        (true, Some(Secrets { master, api_secret, lock }), Some(hooks)) => Ok(Config {
            listen,
            api_listen: flags.api_listen,
            connections: CONNECTIONS,
            limits: Limits::default(),
            keys,
            hooks,
            network,
            outbox: outbox::Config {
                directory: flags.data.clone(),
                to_fallback: flags.to_fallback,
                hold: flags.hold,
                patience: flags.patience,
                memory_room: usize::from(flags.memory_queue) << 20,
                retention: Retention { store_bytes: store_bytes(flags), ..Retention::default() },
            },
            dispatch: dispatch::Config::default(),
            master,
            api_secret,
            metrics_open: flags.metrics_open,
            workers: std::thread::available_parallelism().map_or(2, |cores| cores.get().min(4)),
            lock,
        }),
        _ => Err(Unusable(faults)),
    }
}

fn listen_address(flags: &Flags, faults: &mut Vec<String>) -> SocketAddr {
    let default = if flags.dev { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    let listen = flags.listen.unwrap_or(SocketAddr::new(IpAddr::V4(default), 7890));
    for (flag, address) in [("--listen", listen), ("--api-listen", flags.api_listen)] {
        if flags.dev && !address.ip().is_loopback() {
            faults.push(format!("--dev listens on loopback only: leave out {flag} {address}, or --dev"));
        }
    }
    listen
}

fn network(flags: &Flags) -> Network {
    network_of(&flags.allow_network, flags.allow_http, flags.dev)
}

/// What may be dialled with these flags.
pub(crate) fn network_of(allow_network: &[IpNet], allow_http: bool, dev: bool) -> Network {
    let mut allowed = allow_network.to_vec();
    if dev {
        allowed.extend(["127.0.0.0/8", "::1/128"].iter().filter_map(|net| net.parse::<IpNet>().ok()));
    }
    Network { allowed, allow_http: allow_http || dev }
}

fn keys(flags: &Flags, faults: &mut Vec<String>) -> KeysSource {
    let before = faults.len();
    let source = platform_keys(flags.dev, flags.keys_file.as_deref(), faults);
    if faults.len() == before && source.all().is_empty() {
        let advice = "Set LIVEKIT_API_KEY and LIVEKIT_API_SECRET, or --keys-file, or try --dev.";
        faults.push(format!("no LiveKit key. {advice}"));
    }
    source
}

/// The platform's LiveKit keys, wherever they are given.
pub(crate) fn platform_keys(dev: bool, keys_file: Option<&Path>, faults: &mut Vec<String>) -> KeysSource {
    let mut source = KeysSource::default();
    if dev {
        source.fixed.insert("devkey", "secret");
    }
    match (variable("LIVEKIT_API_KEY"), variable("LIVEKIT_API_SECRET")) {
        (Some(key), Some(secret)) => source.fixed.insert(&key, &secret),
        (None, None) => {}
        (Some(_), None) => faults.push("LIVEKIT_API_KEY is set, LIVEKIT_API_SECRET is not.".into()),
        (None, Some(_)) => faults.push("LIVEKIT_API_SECRET is set, LIVEKIT_API_KEY is not.".into()),
    }
    if let Some(text) = variable("LIVEKIT_KEYS") {
        match Keys::parse(&text) {
            Ok(keys) => source.fixed.extend(keys),
            Err(found) => faults.push(hooks_file::list("LIVEKIT_KEYS", &found)),
        }
    }
    if let Some(path) = keys_file {
        match fs::read_to_string(path).map(Zeroizing::new) {
            Ok(text) => match Keys::parse(&text) {
                Ok(_) => source.file = Some((path.to_path_buf(), text)),
                Err(found) => faults.push(hooks_file::list(&path.display().to_string(), &found)),
            },
            Err(error) => faults.push(format!("--keys-file {}: {error}", path.display())),
        }
    }
    source
}

struct Secrets {
    master: MasterSecret,
    api_secret: Zeroizing<String>,
    lock: fs::File,
}

/// Makes the data directory and what belongs into it.
fn data_directory(flags: &Flags, faults: &mut Vec<String>) -> Option<Secrets> {
    let data = &flags.data;
    let shown = data.display();
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(data);
    let lock = made.and_then(|()| {
        fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(data.join("lock"))
    });
    let lock = match lock {
        Ok(lock) => lock,
        Err(error) => {
            faults.push(format!(
                "the data directory {shown} cannot be written: {error}. Choose one with --data."
            ));
            return None;
        }
    };
    if !locked(&lock) {
        faults.push(format!(
            "the data directory {shown} is in use by another switchhook. Choose one with --data."
        ));
        return None;
    }
    let api_secret = kept_secret(&data.join("api.secret"), faults);
    if api_secret.as_ref().is_some_and(|secret| secret.len() < 32) {
        faults.push(format!("{shown}/api.secret holds less than 32 characters. Remove it to have one made."));
    }
    let master = master_secret(flags, faults);
    Some(Secrets { master: master?, api_secret: api_secret?, lock })
}

/// Whether the lock is ours. One that is ending may still have it for a moment, and so may a process
/// it was about to start.
fn locked(lock: &fs::File) -> bool {
    const TRIES: u32 = 50;
    const BETWEEN: Duration = Duration::from_millis(20);
    (0..TRIES).any(|tried| {
        if tried > 0 {
            std::thread::sleep(BETWEEN);
        }
        lock.try_lock().is_ok()
    })
}

fn master_secret(flags: &Flags, faults: &mut Vec<String>) -> Option<MasterSecret> {
    let (origin, text) = match (&flags.master_secret_file, variable("SWITCHHOOK_MASTER_SECRET")) {
        (Some(path), _) => (path.display().to_string(), read_secret(path, faults)?),
        // As LiveKit's own secrets, the variable may hold the secret itself; a path is read.
        // What looks like a path is one: a file that is missing must not become the secret itself.
        (None, Some(value)) if value.starts_with(['/', '.']) || Path::new(value.as_str()).is_file() => {
            (value.to_string(), read_secret(Path::new(value.as_str()), faults)?)
        }
        (None, Some(value)) => ("SWITCHHOOK_MASTER_SECRET".to_owned(), value),
        (None, None) => {
            let path = flags.data.join("master.secret");
            (path.display().to_string(), kept_secret(&path, faults)?)
        }
    };
    let master = MasterSecret::parse(&text);
    if let Err(weak) = &master {
        faults.push(format!("{origin}: {weak}."));
    }
    master.ok()
}

fn read_secret(path: &Path, faults: &mut Vec<String>) -> Option<Zeroizing<String>> {
    let read = fs::read_to_string(path).map(Zeroizing::new);
    read.map_err(|error| faults.push(format!("{}: {error}.", path.display()))).ok()
}

/// A secret that is made on first start and kept.
fn kept_secret(path: &Path, faults: &mut Vec<String>) -> Option<Zeroizing<String>> {
    if !path.exists() {
        let secret = random_secret();
        if let Err(error) = write_private(path, &secret) {
            faults.push(format!("{} cannot be written: {error}.", path.display()));
            return None;
        }
    }
    read_secret(path, faults).map(|text| Zeroizing::new(text.trim().to_owned()))
}

/// Writes a file for the owner only, whole or not at all.
///
/// # Errors
/// When the folder cannot be written.
pub(crate) fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(beside, path)
}

/// The most the database may hold, in bytes.
fn store_bytes(flags: &Flags) -> i64 {
    if let Some(mib) = flags.store_limit {
        return i64::from(mib) << 20;
    }
    // Where the size cannot be told there is no limit but the disk's own.
    rustix::fs::statvfs(&flags.data).map_or(i64::MAX, |disk| {
        let bytes = u128::from(disk.f_blocks) * u128::from(disk.f_frsize) * 4 / 5;
        i64::try_from(bytes).unwrap_or(i64::MAX)
    })
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn variable(name: &str) -> Option<Zeroizing<String>> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).map(Zeroizing::new)
}
