//! Text of callers steers no terminal, breaks no line and adds no header, wherever it is shown.

use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use switchhook::Clock;

use crate::spec::world::{KEY, PATIENCE, SECRET, Tenant, World, livekit_token, searched, table, token_of};

/// Moves the cursor, ends lines, begins a header and a line of the log, and writes backwards.
const HOSTILE: &str = "\u{1b}[2J\r\nx-evil: 1\n{\"msg\":\"fake\"}\u{9b}31m\u{85}\u{7f}\u{61c}\u{200b}\u{200e}\u{2028}\
                       \u{202e}\u{2060}\u{2066}\u{feff}\u{ad}\u{180e}\u{3164}\u{fff9}\u{e0041}\t%0a\"<>";

fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}')
        || matches!(c, '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}')
        || matches!(c, '\u{e0000}'..='\u{e0fff}')
}

/// No character of a text acts on the screen, and no line is one of the caller's.
fn is_harmless(told: &str, by: &str) {
    assert!(!told.chars().any(|c| c != '\n' && is_hostile(c)), "{by}: {told:?}");
    let forged = |line: &str| line.starts_with("x-evil") || line.starts_with("{\"msg\":\"fake\"");
    assert!(!told.lines().any(forged), "{by}: {told}");
}

/// An event whose caller wrote hostile text into everything but `x_to_ip` and `to`.
fn event(number: usize, x_to_ip: &str, to: &str) -> Value {
    let hostile = format!("{HOSTILE}{number}");
    json!({
        "event": format!("participant_joined{HOSTILE}"), "id": hostile,
        "room": { "sid": format!("RM_{hostile}"), "name": hostile },
        "participant": {
            "sid": hostile, "identity": hostile, "name": hostile, "kind": "SIP",
            "attributes": {
                "sip.ruleID": hostile, "sip.trunkID": hostile, "sip.trunkPhoneNumber": hostile,
                "sip.phoneNumber": hostile, "sip.hostname": hostile, "sip.callID": hostile,
                "sip.h.x-to-ip": x_to_ip, "sip.h.to": to, "sip.h.from": hostile, hostile.clone(): hostile,
            },
        },
    })
}

/// Each event, and whether a tenant gets it.
fn events() -> Vec<(String, bool)> {
    let named = format!("\"{HOSTILE}\" <sip:{HOSTILE}@b.example;{HOSTILE}>");
    vec![
        (event(1, "a.example", HOSTILE).to_string(), true),
        (event(2, HOSTILE, &named).to_string(), false),
        (event(3, &format!("sip:1@{HOSTILE}.example"), HOSTILE).to_string(), false),
        (event(4, "c.example", &named).to_string(), false),
        (event(5, "dead.example", &named).to_string(), false),
    ]
}

/// A router as a process that logs in `format`.
struct Logging {
    child: Child,
    address: String,
}

impl Logging {
    async fn start(world: &World, format: &str) -> Self {
        let log = std::fs::File::create(world.path("log")).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchhook"));
        command.arg("serve").args(world.args()).args(["--log", format, "--log-level", "debug"]).stdout(log);
        let child = command.spawn().expect("switchhook");
        let mut started = Self { child, address: String::new() };
        let began = Instant::now();
        while started.address.is_empty() {
            assert!(began.elapsed() < PATIENCE, "{}", log_of(world));
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            let log = log_of(world);
            let ready = log.lines().find(|line| line.contains("ready") && line.contains("listen"));
            let at = ready.and_then(|line| line.split("listen").nth(1)?.split("127.0.0.1:").nth(1));
            let port = at.map(|at| at.chars().take_while(char::is_ascii_digit).collect::<String>());
            started.address = port.map(|port| format!("127.0.0.1:{port}")).unwrap_or_default();
        }
        started
    }

