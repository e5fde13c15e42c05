//! `switchhook hooks test`: test events, and what the hook's receiver answers.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::cli::failure::Failure;
use crate::cli::remote::client::Router;
use crate::cli::terminal::{columns, counted, plain, say, say_json, shorten};
use crate::wire::{SampleKind, TestAnswer, TestRequest, TrialEvent};

/// Which hook is tested, and with what.
#[derive(clap::Args)]
pub struct Flags {
    /// The hook's host
    host: String,
    /// A whole recorded call of this kind, in order, instead of one event
    #[arg(long, value_name = "KIND", value_parser = kinds())]
    call: Option<SampleKind>,
    /// One JSON object instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    router: Router,
}

fn kinds() -> impl TypedValueParser<Value = SampleKind> {
    let names = ["answered", "unanswered", "with_agent", "recorded", "transferred"];
    PossibleValuesParser::new(names).map(|name| match &*name {
        "answered" => SampleKind::Answered,
        "unanswered" => SampleKind::Unanswered,
        "with_agent" => SampleKind::WithAgent,
        "recorded" => SampleKind::Recorded,
        _ => SampleKind::Transferred,
    })
}

/// Sends, and prints each answer. Exit code 1 if not all were delivered.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    let Flags { host, call, json, router } = flags;
    let request = TestRequest { call };
    let tested: TestAnswer = router.post(&["v1", "hooks", &host, "test"]).json(&request).answer().await?;
    if json {
        say_json(&tested);
    } else {
        tell(&tested);
    }
    if tested.delivered { Ok(()) } else { Err(Failure::silent()) }
}

fn tell(tested: &TestAnswer) {
    let heading = ["event id", "event", "result", "latency", "answer"];
    columns(heading, tested.events.iter().map(row), &[3]).iter().for_each(say);
    let (host, all) = (plain(&tested.host), counted(tested.events.len(), "test event"));
    let delivered = tested.events.iter().filter(|event| is_delivered(event)).count();
    if tested.delivered {
        say(format_args!("\n{all} sent to {host}: delivered"));
    } else {
        say(format_args!(
            "\n{all} for {host}: {delivered} delivered. Only an answer of 2xx within its timeout counts."
        ));
    }
}

fn is_delivered(event: &TrialEvent) -> bool {
    event.status.is_some_and(|status| (200..300).contains(&status))
}

fn row(event: &TrialEvent) -> [String; 5] {
    let (result, latency) = match (event.status, &event.error) {
        (Some(status), _) => (status.to_string(), milliseconds(event)),
        (None, Some(error)) => (plain(error), milliseconds(event)),
        (None, None) => ("not sent".to_owned(), "-".to_owned()),
    };
    let answer = event.answer.as_deref().unwrap_or_default();
    let answer = answer.split_whitespace().collect::<Vec<_>>().join(" ");
    [shorten(&event.id, 32), shorten(&event.event, 26), result, latency, beginning(&answer)]
}

fn milliseconds(event: &TrialEvent) -> String {
    format!("{:.1} ms", event.latency_ms)
}

/// So much of an answer is shown, in characters; `--json` has more.
const ANSWER: usize = 60;

fn beginning(answer: &str) -> String {
    let answer = plain(answer);
    let shown: String = answer.chars().take(ANSWER).collect();
    if shown.len() < answer.len() { format!("{shown}…") } else { shown }
}
