//! `switchhook serve`.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use super::failure::Failure;
use super::terminal::interrupted;
use crate::access::{Claims, Tokens};
use crate::config::{self, Config, Flags, Unusable};
use crate::service::{Service, ServiceFault};
use crate::telemetry::logging::{self, LogFormat};
use crate::time::Clock;

/// How long the operator's token of the data directory is valid; each start makes a new one.
const OPERATOR_VALIDITY: Duration = Duration::from_secs(365 * 24 * 3600);

/// Runs the router until it is told to end.
pub fn run(flags: &Flags) -> Result<(), Failure> {
    // The store holds bodies with secrets of LiveKit's: files are the owner's alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    raise_file_limit();
    let config = config::load(flags).map_err(|unusable| cannot_start(&unusable))?;
    let clock = Clock::system();
    let format = flags.log.unwrap_or_else(LogFormat::fitting);
    let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let flush = logging::start(format, flags.log_level, color, clock.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.workers)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start\n  {error}")))?;
    let served = runtime.block_on(serve(flags, config, clock));
    // A name look-up that hangs must not delay the end of the process.
    runtime.shutdown_timeout(Duration::from_millis(200));
    drop(flush);
    served
}

async fn serve(flags: &Flags, config: Config, clock: Clock) -> Result<(), Failure> {
    let now = clock.unix();
    let claims = Claims::operator(now, now.after(OPERATOR_VALIDITY));
    let token = Tokens::new(&config.api_secret).sign(&claims).unwrap_or_default();
    let hooks = config.hooks.hooks.entries.len();
    let stdin = if flags.until_stdin_closes { Some(tokio::io::stdin()) } else { None };
    let ended = async {
        tokio::select! {
            () = interrupted() => {}
            () = closed(stdin) => {}
        }
    };
    let service = Service::start(config, clock).await.map_err(|fault| cannot_run(&fault))?;
    leave_address(&flags.data, &token, &service.api_address.to_string())?;
    if flags.dev {
        tracing::warn!(
            "DEVELOPMENT MODE: keys devkey/secret, plain http, loopback only. Not for production."
        );
    }
    tracing::info!(
        listen = %service.address, api = %service.api_address, hooks,
        version = env!("CARGO_PKG_VERSION"), "ready"
    );
    if hooks == 0 {
        tracing::warn!("the hook table is empty: every event will be unrouted");
    }
    let served = service.run_until(ended).await;
    served.map_err(|fault| cannot_run(&fault))?;
    tracing::info!("stopped");
    Ok(())
}

/// Ends when the other end of standard input is closed.
async fn closed(stdin: Option<tokio::io::Stdin>) {
    let Some(mut stdin) = stdin else { return std::future::pending().await };
    // Input is ignored; a read error counts as the end, too.
    let _ = tokio::io::copy(&mut stdin, &mut tokio::io::sink()).await;
}

/// Leaves behind what commands need to speak to this router.
fn leave_address(data: &Path, token: &str, address: &str) -> Result<(), Failure> {
    for (name, text) in [("operator.token", token), ("api.address", address)] {
        config::write_private(&data.join(name), text).map_err(|error| {
            Failure::configuration(format!("cannot start\n  {}: {error}", data.display()))
        })?;
    }
    Ok(())
}

fn cannot_start(unusable: &Unusable) -> Failure {
    let faults: Vec<_> = unusable.0.iter().map(|fault| format!("  {fault}")).collect();
    Failure::configuration(format!("cannot start\n{}", faults.join("\n")))
}

fn cannot_run(fault: &ServiceFault) -> Failure {
    match fault {
        ServiceFault::Ended(_) => Failure::new(fault.to_string()),
        _ => Failure::new(format!("cannot start\n  {fault}")),
    }
}

/// Connections in and out need more file descriptors than many systems give at first.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If the limit cannot be raised, fewer connections are possible.
    let _ = setrlimit(Resource::Nofile, limit);
}
