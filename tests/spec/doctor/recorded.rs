//! What the doctor says of the recorded trunks and dispatch rules.

use serde_json::{Value, json};

use super::server::{INBOUND, LiveKit, OUTBOUND, Place, RULES};

/// Hooks that are found by host alone.
const BY_HOST: &str = "hooks:\n  - host: calls.acme.example\n    url: https://api.acme.example/hook\n";

/// A list of one thing.
fn one(thing: &Value) -> String {
    json!({ "items": [thing] }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_recorded_livekit_every_weakness_is_found() {
    let livekit = LiveKit::recorded().await;
    let told = Place::with(BY_HOST).asks(&livekit, &["--json"]).await;
    let expected = [
        "note router_not_running -",
        "problem takes_calls_from_everywhere ST_3w6n8MGPfSFo",
        "problem takes_calls_from_everywhere ST_Ek5J4Vc77ZHr",
        "problem takes_calls_from_everywhere ST_MGTqD8UENyJ7",
        "warning maps_every_header ST_ryBV2FLg8wev",
        "problem takes_calls_from_everywhere ST_ryBV2FLg8wev",
        "warning maps_every_header ST_uWDWksSKjF5P",
        "problem takes_calls_from_everywhere ST_uWDWksSKjF5P",
        "problem maps_no_domain ST_vWdJvTiJDBaQ",
        "problem takes_calls_from_everywhere ST_vWdJvTiJDBaQ",
        "problem tenants_can_meet SDR_XRDUyVoE5UhV",
        "problem tenants_can_meet SDR_YqZC9VFFKr2X",
        "note outbound_maps_every_header ST_bw6cjhErANMJ",
    ];
    assert_eq!((told.code, told.brief()), (1, expected.map(str::to_owned).to_vec()));
    assert_eq!(livekit.asked()[0], INBOUND);
    let mut rest = livekit.asked()[1..].to_vec();
    rest.sort_unstable();
    assert_eq!(rest, [RULES, OUTBOUND]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_finding_says_what_why_and_the_exact_fix() {
    let livekit = LiveKit::recorded().await;
    let told = Place::with(BY_HOST).asks(&livekit, &["--json"]).await;
    for finding in told.findings() {
        for key in ["severity", "check", "thing", "what", "why", "fix"] {
            assert!(finding[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {finding}");
        }
    }
    // `lk … update` replaces the whole trunk: one command mends all that is wrong with it.
    let command = &told.only("maps_no_domain")["command"];
    let expected = r#"lk sip inbound list --json | jq --arg edge "${EDGE_IP:?}" '.items[] | select(.sipTrunkId == "ST_vWdJvTiJDBaQ") | .headersToAttributes += {"X-To-IP": "sip.h.x-to-ip"} | .allowedAddresses = [$edge]' | lk sip inbound update --id ST_vWdJvTiJDBaQ -"#;
    assert_eq!(command, expected);
    let of_trunk: Vec<_> =
        told.findings().into_iter().filter(|finding| finding["id"] == "ST_vWdJvTiJDBaQ").collect();
    assert!(of_trunk.iter().all(|finding| finding["command"] == *command), "{of_trunk:?}");
    let of_rules: Vec<_> =
        told.findings().into_iter().filter(|finding| finding["check"] == "tenants_can_meet").collect();
    assert_eq!(of_rules[0]["command"], "lk sip dispatch update --id SDR_XRDUyVoE5UhV --individual call");
    assert_eq!(of_rules[1]["command"], "lk sip dispatch update --id SDR_YqZC9VFFKr2X --individual ext");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_read_each_reason_once_and_each_thing_with_its_command() {
    let livekit = LiveKit::recorded().await;
    let told = Place::with(BY_HOST).asks(&livekit, &[]).await;
    assert_eq!((told.code, told.err.as_str()), (1, ""));
    assert!(told.out.contains("6 inbound trunks, 3 dispatch rules, 1 outbound trunk\nclock "));
    assert_eq!(told.out.matches("Whoever reaches LiveKit's SIP port").count(), 1, "{}", told.out);
    assert_eq!(told.out.matches("takes calls from every address; see above.").count(), 5, "{}", told.out);
    assert!(told.out.ends_with("\n9 problems, 2 warnings, 2 notes\n"), "{}", told.out);
    // Commands are copied: each stands on one line.
    let texts = told.out.lines().filter(|line| !line.contains("lk sip "));
    assert!(
        texts.clone().count() > 40 && texts.clone().all(|line| line.chars().count() <= 100),
        "{}",
        told.out
    );
    assert_eq!(
        told.out.lines().filter(|line| line.starts_with("           lk sip ")).count(),
        9,
        "{}",
        told.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_is_well_nothing_is_found() {
    let trunk =
        json!({ "sip_trunk_id": "ST_edge", "allowed_addresses": ["192.0.2.10/32"], "include_headers": 1 });
    let rule = json!({
        "sip_dispatch_rule_id": "SDR_calls", "trunk_ids": ["ST_edge"],
        "rule": { "dispatch_rule_individual": { "room_prefix": "call" } },
    });
    let livekit = LiveKit::answering(&[
        (INBOUND, 200, &one(&trunk)),
        (OUTBOUND, 200, r#"{"items":[]}"#),
        (RULES, 200, &one(&rule)),
    ])
    .await;
    let place = Place::with(BY_HOST);
    let told = place.asks(&livekit, &["--json"]).await;
    assert_eq!((told.code, told.brief()), (0, vec!["note router_not_running -".to_owned()]));
    let told = place.asks(&livekit, &[]).await;
    assert!(told.code == 0 && told.out.ends_with("\n1 note\n"), "{}", told.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_and_trunks_of_hooks_that_livekit_lacks_are_named() {
    let livekit = LiveKit::recorded().await;
    let hooks = "hooks:
  - host: calls.acme.example
    url: https://api.acme.example/hook
    numbers: ['+1 555-0300', '+1 555-0999']
    trunks: [ST_bw6cjhErANMJ, ST_gone]
  - host: calls.globex.example
    url: https://api.globex.example/hook
    numbers: ['1 (555) 0200']
";
    let told = Place::with(hooks).asks(&livekit, &["--json"]).await;
    let lost = told.only("number_without_trunk");
    assert_eq!((&lost["id"], &lost["thing"]), (&json!("calls.acme.example"), &json!("hook")));
    assert_eq!(lost["what"], "has numbers that no inbound trunk has: 15550999");
    let lost = told.only("trunk_unknown_to_livekit");
    assert_eq!(lost["what"], "has trunks that this LiveKit does not have: ST_gone");
    // The trunk without headers has one number, and a hook is found by that: its calls need no domain.
    assert!(!told.out.contains("maps_no_domain"), "{}", told.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_of_one_tenant_may_meet() {
    let livekit = LiveKit::recorded().await;
    let hooks = "hooks:
  - host: calls.acme.example
    url: https://api.acme.example/hook
    trunks: [ST_ryBV2FLg8wev]
";
    let told = Place::with(hooks).asks(&livekit, &["--json"]).await;
    assert_eq!(told.only("tenants_can_meet")["id"], "SDR_YqZC9VFFKr2X");
}
