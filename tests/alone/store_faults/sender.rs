//! A sender that behaves as LiveKit: a queue for each room, the next event only after the answer to the one
//! before, no time limit, four more tries on 5xx, and what is older than 30 s when its turn comes is dropped.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinSet;

use crate::world::{Process, livekit_token};

/// What is older when its turn comes is dropped (livekit/protocol, `resource_url_notifier.go`).
const MAX_AGE: Duration = Duration::from_secs(30);

/// What came of sending.
#[derive(Debug, Default)]
pub struct Sent {
    /// Ids of events that were dropped because they had waited for their turn too long.
    pub dropped: Vec<String>,
    /// Ids of events that were not acknowledged.
    pub refused: Vec<String>,
    /// The longest time until an answer.
    pub longest: Duration,
}

/// Sends these events, all of them due now.
pub async fn send(process: &Process, bodies: impl IntoIterator<Item = String>) -> Sent {
    let mut queues: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for body in bodies {
        queues.entry(queue(&body)).or_default().push(body);
    }
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let born = Instant::now();
    let url = format!("http://{}/webhook", process.address);
    let mut rooms = JoinSet::new();
    for bodies in queues.into_values() {
        rooms.spawn(send_room(client.clone(), url.clone(), bodies, born));
    }
    let mut all = Sent::default();
    while let Some(sent) = rooms.join_next().await {
        let Sent { dropped, refused, longest } = sent.expect("a room");
        all.dropped.extend(dropped);
        all.refused.extend(refused);
        all.longest = all.longest.max(longest);
    }
    all
}

async fn send_room(client: reqwest::Client, url: String, bodies: Vec<String>, born: Instant) -> Sent {
    let mut sent = Sent::default();
    for body in bodies {
        if born.elapsed() > MAX_AGE {
            sent.dropped.push(id(&body));
            continue;
        }
        let token = livekit_token(&body, switchhook::Clock::system().unix().seconds());
        let mut waits = [1, 2, 4, 8].into_iter();
        loop {
            let asked = Instant::now();
            let request = client.post(&url).header("authorization", &token).body(body.clone());
            let status = request.send().await.map(|answer| answer.status().as_u16());
            sent.longest = sent.longest.max(asked.elapsed());
            match (status, waits.next()) {
                (Ok(200), _) => break,
                (_, Some(wait)) => tokio::time::sleep(Duration::from_secs(wait)).await,
                (_, None) => {
                    sent.refused.push(id(&body));
                    break;
                }
            }
        }
    }
    sent
}

/// The queue LiveKit would send it by. Egress and ingress have queues of their own there; here they keep the
/// order of the recording, which the expected order is that of.
fn queue(body: &str) -> String {
    let event: Value = serde_json::from_str(body).expect("JSON");
    let names = [&event["room"]["name"], &event["egressInfo"]["roomName"], &event["ingressInfo"]["roomName"]];
    let room = names.into_iter().find_map(Value::as_str);
    room.or(event["id"].as_str()).expect("an id").to_owned()
}

fn id(body: &str) -> String {
    let event: Value = serde_json::from_str(body).expect("JSON");
    event["id"].as_str().expect("an id").to_owned()
}
