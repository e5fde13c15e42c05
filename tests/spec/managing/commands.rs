//! Hooks, tokens and the audit log from the command line.

use serde_json::{Value, json};
use switchhook::Clock;

use crate::spec::world::{Client, Reply, Tenant, World, joined, table};

/// What a command prints that must succeed.
async fn said(world: &World, args: &[&str]) -> String {
    let said = world.command(args).await;
    assert_eq!(said.code, Some(0), "{args:?}: {}{}", said.out, said.err);
    said.out
}

/// The only line that begins with this text.
fn line<'t>(told: &'t str, begins: &str) -> &'t str {
    let mut lines = told.lines().filter(|line| line.starts_with(begins));
    let found = lines.next().unwrap_or_else(|| panic!("{begins}\n{told}"));
    assert_eq!(lines.next(), None, "{told}");
    found
}

/// Each line as JSON.
fn objects(told: &str) -> Vec<Value> {
    told.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_says_which_tenant_is_down_paused_or_shadowed() {
    let (up, stopped, waits) = (Tenant::open().await, Tenant::open().await, Tenant::open().await);
    let down = Tenant::answering([Reply::Status(503), Reply::Status(503), Reply::Status(503)]).await;
    let gone = Tenant::answering([Reply::Status(410)]).await;
    let of_file = [("down.example", &down), ("gone.example", &gone), ("waits.example", &waits)];
    let hooks = format!("{}    paused: true\n", table(&of_file));
    let world = World::at(Clock::system(), &hooks, &[]).await;
    for (host, tenant) in [("up.example", &up), ("stopped.example", &stopped)] {
        said(&world, &["hooks", "set", host, &tenant.url(), "--tenant", "acme"]).await;
    }
    said(&world, &["hooks", "pause", "stopped.example", "--yes"]).await;
    for name in ["up", "stopped", "down", "gone", "waits"] {
        let id = format!("EV_{name}");
        assert_eq!(world.post(&joined(&id, name, &format!("{name}.example"))).await.status, 200);
        world.story(&id, |story| story["tries"] == 1 || !story["paused_since"].is_null()).await;
    }
    world.story("EV_gone", |story| story["paused_by"] == "gone").await;
    let told = said(&world, &["hooks"]).await;
    for (host, words) in [
        ("up.example ", ["acme", "api", "delivering", "200, "]),
        ("stopped.example ", ["acme", "paused over the API since ", " 1 ", "hooks resume stopped.example"]),
        ("down.example ", ["file", "failing since ", " 1 ", "503, "]),
        ("gone.example ", ["paused by 410 since ", " 1 ", "410: ", "hooks resume gone.example"]),
        ("waits.example ", ["waits.example", "file", "paused by the hooks file since ", " 1 "]),
    ] {
        let row = line(&told, host);
        assert!(words.iter().all(|word| row.contains(word)), "{row}");
    }
    let told = said(&world, &["tenants"]).await;
    let row = line(&told, "acme ");
    assert!(row.contains(" 2  paused over the API since ") && row.contains(" 1 "), "{row}");
    assert!(line(&told, "down.example ").contains("failing since "), "{told}");

    let of_acme = said(&world, &["hooks", "--tenant", "acme", "--layer", "api", "--limit", "1"]).await;
    assert!(
        of_acme.lines().count() == 3 && of_acme.contains("there are more: --limit, or --after "),
        "{of_acme}"
    );
    // The file gains a host that a tenant has registered.
    world.hooks(&format!("{hooks}  - host: up.example\n    url: {}\n", down.url()));
    world.reloaded(1).await;
    let told = said(&world, &["hooks", "--layer", "api"]).await;
    assert!(line(&told, "up.example ").contains("shadowed by the hooks file"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_hooks_secret_is_all_that_is_printed_and_a_change_keeps_its_tenant() {
    let (first, second) = (Tenant::open().await, Tenant::open().await);
    let world = World::with(&[]).await;
    let host = "calls.acme.example";
    let made = world.command(&["hooks", "set", host, &first.url(), "--tenant", "acme"]).await;
    let secret = made.out.trim_end();
    assert!(secret.starts_with("whsec_") && secret.lines().count() == 1, "{}", made.out);
    assert!(made.err.contains("calls.acme.example is registered for acme"), "{}", made.err);
    assert_eq!(said(&world, &["secret", "acme"]).await.trim_end(), secret);

    // An operator who names no tenant does not take the hook from its tenant.
    let file = world.path("hook.json");
    std::fs::write(&file, r#"{"url": "http://nowhere.example", "timeout": "3s"}"#).expect("a file");
    let file = file.to_str().expect("text");
    let changed = said(&world, &["hooks", "set", host, &second.url(), "--file", file, "--yes"]).await;
    assert!(
        changed.starts_with("calls.acme.example of acme is in force") && !changed.contains("whsec_"),
        "{changed}"
    );
    let shown = said(&world, &["hooks", host]).await;
    for row in ["  timeout        3s".to_owned(), format!("  url            {}", second.url())] {
        assert!(shown.contains(&row), "{shown}");
    }
    let shown = &objects(&said(&world, &["hooks", "show", host, "--json"]).await)[0];
    assert_eq!((&shown["tenant"], &shown["version"]), (&json!("acme"), &json!(2)));

    // Somebody else has changed it: what was read of it is no longer so.
    let stale = ["hooks", "set", host, &first.url(), "--yes", "--if-version", "1-1"];
    let stale = world.command(&stale).await;
    assert!(
        stale.code == Some(1) && stale.err.contains("412") && stale.err.contains("→ GET it again"),
        "{}",
        stale.err
    );

    let renewed = world.command(&["hooks", "rotate", host, "--yes"]).await;
    assert!(renewed.out.starts_with("whsec_") && renewed.out.lines().count() == 1, "{}", renewed.out);
    assert_ne!(renewed.out.trim_end(), secret);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_or_destroys_asks_first_and_names_what_will_happen() {
    let tenant = Tenant::open().await;
    let world = World::with(&[]).await;
    let url = tenant.url();
    said(&world, &["hooks", "set", "a.example", &url, "--tenant", "acme"]).await;
    for (args, question) in [
        (vec!["hooks", "set", "a.example", "https://b.example"], "Change a.example of acme? Its URL "),
        (vec!["hooks", "pause", "a.example"], "Pause a.example of acme? Nothing is sent to "),
        (vec!["hooks", "resume", "a.example"], "Resume a.example of acme? All that waits is sent to "),
        (vec!["hooks", "delete", "a.example", "--now"], "calls in progress ARE CUT OFF"),
        (vec!["hooks", "pause", "--tenant", "acme"], "Pause a.example of acme?"),
        (vec!["hooks", "rotate", "--tenant", "acme"], "Renew the secret of acme?"),
        (vec!["token", "revoke", "--tenant", "acme"], "Revoke all tokens of acme that were made before now?"),
        (vec!["token", "revoke", "Yq3c8uPd1k"], "Revoke the token Yq3c8uPd1k?"),
    ] {
        let refused = world.command(&args).await;
        assert_eq!((refused.code, &*refused.out), (Some(1), ""), "{args:?}");
        assert!(refused.err.contains(question) && refused.err.contains("give --yes"), "{}", refused.err);
    }
    let hook = Client::operator(&world).get("/v1/hooks/a.example").await.body;
    assert_eq!((&hook["version"], &hook["paused_by"]), (&json!(1), &Value::Null));
    let audit = said(&world, &["audit"]).await;
    assert_eq!(audit.lines().count(), 2, "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn by_tenant_all_of_its_hooks_are_changed_and_nobody_elses() {
    let tenant = Tenant::open().await;
    let world = World::with(&[("file.example", &tenant)]).await;
    for (host, whose) in [("a.example", "acme"), ("b.example", "acme"), ("c.example", "globex")] {
        said(&world, &["hooks", "set", host, &tenant.url(), "--tenant", whose]).await;
    }
    let of_acme = |action| ["hooks", action, "--tenant", "acme", "--yes", "--json"];
    let states = async |key: &str| {
        let hooks = objects(&said(&world, &["hooks", "--json"]).await);
        hooks.iter().map(|hook| hook[key].clone()).collect::<Vec<_>>()
    };
    assert_eq!(objects(&said(&world, &of_acme("pause")).await).len(), 2);
    assert_eq!(states("state").await, ["paused", "paused", "delivering", "delivering"]);
    assert_eq!(objects(&said(&world, &of_acme("resume")).await).len(), 2);
    assert_eq!(states("state").await, ["delivering"; 4]);
    let again = world.command(&["hooks", "resume", "--tenant", "acme"]).await;
    assert!(
        again.code == Some(0) && again.err.contains("unchanged: 2 hooks of acme (not paused"),
        "{}",
        again.err
    );
    let gone = objects(&said(&world, &of_acme("delete")).await);
    assert_eq!(gone[0], json!({ "host": "a.example", "tenant": "acme", "deleted": true }));
    assert_eq!(states("host").await, ["c.example", "file.example"]);
    let none = world.command(&of_acme("delete")).await;
    assert!(none.code == Some(1) && none.err.contains("tenant acme has no hook"), "{}", none.err);
    let of_file = world.command(&["hooks", "delete", "file.example", "--yes"]).await;
    assert!(of_file.code == Some(1) && of_file.err.contains("→ Change the file"), "{}", of_file.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_the_field_and_the_fix_and_wrong_usage_is_told_apart() {
    let world = World::with(&[]).await;
    std::fs::write(world.path("bad.json"), r#"{"timeout": "5", "sigh": ["x"]}"#).expect("a file");
    std::fs::write(world.path("list.json"), "[]").expect("a file");
    let [bad, list] =
        ["bad.json", "list.json"].map(|name| world.path(name).to_str().expect("text").to_owned());
    let set = ["hooks", "set", "a.example"];
    let cases: [(&[&str], i32, &[&str]); 6] = [
        (
            &["https://a.example", "--file", &bad],
            1,
            &["  timeout: ", "a whole number and its unit", "  sigh: ", "→ sign?"],
        ),
        (&["--file", &bad], 2, &["there is no URL"]),
        (&["https://a.example", "--file", &list], 1, &["list.json does not hold a JSON object"]),
        (&[], 2, &["<URL>"]),
        (&["no url"], 1, &["  url: "]),
        (&["https://a.example", "--layer", "x"], 2, &["--layer"]),
    ];
    for (more, code, words) in cases {
        let refused = world.command(&[&set, more].concat()).await;
        assert_eq!((refused.code, &*refused.out), (Some(code), ""), "{more:?}: {}", refused.err);
        assert!(words.iter().all(|word| refused.err.contains(word)), "{}", refused.err);
    }
    let unknown = world.command(&["hooks", "pause", "a.example", "--yes"]).await;
    assert!(
        unknown.code == Some(1) && unknown.err.contains("404 Not Found: No hook has this host"),
        "{}",
        unknown.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_prints_each_answer_and_fails_if_one_is_missing() {
    let tenant = Tenant::open().await;
    let world = World::with(&[("a.example", &tenant)]).await;
    let one = said(&world, &["hooks", "test", "a.example"]).await;
    assert!(
        one.contains(" participant_joined  200 ")
            && one.contains("1 test event sent to a.example: delivered"),
        "{one}"
    );
    let call = said(&world, &["hooks", "test", "a.example", "--call", "recorded"]).await;
    assert!(call.contains(" egress_ended ") && call.contains(" room_finished "), "{call}");
    tenant.reply(Reply::Status(500));
    let failed = world.command(&["hooks", "test", "a.example"]).await;
    assert!(failed.code == Some(1) && failed.out.contains(" 500 "), "{}{}", failed.out, failed.err);
    tenant.reply(Reply::Status(500));
    let failed = world.command(&["hooks", "test", "a.example", "--json"]).await;
    let answer = &objects(&failed.out)[0];
    assert_eq!((failed.code, &answer["events"][0]["status"]), (Some(1), &json!(500)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_made_offline_revoked_and_both_are_told_apart_in_the_audit_log() {
    let tenant = Tenant::open().await;
    let world = World::at(Clock::system(), &table(&[("a.example", &tenant)]), &[]).await;
    let make = ["token", "--tenant", "acme", "--host", "b.example"];
    let tokens = [said(&world, &make).await, said(&world, &make).await];
    let [first, second] = tokens.map(|token| token.trim_end().to_owned());
    let url = world.api_url("");
    let ask = |token: &str| {
        let args =
            ["hooks", "set", "b.example", "https://b.example", "--yes", "--url", &url, "--token", token];
        args.map(str::to_owned)
    };
    let set = async |token: &str| {
        let args = ask(token);
        world.command(&args.each_ref().map(String::as_str)).await.code
    };
    assert_eq!(set(&first).await, Some(0));
    // The whole token is as good as its id, and the log does not get it.
    said(&world, &["token", "revoke", &first, "--yes"]).await;
    assert_eq!((set(&first).await, set(&second).await), (Some(1), Some(0)));
    said(&world, &["token", "revoke", "--tenant", "acme", "--yes"]).await;
    assert_eq!(set(&second).await, Some(1));

    let audit = said(&world, &["audit"]).await;
    let actions: Vec<_> = audit.lines().skip(1).map(|line| line.split_whitespace().nth(3)).collect();
    assert_eq!(actions, ["tokens.revoke", "token.revoke", "hook.put"].map(Some), "{audit}");
    assert!(line(&audit, "at ").ends_with("outcome") && !audit.contains(&first), "{audit}");
    let of_acme = objects(&said(&world, &["audit", "--tenant", "acme", "--limit", "1", "--json"]).await);
    assert_eq!((&of_acme[0]["actor"], &of_acme[0]["action"]), (&json!("operator"), &json!("tokens.revoke")));
    assert!(of_acme[1]["next"].is_string(), "{of_acme:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_what_the_file_would_shadow_of_the_api() {
    let tenant = Tenant::open().await;
    let world = World::with(&[]).await;
    for (host, whose) in
        [("voice.acme.example", "acme"), ("gone.acme.example", "acme"), ("c.example", "globex")]
    {
        said(&world, &["hooks", "set", host, &tenant.url(), "--tenant", whose]).await;
    }
    said(&world, &["hooks", "delete", "gone.acme.example", "--yes"]).await;
    let hosts = ["Voice.Acme.Example", "gone.acme.example", "new.example"];
    let file = world.path("new.yaml");
    std::fs::write(&file, table(&hosts.map(|host| (host, &tenant)))).expect("a file");
    let file = file.to_str().expect("text");
    let told = said(&world, &["check", file, "--dev"]).await;
    assert!(told.contains("3 hooks, no fault"), "{told}");
    assert_eq!(line(&told, "  line 2: "), "  line 2: shadows voice.acme.example of the API (tenant acme)");
    assert_eq!(told.lines().count(), 2, "{told}");
    let told = objects(&said(&world, &["check", file, "--dev", "--json"]).await);
    assert_eq!(told, [json!({ "line": 2, "shadows": "voice.acme.example", "tenant": "acme" })]);
    // The router that runs was not disturbed.
    assert_eq!(said(&world, &["hooks"]).await.lines().count(), 3);
}
