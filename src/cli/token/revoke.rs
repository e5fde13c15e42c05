//! `switchhook token revoke`: tokens that the running router refuses from now on.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde::Deserialize;

use crate::cli::failure::Failure;
use crate::cli::remote::client::Router;
use crate::cli::terminal::{confirmed, plain, say, say_json};
use crate::wire::Revoked;

/// Which tokens.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["jti", "tenant"]))]
pub struct Flags {
    /// The token's id, as `switchhook token` and `switchhook audit --json` tell it; or the token
    jti: Option<String>,
    /// All tokens of this tenant that were made before now
    #[arg(long)]
    tenant: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// One JSON object instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    router: Router,
}

/// Has the router refuse them, also after a restart.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    let Flags { jti, tenant, yes, json, router } = flags;
    // A whole token must not get into the audit log.
    let jti = jti.map(|jti| id_of(&jti).unwrap_or(jti));
    let (what, question) = match (&jti, &tenant) {
        (Some(jti), _) => {
            let what = format!("the token {}", plain(jti));
            (what, router.ask(Method::DELETE, &["v1", "tokens", jti]))
        }
        (None, tenant) => {
            let tenant = tenant.as_deref().unwrap_or_default();
            let what = format!("all tokens of {} that were made before now", plain(tenant));
            (what, router.post(&["v1", "tenants", tenant, "revoke"]))
        }
    };
    let warning = "Whoever uses one gets 401 at once, also after a restart, and for good: make another with \
                   `switchhook token`.";
    confirmed(&format!("Revoke {what}? {warning}"), yes)?;
    let revoked: Revoked = question.answer().await?;
    if json {
        say_json(&revoked);
    } else {
        say(format_args!("revoked: {what}"));
    }
    Ok(())
}

/// What is read of a token.
#[derive(Deserialize)]
struct Payload {
    jti: String,
}

/// The id of what is a whole token (RFC 7519).
fn id_of(token: &str) -> Option<String> {
    let payload = token.split('.').nth(1).filter(|_| token.split('.').count() == 3)?;
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice::<Payload>(&payload).ok().map(|payload| payload.jti)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_whole_token_only_the_id_is_sent() {
        let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(r#"{"jti":"Yq3c8uPd1k","exp":1}"#));
        assert_eq!(id_of(&token).as_deref(), Some("Yq3c8uPd1k"));
        for id in ["Yq3c8uPd1k", "a.b.c", "", "e30.e30.e30"] {
            assert_eq!(id_of(id), None, "{id}");
        }
    }
}