    async fn post(&self, body: String, token: String) -> u16 {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let request = client.post(format!("http://{}/webhook", self.address)).header("authorization", token);
        request.body(body).send().await.expect("an answer").status().as_u16()
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log_of(world: &World) -> String {
    std::fs::read_to_string(world.path("log")).expect("the log")
}

/// What a command prints, on both outputs.
fn said(world: &World, args: &[&str]) -> (String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchhook"));
    let output = command.args(args).current_dir(world.dir.path()).stdin(Stdio::null()).output();
    let output = searched(args, output.expect("switchhook"));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (text(output.stdout), text(output.stderr))
}

/// A router that has had all of the events, and logged what became of them.
async fn after_the_events(format: &str) -> (World, Tenant, Logging) {
    let tenant = Tenant::open().await;
    let dead = "  - host: dead.example\n    url: http://127.0.0.1:1/\n    retry: {max_age: 1s}\n";
    let hooks = table(&[("a.example", &tenant)]) + dead;
    let mut world = World::at(Clock::system(), &hooks, &[]).await;
    world.stop().await;
    let router = Logging::start(&world, format).await;
    let now = Clock::system().unix().seconds();
    for (body, _) in events() {
        let token = livekit_token(&body, now);
        assert_eq!(router.post(body, token).await, 200);
    }
    let forged = token_of(&format!("{KEY}{HOSTILE}"), SECRET, "{}", now);
    assert_eq!(router.post("{}".to_owned(), forged).await, 401);
    // Half of a character, which no text can hold: kept as unrouted, unreadable.
    let half = events()[0].0.replace("a.example", "\\ud800");
    let token = livekit_token(&half, now);
    assert_eq!(router.post(half, token).await, 200);
    tenant.wait_for(events().iter().filter(|(_, routed)| *routed).count()).await;
    let began = Instant::now();
    let has_all = |log: String| log.contains("delivered") && log.contains("dead letter");
    while !has_all(log_of(&world)) {
        assert!(began.elapsed() < PATIENCE, "{}", log_of(&world));
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    (world, tenant, router)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_for_people_shows_what_a_caller_wrote_and_does_not_obey_it() {
    let (world, _tenant, _router) = after_the_events("text").await;
    let log = log_of(&world);
    is_harmless(&log, "the log");
    let time = |line: &str| line.split(' ').next().is_some_and(|at| at.parse::<jiff::Timestamp>().is_ok());
    assert!(log.lines().all(time), "{log}");
    assert!(log.contains("\\u{1b}[2J") && log.contains("\\u{202e}"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_for_programs_has_the_very_text_and_no_character_that_acts() {
    let (world, _tenant, _router) = after_the_events("json").await;
    let log = log_of(&world);
    is_harmless(&log, "the log");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let room = format!("{HOSTILE}1");
    assert!(lines.iter().any(|line| line["room"] == room.as_str()), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_header_of_a_delivery_is_a_callers() {
    let (_world, tenant, _router) = after_the_events("json").await;
    let received = &tenant.received()[0];
    assert!(received.headers.get("x-evil").is_none());
    assert!(received.id().len() == 64 && received.id().bytes().all(|byte| byte.is_ascii_hexdigit()));
    let call = received.header("switchhook-call");
    assert!(call.starts_with("RM_%1B[2J%0D%0Ax-evil:%201%0A"), "{call}");
    assert!(received.header("switchhook-event").starts_with("participant_joined%1B"));
    for (name, value) in &received.headers {
        let text = value.to_str().unwrap_or_else(|_| panic!("{name}: {value:?}"));
        assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{name}: {text}");
    }
}

/// What is asked, whether of a router or not, of everything a caller wrote.
fn questions(room: &str, id: &str, file: &str) -> Vec<Vec<String>> {
    let shown: [&[&str]; 15] = [
        &["calls"],
        &["calls", room],
        &["unrouted"],
        &["events", id],
        &["events", room],
        &["deliveries"],
        &["deliveries", room],
        &["replay", room, "--yes"],
        &["replay", "--unrouted", "--reason", room, "--dry-run"],
        &["audit", "--tenant", room],
        &["hooks", room],
        &["explain", file],
        &["explain", "--x-to-ip", room, "--to", room, "--number", room],
        &["check", "hostile.yaml"],
        &["check", room],
    ];
    shown.iter().map(|args| args.iter().map(ToString::to_string).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_obeys_what_a_caller_wrote() {
    let (world, tenant, router) = after_the_events("json").await;
    let (room, id) = (format!("RM_{HOSTILE}1"), tenant.ids()[0].clone());
    let written = json!({ "hooks": [{ "host": HOSTILE, "url": HOSTILE, HOSTILE: HOSTILE }] });
    std::fs::write(world.path("hostile.yaml"), written.to_string()).expect("a file");
    let mut shown = String::new();
    for (number, (body, _)) in events().into_iter().enumerate() {
        let file = format!("event{number}.json");
        std::fs::write(world.path(&file), body).expect("a file");
        for args in questions(&room, &id, &file) {
            let mut args: Vec<_> = args.iter().map(String::as_str).collect();
            let (out, aside) = said(&world, &args);
            is_harmless(&out, &args.join(" "));
            is_harmless(&aside, &args.join(" "));
            shown += &out;
            args.push("--json");
            let (out, aside) = said(&world, &args);
            is_harmless(&(out.clone() + &aside), &args.join(" "));
            assert!(out.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{args:?}: {out}");
            // After the first event only the explanations differ.
            if number > 0 && args[0] != "explain" {
                break;
            }
        }
    }
    assert!(shown.contains("\\u{1b}[2J") && shown.contains("\\u{202e}"), "{shown}");
    assert!(said(&world, &["events", &id]).0.contains("delivered"));
    assert!(said(&world, &["deliveries"]).0.contains("particip"));
    let (out, aside) = said(&world, &["calls", &room, "--json"]);
    let call: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out} {aside}"));
    assert_eq!(call["call"]["call"], room.as_str());
    sends_and_mistakes(&world, &router);
}

/// What is posted, and arguments that are none.
fn sends_and_mistakes(world: &World, router: &Logging) {
    let recorded = events().into_iter().map(|(body, _)| {
        json!({ "at": 0.0, "posted": "t", "authorization": HOSTILE, "body": body }).to_string() + "\n"
    });
    std::fs::write(world.path("recorded.jsonl"), recorded.collect::<String>()).expect("a file");
    let url = format!("http://{}/webhook", router.address);
    for args in [
        vec!["send", "recorded.jsonl", "--url", &url, "--key", KEY, "--secret", SECRET],
        vec!["send", "recorded.jsonl", "--url", &url, "--key", KEY, "--secret", "wrong"],
        vec!["send", HOSTILE],
        vec!["send", "--speed", HOSTILE],
        vec![HOSTILE],
        vec!["explain", HOSTILE],
        vec!["explain", "event0.json", "--hooks", HOSTILE],
        vec!["token", "--tenant", HOSTILE, "--trunk", HOSTILE],
    ] {
        let (out, aside) = said(world, &args);
        assert!(!out.is_empty() || !aside.is_empty(), "{args:?}");
        is_harmless(&(out + &aside), &args.join(" "));
    }
}
