//! Secrets are written nowhere. Every test searches what its routers and commands write; here the search itself is
//! tried, and one router meets all kinds of secrets at once, with everything logged.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};

use crate::spec::world::secrets::{self, Kind};
use crate::spec::world::{
    Client, Issuer, KEY, Process, Reply, SECRET, Tenant, World, event, joined, sign, token_of,
};

const KINDS: [Kind; 10] = [
    Kind::LiveKitSecret,
    Kind::LiveKitToken,
    Kind::ApiSecret,
    Kind::ApiToken,
    Kind::MasterSecret,
    Kind::SigningSecret,
    Kind::HeaderValue,
    Kind::UrlQuery,
    Kind::BodyField,
    Kind::PrivateKey,
];

/// A text that nothing else writes.
fn random(name: &str) -> String {
    let random = tempfile::Builder::new().prefix("").rand_bytes(24).tempdir().expect("a folder");
    format!("{name}/{}", random.path().file_name().expect("a name").to_string_lossy())
}

#[test]
fn the_search_finds_every_kind_of_secret_in_every_form() {
    for kind in KINDS {
        let secret = random("leaked");
        secrets::register(kind, secret.as_bytes());
        let hexadecimal: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let forms = [
            ("as it is", format!("error: {secret} is wrong")),
            ("base64", format!("authorization: Basic {}", STANDARD.encode(format!("user:{secret}:x")))),
            ("base64url", URL_SAFE.encode(format!("a\u{ff}{secret}"))),
            ("hexadecimal", hexadecimal.to_uppercase()),
            ("hexadecimal", hexadecimal),
            ("percent-encoded", format!("GET /?token={}", secret.replace('/', "%2f"))),
        ];
        for (form, text) in forms {
            let leak = secrets::find(text.as_bytes(), &[]).unwrap_or_else(|| panic!("{kind:?} {form}"));
            // In base64url most texts are spelled as in base64.
            let same = leak.form == form || (form == "base64url" && leak.form == "base64");
            assert!(leak.kind == kind && same, "{leak:?} {form}");
            assert!(!leak.to_string().contains(&secret), "the report prints the secret");
            assert!(secrets::find(text.as_bytes(), &[kind]).is_none(), "{kind:?} is permitted here");
        }
    }
}

/// What a test would do whose router leaks this text into a file of its data directory.
fn is_found_in_a_file(name: &str, text: &str) -> bool {
    let data = tempfile::tempdir().expect("a folder");
    std::fs::write(data.path().join(name), text).expect("a file");
    std::panic::catch_unwind(|| secrets::search_data(data.path(), secrets::STORED)).is_err()
}

#[test]
fn a_leak_into_a_file_an_answer_a_log_line_or_a_commands_output_fails_the_test() {
    let secret = random("leaked");
    let hooks = format!("hooks:\n  - {{host: a.example, livekit: {{key: APIx, secret: {secret}}}}}\n");
    secrets::register_hooks(&hooks);
    assert!(is_found_in_a_file("switchhook.db-wal", &hooks));
    assert!(!is_found_in_a_file("api.secret", &hooks), "that file is there to hold a secret");
    assert!(std::panic::catch_unwind(|| secrets::search("GET /v1/hooks", &hooks, &[])).is_err());
    secrets::note(&format!("a line with a {}", secrets::DELIBERATE), &hooks);
    let noted = secrets::noted(|leak| leak.contains(secrets::DELIBERATE));
    assert_eq!(noted.len(), 1, "{noted:?}");
    let url = "https://a.example/?token=the-token-of-a-leaked-url";
    secrets::register_spec(&json!({ "url": url }));
    assert!(secrets::find(url.as_bytes(), &[]).is_some());
    assert!(is_found_in_a_file("switchhook.db", url));
}

/// Everything secret that a hook may have.
struct Hidden {
    livekit: String,
    livekit_sign: String,
    header: String,
    query: String,
    signing: String,
}

impl Hidden {
    fn new() -> Self {
        let [livekit, livekit_sign, header, query] = ["livekit", "sign", "header", "query"].map(random);
        let signing = format!("whsec_{}", STANDARD.encode(random("signing").repeat(2).split_at(40).0));
        Self { livekit, livekit_sign, header, query, signing }
    }

    /// The hook, as the API takes it.
    fn spec(&self, url: &str, key: &str) -> Value {
        json!({
            "url": format!("{url}?token={}", self.query),
            "tenant": key.to_lowercase(),
            "secret": self.signing,
            "headers": { "x-api-key": self.header },
            "livekit": { "key": key, "secret": self.livekit },
            "livekit_sign": { "key": key, "secret": self.livekit_sign },
            "sign": ["standard", "livekit"],
            "redact": ["room.turnPassword"],
            "retry": { "initial": "100ms" },
        })
    }
}

/// A hooks file is YAML, and JSON is YAML.
fn file(host: &str, mut hook: Value) -> String {
    hook["host"] = json!(host);
    json!({ "hooks": [hook] }).to_string()
}

