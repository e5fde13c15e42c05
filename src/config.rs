//! Settings: flags, each also an environment variable, composed into every module's own Config.
//! The only place that reads the environment. Every fault is reported, not only the first.

mod data;
mod environment;
mod flags;
mod hooks_file;
mod reach;
mod tls;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

pub(crate) use self::data::{
    API_CERT, ApiSecret, api_secret, leave_operator_token, lock_data, lock_to_read, master_secret,
    write_private,
};
pub(crate) use self::flags::{Fallback, Flags};
pub(crate) use self::hooks_file::{HooksSource, around, around_anything, check_hooks, read_hooks};
pub(crate) use self::reach::network_of;
pub(crate) use self::tls::{Identity, TlsFiles, TlsSource};

use self::data::{Secrets, data_directory};
use self::environment::variable;
use crate::dispatch::{self, Reach};
use crate::domain::Domain;
use crate::ingress::{ApiKeys, BodyLimits};
use crate::outbox::{self, Retention};
use crate::signature::MasterSecret;

/// What a router is built from.
pub struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) api_listen: SocketAddr,
    /// Connections each listener serves at once.
    pub(crate) connections: usize,
    pub(crate) limits: BodyLimits,
    pub(crate) keys: KeysSource,
    pub(crate) hooks: HooksSource,
    pub(crate) reach: Reach,
    pub(crate) outbox: outbox::Config,
    pub(crate) dispatch: dispatch::Config,
    pub(crate) master: MasterSecret,
    pub(crate) exposure: Exposure,
    pub(crate) metrics_open: bool,
    /// Threads of the asynchronous runtime.
    pub(crate) workers: usize,
    /// Keeps other routers off the data directory for as long as it lives.
    pub(crate) lock: fs::File,
}

/// What the listeners are protected with.
pub(crate) struct Exposure {
    pub(crate) api_secret: ApiSecret,
    /// Names the API is asked by.
    pub(crate) api_hosts: Vec<Domain>,
    /// The certificate of the events' listener.
    pub(crate) tls: Option<TlsSource>,
    /// The certificate of the API's listener.
    pub(crate) api_tls: Option<TlsSource>,
}

/// Where the platform's API keys come from.
#[derive(Default)]
pub(crate) struct KeysSource {
    /// From the environment and `--dev`: they stay.
    fixed: ApiKeys,
    /// The keys file and what it held.
    pub file: Option<(PathBuf, Zeroizing<String>)>,
}

impl KeysSource {
    /// All keys there are with these in the file.
    pub fn with_file(&self, file: ApiKeys) -> ApiKeys {
        let mut all = self.fixed.clone();
        all.extend(file);
        all
    }

    /// All keys there were at the start.
    pub fn all(&self) -> ApiKeys {
        let file = self.file.as_ref().and_then(|(_, text)| ApiKeys::parse(text).ok());
        self.with_file(file.unwrap_or_default())
    }
}

/// The settings cannot be used: everything that is wrong with them.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Unusable(pub(crate) Vec<String>);

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
    let reach = reach::at_start(flags, &mut faults);
    let keys = keys(flags, &mut faults);
    let api_hosts = api_hosts(flags, &mut faults);
    let [tls, api_tls] = tls::at_start(&flags.tls, &mut faults);
    let secrets = data_directory(flags, &mut faults);
    let platform = keys.all();
    let around = around(&flags.hooks, reach.network.clone()).beside_keys(move |key| platform.has(key));
    let hooks =
        hooks_file::at_start(flags, &around, secrets.as_ref().map(|secrets| &secrets.master), &mut faults);
    match (faults.is_empty(), secrets, hooks) {
        (true, Some(Secrets { master, api_secret, lock }), Some(hooks)) => Ok(Config {
            listen,
            api_listen: flags.api_listen,
            connections: usize::from(flags.connections),
            limits: BodyLimits::default(),
            keys,
            hooks,
            reach,
            outbox: outbox::Config {
                directory: flags.data.clone(),
                to_fallback: flags.fallback.to_fallback,
                hold: flags.hold,
                patience: flags.patience,
                memory_room: usize::from(flags.memory_queue) << 20,
                retention: Retention {
                    store_bytes: store_bytes(flags),
                    facts: flags.keep_facts,
                    ..Retention::default()
                },
            },
            dispatch: dispatch::Config::default(),
            master,
            exposure: Exposure { api_secret, api_hosts, tls, api_tls },
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

fn api_hosts(flags: &Flags, faults: &mut Vec<String>) -> Vec<Domain> {
    let hosts = flags.api_host.iter().filter_map(|host| {
        let domain = Domain::from_host(host);
        domain
            .map_err(|invalid| faults.push(format!("--api-host {host}: it is no host name: {invalid}.")))
            .ok()
    });
    hosts.collect()
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

/// The platform's LiveKit keys, from the environment, the keys file and `--dev`.
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
        match ApiKeys::parse(&text) {
            Ok(keys) => source.fixed.extend(keys),
            Err(found) => faults.push(hooks_file::list("LIVEKIT_KEYS", &found)),
        }
    }
    if let Some(path) = keys_file {
        match fs::read_to_string(path).map(Zeroizing::new) {
            Ok(text) => match ApiKeys::parse(&text) {
                Ok(_) => source.file = Some((path.to_path_buf(), text)),
                Err(found) => faults.push(hooks_file::list(&path.display().to_string(), &found)),
            },
            Err(error) => faults.push(format!("--keys-file {}: {error}", path.display())),
        }
    }
    source
}

/// The most the database may hold, in bytes.
fn store_bytes(flags: &Flags) -> i64 {
    if let Some(mib) = flags.store_limit {
        return i64::from(mib) << 20;
    }
    // If the file system's size is unknown, only the disk limits the store.
    rustix::fs::statvfs(&flags.data).map_or(i64::MAX, |disk| {
        let bytes = u128::from(disk.f_blocks) * u128::from(disk.f_frsize) * 4 / 5;
        i64::try_from(bytes).unwrap_or(i64::MAX)
    })
}
