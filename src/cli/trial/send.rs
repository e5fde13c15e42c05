//! `switchhook send`.

use std::path::PathBuf;

use serde_json::json;

use super::recording::{self, Posted, Sender, Sent, SignedWith, ms, percentiles};
use crate::cli::failure::Failure;
use crate::cli::terminal::{counted, plain, say, say_json, shorten};
use crate::signature::fill_random;
use crate::time::Clock;

/// Posts as LiveKit does: in order within a room, signed, and again after a 5xx.
///
/// With files: the recorded calls in them. Without: one `participant_joined` of an inbound call.
#[derive(clap::Args)]
pub struct Flags {
    /// Recordings (- for standard input): one JSON object with at, authorization and body a line
    files: Vec<PathBuf>,
    /// Where to
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7890/webhook")]
    url: String,
    /// LiveKit's API key
    #[arg(long, env = "LIVEKIT_API_KEY", default_value = "devkey")]
    key: String,
    /// Its secret
    #[arg(long, env = "LIVEKIT_API_SECRET", hide_env_values = true, default_value = "secret")]
    secret: String,
    /// Send the recorded tokens instead of signing anew
    #[arg(long)]
    as_recorded: bool,
    /// Give every event a new id, so that a router that knows the recording takes it again
    #[arg(long, conflicts_with = "as_recorded")]
    new_ids: bool,
    /// Let the recorded times pass, this many times as fast [default: as fast as answers come]
    #[arg(long, value_name = "FACTOR", value_parser = positive)]
    speed: Option<f64>,
    /// Of a single event: what the edge wrote, sip.h.x-to-ip
    #[arg(long, value_name = "VALUE", conflicts_with = "files")]
    x_to_ip: Option<String>,
    /// Of a single event: sip.h.to
    #[arg(long, value_name = "VALUE", conflicts_with = "files")]
    to: Option<String>,
    /// Of a single event: the number dialled
    #[arg(long, value_name = "NUMBER", conflicts_with = "files")]
    number: Option<String>,
    /// One JSON object per event instead
    #[arg(long)]
    json: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    let factor: f64 = text.parse().map_err(|_| "no number".to_owned())?;
    if factor.is_finite() && factor > 0.0 { Ok(factor) } else { Err("must be above 0".to_owned()) }
}

/// Sends and tells what was answered; succeeds if all of it was acknowledged.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    let mut posts = Vec::new();
    for path in &flags.files {
        let name = path.display().to_string();
        let read = match name.as_str() {
            "-" => std::io::read_to_string(std::io::stdin()),
            _ => std::fs::read_to_string(path),
        };
        let name = plain(&name);
        let text = read.map_err(|error| Failure::new(format!("{name}: {error}")))?;
        posts.extend(recording::read(&name, &text)?);
    }
    if flags.files.is_empty() {
        posts.push(single(&flags)?);
    }
    if flags.new_ids {
        posts.iter_mut().for_each(renew_id);
    }
    let signing = if flags.as_recorded {
        SignedWith::AsRecorded
    } else {
        SignedWith::Anew { key: flags.key.clone(), secret: flags.secret.clone() }
    };
    let (mut times, mut refused, mut count) = (Vec::new(), 0_usize, 0_usize);
    Sender::new(&flags.url, signing, flags.speed)?
        .send(posts, |sent| {
            count += 1;
            times.push(sent.took);
            refused += usize::from(!matches!(sent.outcome, Ok(200..=299)));
            tell(&sent, flags.json);
        })
        .await;
    let (p50, p99) = percentiles(&mut times);
    if !flags.json {
        let acknowledged = count - refused;
        say(format_args!(
            "\n {} sent, {acknowledged} acknowledged · p50 {} p99 {}",
            counted(count, "event"),
            ms(p50),
            ms(p99)
        ));
    }
    match refused {
        0 => Ok(()),
        refused => Err(Failure::new(format!("{refused} of {count} events were not acknowledged"))),
    }
}

fn tell(sent: &Sent, as_json: bool) {
    let (status, error) = match &sent.outcome {
        Ok(status) => (Some(*status), None),
        Err(error) => (None, Some(error.as_str())),
    };
    if as_json {
        return say_json(&json!({
            "event_id": sent.id, "event": sent.event, "room": sent.room, "status": status,
            "error": error, "reason": sent.reason, "tries": sent.tries, "latency_ms": sent.took.as_secs_f64() * 1000.0,
        }));
    }
    let answer = status.map_or_else(|| plain(error.unwrap_or_default()), |status| status.to_string());
    say(format_args!(
        "{:>7.2}  {:<30} {:<28} {answer:>4}  {:>8}{}",
        sent.at.as_secs_f64(),
        shorten(&sent.event, 30),
        shorten(&sent.room, 28),
        ms(sent.took),
        if sent.tries > 1 { format!("  {} tries", sent.tries) } else { String::new() },
    ));
    if let Some(reason) = &sent.reason {
        say(format_args!("{:>9}{} refused: {}", "", shorten(&sent.id, 40), plain(reason)));
    }
}

/// An inbound caller joins a room of its own.
fn single(flags: &Flags) -> Result<Posted, Failure> {
    let mut attributes = serde_json::Map::new();
    attributes.insert("sip.ruleID".into(), "SDR_example".into());
    attributes.insert("sip.trunkID".into(), "ST_example".into());
    let given =
        [("sip.h.x-to-ip", &flags.x_to_ip), ("sip.h.to", &flags.to), ("sip.trunkPhoneNumber", &flags.number)];
    for (name, value) in given {
        if let Some(value) = value {
            attributes.insert(name.into(), value.as_str().into());
        }
    }
    if attributes.len() == 2 {
        return Err(Failure::usage(
            "nothing to send: name recordings, or give --x-to-ip, --to or --number for one event",
        ));
    }
    let now = Clock::system().unix().seconds();
    let call = random_name();
    let body = json!({
        "event": "participant_joined",
        "room": { "sid": format!("RM_{call}"), "name": format!("call-{call}"), "creationTime": now.to_string() },
        "participant": {
            "sid": format!("PA_{call}"), "identity": "sip_+15550199", "state": "ACTIVE", "kind": "SIP",
            "attributes": attributes,
        },
        "id": format!("EV_{call}"),
        "createdAt": now.to_string(),
    });
    Ok(Posted { at: 0.0, authorization: String::new(), body: body.to_string() })
}

/// Replaces the event's id in the text, byte for byte the same length.
pub fn renew_id(post: &mut Posted) {
    let value: serde_json::Value = serde_json::from_str(&post.body).unwrap_or_default();
    if let Some(id) = value["id"].as_str() {
        post.body = post.body.replace(id, &format!("EV_{}", random_name()));
    }
}

/// Twelve letters and digits, as LiveKit's ids have behind their prefix.
pub fn random_name() -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0; 12];
    fill_random(&mut bytes);
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}