/// An event that names its room's password for TURN.
fn with_password(body: &str) -> String {
    let body = body.replace(r#""room":{"#, &format!(r#""room":{{"turnPassword":"{}","#, random("turn")));
    secrets::register_body(&body);
    body
}

/// What an operator asks, of all tenants' things.
const QUESTIONS: [&str; 10] = [
    "/metrics",
    "/v1/hooks",
    "/v1/hooks/calls.acme.example",
    "/v1/hooks/voice.acme.example",
    "/v1/usage",
    "/v1/deliveries",
    "/v1/calls",
    "/v1/calls/RM_EV_1",
    "/v1/audit",
    "/v1/now",
];

/// A router whose events come over TLS, and which logs all that it and its libraries can.
struct Talkative {
    process: Process,
    livekit: reqwest::Client,
}

impl Talkative {
    fn start(world: &World) -> Self {
        let issuer = Issuer::new();
        let [cert, key] = issuer.issue_to(world.dir.path(), "events");
        let tls = [
            ("SWITCHHOOK_TLS_CERT", &*cert),
            ("SWITCHHOOK_TLS_KEY", &*key),
            ("SWITCHHOOK_LOG_LEVEL", "trace"),
        ];
        Self { process: Process::start_with(world, &tls), livekit: issuer.client() }
    }

    async fn post(&self, path: &str, body: &str, token: &str) -> u16 {
        let request = self.livekit.post(format!("https://{}{path}", self.process.address));
        let request = request.header("authorization", token).body(body.to_owned());
        request.send().await.expect("an answer").status().as_u16()
    }

    /// Waits until this was logged of an event, or of anything.
    async fn logs(&self, message: &str, id: Option<&str>) {
        let of = |line: &Value| id.is_none_or(|id| line["event_id"] == id);
        self.process
            .line(|line| of(line) && line["msg"].as_str().is_some_and(|msg| msg.contains(message)))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_logs_everything_writes_no_secret_of_any_kind() {
    let (of_file, of_api) = (Hidden::new(), Hidden::new());
    let tenant =
        Tenant::answering([Reply::Status(500), Reply::With(503, "retry-after", "0".to_owned())]).await;
    let mut world = World::with(&[]).await;
    world.stop().await;
    world.hooks(&file("calls.acme.example", of_file.spec(&tenant.url(), "APIacme")));
    let router = Talkative::start(&world);
    let operator = Client::of_process(&world, &router.process);
    let hook = of_api.spec("http://127.0.0.1:9/", "APIvoice");
    let put = operator.put("/v1/hooks/voice.acme.example", &hook).await;
    assert_eq!(put.status, 201, "{}", put.body);

    let now = world.clock.unix().seconds();
    for (id, host) in [("EV_1", "calls.acme.example"), ("EV_2", "voice.acme.example"), ("EV_3", "no.example")]
    {
        let body = with_password(&joined(id, id, host));
        assert_eq!(router.post("/webhook", &body, &token_of(KEY, SECRET, &body, now)).await, 200);
    }
    let own = event("EV_4", "room_started", "own");
    let token = token_of("APIacme", &of_file.livekit, &own, now);
    assert_eq!(router.post("/webhook/livekit/apiacme", &own, &token).await, 200);
    // A token that is refused is a secret, too: it may be valid elsewhere.
    let late = sign(&json!({ "iss": KEY, "nbf": 1, "exp": 2 }), SECRET);
    assert_eq!(router.post("/webhook", &own, &late).await, 401);
    router.logs("delivered", Some("EV_1")).await;
    router.logs("attempt failed", Some("EV_2")).await;

    for path in QUESTIONS {
        assert_eq!(operator.get(path).await.status, 200, "{path}");
    }
    for action in ["pause", "resume", "test"] {
        let path = format!("/v1/hooks/voice.acme.example/{action}");
        assert_eq!(operator.post(&path, &json!({})).await.status, 200, "{action}");
    }
    let explained = operator.post("/v1/explain", &json!({ "x_to_ip": "calls.acme.example" })).await;
    assert_eq!(explained.body["outcome"], "routed", "{}", explained.body);
    assert!(!are_queries_found_in(&world.path("data")));
    refuses(&world, &router, &operator, of_file.spec("ftp://a.example/", "APIacme")).await;
}

/// Whether a data directory holds a query of a URL, or anything else that is secret.
fn are_queries_found_in(data: &std::path::Path) -> bool {
    std::panic::catch_unwind(|| secrets::search_data(data, &[Kind::BodyField])).is_err()
}

/// Neither a table with faults nor a refused edit is answered with the secrets beside the faults.
async fn refuses(world: &World, router: &Talkative, operator: &Client, mut hook: Value) {
    hook["colour"] = json!("red");
    world.hooks(&file("calls acme", hook.clone()));
    router.logs("not reloaded", None).await;
    assert_eq!(operator.put("/v1/hooks/more.acme.example", &hook).await.status, 422);
}
