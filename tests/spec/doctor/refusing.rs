//! The doctor before a LiveKit that refuses, is away, is something else, or has another time.

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::server::{INBOUND, LiveKit, OUTBOUND, Place, RULES};
use crate::spec::world::{Issuer, KEY, PATIENCE, SECRET};

const HOOKS: &str = "hooks:\n  - host: a.example\n    url: https://a.example/hook\n    trunks: [ST_gone]\n";

#[tokio::test(flavor = "multi_thread")]
async fn without_an_address_of_livekit_the_rest_is_checked() {
    let place = Place::with("hooks:\n  - host: a b\n    url: https://a.example/hook\n");
    let told = place.doctor(&[], &["--json"]).await;
    let expected =
        ["note router_not_running -", "problem hooks_file hooks.yaml", "warning livekit_not_asked -"];
    assert_eq!((told.code, told.brief()), (1, expected.map(str::to_owned).to_vec()));
    let what = told.only("hooks_file")["what"].to_string();
    assert!(what.contains("has 1 fault, such as 2:11 host"), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_neither_livekit_nor_a_router_is_asked_a_script_is_warned() {
    let told = Place::with(HOOKS).doctor(&[], &["--json"]).await;
    let expected = ["note router_not_running -", "warning livekit_not_asked -"];
    assert_eq!((told.code, told.brief()), (1, expected.map(str::to_owned).to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_whether_key_secret_or_right_is_missing() {
    let livekit = LiveKit::recorded().await;
    let (url, place) = (livekit.url(), Place::with(HOOKS));
    let wrong = [("LIVEKIT_URL", &*url), ("LIVEKIT_API_KEY", KEY), ("LIVEKIT_API_SECRET", "another secret")];
    let told = place.doctor(&wrong, &["--json"]).await;
    let what = told.only("livekit_secret_wrong")["what"].to_string();
    assert!(told.code == 1 && what.contains(&format!("a token of the key {KEY}")), "{what}");
    assert!(!told.out.contains("another secret"));

    // LiveKit 1.13 quotes the token in its answer.
    assert!(what.contains("invalid token: (our token), error: ") && !told.out.contains("eyJ"), "{what}");

    let told = place.doctor(&wrong[..1], &["--json"]).await;
    let what = told.only("livekit_not_asked")["what"].to_string();
    assert!(what.contains("no key to ask it with"), "{what}");

    livekit.answers(INBOUND, 401, r#"{"code":"unauthenticated","msg":"permissions denied"}"#);
    livekit.answers(OUTBOUND, 401, r#"{"code":"unauthenticated","msg":"permissions denied"}"#);
    livekit.answers(RULES, 403, "");
    let told = place.asks(&livekit, &["--json"]).await;
    let missing = told.only("livekit_right_missing");
    assert_eq!(
        (&missing["severity"], &missing["why"]),
        (&"problem".into(), &"its trunks and dispatch rules were not checked".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_keys_the_one_that_livekit_knows_is_used() {
    let livekit = LiveKit::recorded().await;
    let keys = format!("AAA: some-secret-of-another-livekit\n{KEY}: {SECRET}\nZZZ: some-secret\n");
    let variables = [("LIVEKIT_URL", &*livekit.url()), ("LIVEKIT_KEYS", &*keys)];
    let told = Place::with(HOOKS).doctor(&variables, &[]).await;
    assert!(told.out.contains("6 inbound trunks, 3 dispatch rules"), "{}", told.out);
    assert_eq!(livekit.asked().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_only_some_of_the_lists_the_rest_is_checked() {
    let place = Place::with(HOOKS);
    for (kept, expected) in
        [(INBOUND, "6 inbound trunks\n"), (OUTBOUND, "1 outbound trunk\n"), (RULES, "3 dispatch rules\n")]
    {
        let livekit = LiveKit::recorded().await;
        for path in [INBOUND, OUTBOUND, RULES] {
            if path != kept {
                livekit.answers(path, 401, r#"{"code":"unauthenticated","msg":"permissions denied"}"#);
            }
        }
        let told = place.asks(&livekit, &[]).await;
        assert!(told.out.contains(expected), "{}", told.out);
        let told = place.asks(&livekit, &["--json"]).await;
        let missing =
            told.brief().iter().filter(|line| line.starts_with("warning livekit_right_missing")).count();
        assert_eq!(missing, 2, "{}", told.out);
        // What needs two lists is not guessed from one.
        for check in ["trunk_unknown_to_livekit", "no_dispatch_rule", "trunk_does_not_exist"] {
            assert!(!told.out.contains(check), "{}", told.out);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_livekit_without_sip_and_what_is_no_livekit_are_told_apart() {
    let place = Place::with(HOOKS);
    let no_redis = r#"{"code":"internal","msg":"sip not connected (redis required)"}"#;
    let long = format!(r#"{{"items":["{}"]}}"#, "x".repeat(9 << 20));
    for (status, body, check, says) in [
        (404, "404 page not found", "livekit_without_sip", "has no SIP API"),
        (500, no_redis, "livekit_without_sip", "sip not connected (redis required)"),
        (501, r#"{"code":"unimplemented","msg":"no"}"#, "livekit_without_sip", "switched off"),
        (200, "<html>\u{1b}[2JWelcome</html>", "livekit_unreachable", "<html>"),
        (200, &long, "livekit_unreachable", "more than 8 MiB"),
        (302, "", "livekit_unreachable", "redirect"),
        (503, "", "livekit_fails", "answers 503: no reason given"),
    ] {
        let answers = [INBOUND, OUTBOUND, RULES].map(|path| (path, status, body));
        let livekit = LiveKit::answering(&answers).await;
        let told = place.asks(&livekit, &["--json"]).await;
        let what = told.only(check)["what"].as_str().unwrap_or_default().to_owned();
        assert!(told.code == 1 && what.contains(says), "{status}: {what}");
        assert!(!told.out.contains('\u{1b}'));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_livekit_that_is_away_costs_no_more_than_a_few_seconds() {
    let place = Place::with(HOOKS);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let silent = tokio::spawn(async move {
        // Takes connections, reads, and never answers.
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            open.push(tokio::spawn(async move { stream.read_to_end(&mut Vec::new()).await }));
        }
    });
    let variables =
        |url: &'static str| [("LIVEKIT_URL", url), ("LIVEKIT_API_KEY", KEY), ("LIVEKIT_API_SECRET", SECRET)];
    let began = Instant::now();
    let url: &'static str = format!("http://{address}").leak();
    let told = place.doctor(&variables(url), &["--json"]).await;
    assert_eq!(told.only("livekit_unreachable")["what"], "has not answered within 5 s");
    assert!(began.elapsed() < PATIENCE.min(Duration::from_secs(10)), "{:?}", began.elapsed());
    silent.abort();
    let _ = silent.await;
    let told = place.doctor(&variables(url), &["--json"]).await;
    let what = told.only("livekit_unreachable")["what"].to_string();
    assert!(what.contains("does not answer: ") && what.contains("refused"), "{what}");
    for url in ["wss://", "127.0.0.1:7880", "ftp://127.0.0.1"] {
        let told = place.doctor(&variables(url), &["--json"]).await;
        assert!(
            told.only("livekit_not_asked")["what"].to_string().contains("LIVEKIT_URL is no URL"),
            "{}",
            told.out
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_nobody_vouches_for_is_said() {
    let acceptor = Issuer::new().acceptor(b"http/1.1");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("wss://127.0.0.1:{}", listener.local_addr().expect("an address").port());
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    let variables = [("LIVEKIT_URL", &*url), ("LIVEKIT_API_KEY", KEY), ("LIVEKIT_API_SECRET", SECRET)];
    let told = Place::with(HOOKS).doctor(&variables, &["--json"]).await;
    let what = told.only("livekit_unreachable")["what"].to_string();
    assert!(what.contains("cannot be trusted: ") && what.contains("certificate"), "{what}");
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_clock_that_is_off_livekit_is_asked_all_the_same() {
    let place = Place::with(HOOKS);
    for (ahead, severity) in [(-45, "problem"), (20, "warning"), (-3600, "problem"), (3600, "problem")] {
        let livekit = LiveKit::recorded_ahead(ahead).await;
        let told = place.asks(&livekit, &["--json"]).await;
        let clock = told.only("clocks_differ");
        assert_eq!(clock["severity"], severity, "{ahead}: {clock}");
        // LiveKit's clock is ahead: ours is behind.
        let side = if ahead > 0 { "behind" } else { "ahead of" };
        assert!(clock["what"].to_string().contains(side), "{clock}");
        assert!(told.out.contains("maps_no_domain"), "{ahead}: {}", told.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_outlives_the_next_hours_whatever_time_livekit_claims() {
    let livekit = LiveKit::recorded_ahead(70 * 366 * 86_400).await;
    let told = Place::with(HOOKS).asks(&livekit, &["--json"]).await;
    let latest = switchhook::Clock::system().unix().seconds() + 2 * 3600;
    assert!(livekit.last_expiry() < latest, "{} {latest}", livekit.last_expiry());
    assert_eq!(told.only("livekit_refuses_the_time")["severity"], "problem");
    assert_eq!(told.only("clocks_differ")["severity"], "problem");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_in_an_address_is_not_printed() {
    let livekit = LiveKit::recorded().await;
    let with_password = livekit.url().replace("ws://", "ws://user:hunter2@");
    for url in [&*with_password, "ftp://user:hunter2@127.0.0.1", "user:hunter2@127.0.0.1"] {
        let variables = [("LIVEKIT_URL", url), ("LIVEKIT_API_KEY", KEY), ("LIVEKIT_API_SECRET", SECRET)];
        let place = Place::with(HOOKS);
        for args in [[].as_slice(), &["--json"], &["--help"]] {
            let told = place.doctor(&variables, args).await;
            assert!(!told.out.contains("hunter2") && told.err.is_empty(), "{url}: {}", told.out);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_from_livekit_steer_no_terminal_and_are_in_no_command() {
    let trunk = |id: &str| {
        serde_json::json!({ "items": [{ "sip_trunk_id": id, "name": "a\u{1b}[31m\nproblem", "numbers": ["\u{202e}1"] }] }).to_string()
    };
    let livekit = LiveKit::answering(&[
        (INBOUND, 200, &trunk("ST_1'; rm -rf /; '")),
        (OUTBOUND, 200, "{}"),
        (RULES, 200, "{}"),
    ])
    .await;
    let place = Place::with(HOOKS);
    let told = place.asks(&livekit, &[]).await;
    assert!(told.out.contains(r"inbound trunk ST_1'; rm -rf /; ' (a\u{1b}[31m\u{a}problem)"), "{}", told.out);
    assert!(
        !told.out.contains(['\u{1b}', '\u{202e}']) && !told.out.contains("lk sip inbound update"),
        "{}",
        told.out
    );
    let told = place.asks(&livekit, &["--json"]).await;
    assert!(told.findings().iter().all(|finding| finding["command"].is_null()), "{}", told.out);
    assert!(told.out.contains("no_dispatch_rule"), "{}", told.out);
}
