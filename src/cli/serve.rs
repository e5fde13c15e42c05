//! `switchhook serve`.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::failure::Failure;
use super::terminal::interrupted;
use crate::access::Tokens;
use crate::config::{self, Config, Flags, Unusable};
use crate::service::{Service, ServiceFault};
use crate::telemetry::logging::{self, LogFormat};
use crate::time::Clock;

/// Runs the router until it is told to end.
pub fn run(flags: &Flags) -> Result<(), Failure> {
    // The store holds bodies with secrets of LiveKit's: files are the owner's alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
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
    let (tokens, now) = (Tokens::new(&config.exposure.api_secret.text), clock.unix());
    let cert = config.exposure.api_tls.as_ref().map(|source| source.identity.cert.clone());
    let hooks = config.hooks.hooks.entries.len();
    let stdin = if flags.until_stdin_closes { Some(tokio::io::stdin()) } else { None };
    let ended = async {
        tokio::select! {
            () = interrupted() => {}
            () = closed(stdin) => {}
        }
    };
    let mut ended = std::pin::pin!(ended);
    // It may have to wait for its store.
    let service = tokio::select! {
        started = Service::start(config, clock) => started.map_err(|fault| cannot_run(&fault))?,
        () = &mut ended => return Ok(()),
    };
    leave_for_commands(&flags.data, service.api_address, cert.as_deref());
    if let Err(error) = config::leave_operator_token(&flags.data, &tokens, now) {
        tracing::warn!(%error, "operator.token is not renewed: commands use the one before, if there is one");
    }
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

/// Leaves behind where this router's API is, and the certificate it serves, if it does. Says what cannot be left: events
/// matter more.
fn leave_for_commands(data: &Path, address: SocketAddr, cert: Option<&str>) {
    let path = data.join(config::API_CERT);
    let url = match cert {
        Some(cert) => {
            if let Err(error) = leave(&path, cert) {
                tracing::warn!(%error, "api.cert is not written: commands may not trust this router's certificate");
            }
            format!("https://{address}")
        }
        None => {
            // There is none if the API never spoke TLS.
            let _ = std::fs::remove_file(path);
            address.to_string()
        }
    };
    if let Err(error) = leave(&data.join("api.address"), &url) {
        tracing::warn!(%error, url, "api.address is not written: commands find this router with --url alone");
    }
}

/// Writes what is not there yet: an ordinary restart needs no room on the disk.
fn leave(path: &Path, text: &str) -> std::io::Result<()> {
    match std::fs::read_to_string(path) {
        Ok(found) if found == text => Ok(()),
        _ => config::write_private(path, text),
    }
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
