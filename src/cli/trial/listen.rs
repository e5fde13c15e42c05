//! `switchhook listen`.

mod follow;
mod from;
mod receiver;
mod sse;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use reqwest::Url;

use self::receiver::{Handled, Receiver};
use crate::cli::failure::Failure;
use crate::cli::remote::client;
use crate::cli::terminal::{interrupted, say};
use crate::signature::Secret;
use crate::time::Clock;
use crate::wire::TenantSecrets;

/// Receives as a tenant does: verifies the signature, prints one line per delivery, answers.
#[derive(clap::Args)]
pub struct Flags {
    /// Receive what is delivered from now on through the API of this router instead, such as
    /// `https://switchhook.example:7891`: nothing needs to reach this machine, and deliveries go on as always
    #[arg(long, value_name = "URL", conflicts_with_all = ["listen", "status", "fail_first"])]
    from: Option<Url>,
    /// Where to listen; any path is taken
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9101")]
    listen: SocketAddr,
    /// What deliveries are signed with; may be repeated
    #[arg(long, env = "SWITCHHOOK_SECRET", hide_env_values = true, value_name = "whsec_…")]
    secret: Vec<String>,
    /// Ask the running router for this tenant's secret instead; with --from, only this tenant's events
    #[arg(long)]
    tenant: Option<String>,
    /// Pass deliveries on to this URL and answer as it does
    #[arg(long, value_name = "URL")]
    forward: Option<Url>,
    /// Answer with this status
    #[arg(long, value_name = "STATUS", default_value = "200", value_parser = clap::value_parser!(u16).range(200..=599))]
    status: u16,
    /// Answer the first so many with 500, to see them come again
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    fail_first: u32,
    /// One JSON object per delivery instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    router: client::Router,
}

/// How long whoever it is passed on to may take to answer: as long as a router waits for a hook.
const ANSWER: Duration = Duration::from_secs(10);

/// The same of what comes from a stream, where somebody may look at it with a debugger.
const ANSWER_LATER: Duration = Duration::from_secs(300);

/// Receives until interrupted.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    let texts = match &flags.tenant {
        Some(_) if flags.from.is_none() && !flags.secret.is_empty() => {
            return Err(Failure::usage("--tenant asks for the secret that --secret gives: give one of them"));
        }
        Some(tenant) if flags.from.is_none() => secrets_of(&flags.router, tenant).await?,
        _ => flags.secret,
    };
    let secrets = texts.iter().map(|text| {
        Secret::parse(text).map_err(|fault| Failure::usage(format!("--secret is no signing secret: {fault}")))
    });
    let secrets = secrets.collect::<Result<Vec<_>, _>>()?;
    let answer = if flags.from.is_some() { ANSWER_LATER } else { ANSWER };
    let client = reqwest::Client::builder().no_proxy().timeout(answer).build();
    let client = client.map_err(|error| Failure::new(error.to_string()))?;
    let receiver = Receiver {
        secrets,
        forward: flags.forward.map(|url| (client, url)),
        status: StatusCode::from_u16(flags.status).unwrap_or(StatusCode::OK),
        to_fail: AtomicU32::new(flags.fail_first),
        json: flags.json,
        of_several: flags.from.is_some() && flags.tenant.is_none(),
        clock: Clock::system(),
    };
    match flags.from {
        Some(url) => {
            let mut router = flags.router;
            router.url = Some(url);
            from::receive(&router, flags.tenant, &receiver).await
        }
        None => serve(flags.listen, receiver).await,
    }
}

async fn serve(address: SocketAddr, receiver: Receiver) -> Result<(), Failure> {
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|error| Failure::new(format!("cannot listen on {address}: {error}")))?;
    let address = listener.local_addr().map_err(|error| Failure::new(error.to_string()))?;
    if !receiver.json {
        say(format_args!("listening on http://{address}/"));
        if receiver.secrets.is_empty() {
            say("no --secret and no --tenant: signatures are NOT verified");
        }
        receiver.say_heading();
    }
    let app = Router::new().fallback(receive).with_state(Arc::new(receiver));
    axum::serve(listener, app)
        .with_graceful_shutdown(interrupted())
        .await
        .map_err(|error| Failure::new(error.to_string()))
}

async fn secrets_of(router: &client::Router, tenant: &str) -> Result<Vec<String>, Failure> {
    let answer: TenantSecrets = router.get(&["v1", "tenants", tenant, "secret"]).answer().await?;
    Ok(answer.secrets.iter().map(|secret| secret.0.to_string()).collect())
}

async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let signature = receiver.verify(&headers, &body);
    let status = receiver.answer(signature, &headers, body).await;
    receiver.print(&headers, &Handled { signature, answer: Some(status), ..Handled::default() });
    status
}
