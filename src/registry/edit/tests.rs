//! Edits as operators and tenants ask for them, stored as a store would.

mod hidden;
mod world;
mod written;

use serde_json::{Value, json};

use self::world::{NOW, World, delete, pattern, scope, tenant, url};
use super::*;
use crate::registry::{HookCursor, HookFilter, HookPage};

const FILE: &str = "hooks:\n  - {host: file.acme.example, tenant: acme, url: 'https://file.example/', numbers: ['300'], trunks: [ST_9]}\n";

#[test]
fn a_tenants_hook_is_made_changed_once_and_removed() {
    let (mut world, acme) = (World::of(FILE), scope("acme"));
    let made = world.put(&acme, "a.acme.example", url("1")).expect("made");
    assert!(made.is_change && made.shows_secret && made.before.is_none());
    let after = made.after.expect("a hook");
    assert_eq!((after.tenant.as_str(), after.origin.version, after.origin.layer), ("acme", 1, Layer::Api));
    let again = world.put(&acme, "a.acme.example", url("1")).expect("the same");
    assert!(!again.is_change && !again.shows_secret);
    let changed = world.put(&acme, "a.acme.example", json!({ "url": "https://b.example", "timeout": "5s" }));
    let changed = changed.expect("changed");
    assert_eq!((changed.parts, changed.shows_secret), (vec!["url", "timeout"], false));
    assert_eq!(changed.after.map(|hook| (hook.id, hook.origin.version)), Some((after.id, 2)));
    let gone = world.edit(&acme, &delete("a.acme.example")).expect("removed").edited;
    assert!(gone.is_change && gone.after.is_none() && gone.before.is_some());
    assert!(world.find(&acme, "a.acme.example").is_none());
    assert!(world.table.by_id(after.id).is_some(), "what was routed to it still finds it");
    let made = world.put(&acme, "a.acme.example", url("1")).expect("made").after.expect("a hook");
    assert_ne!(made.id, after.id);
}

#[test]
fn what_a_token_does_not_cover_is_refused_whatever_is_there() {
    let (mut world, acme, b) = (World::of(FILE), scope("acme"), scope("b"));
    world
        .put(
            &acme,
            "a.acme.example",
            json!({ "url": "https://a.example", "numbers": ["100"], "trunks": ["ST_1"] }),
        )
        .expect("made");
    let not_covered = |field, value: &str| Err(EditRefusal::NotCovered { field, value: value.into() });
    let taken = |field, value: &str| Err(EditRefusal::Taken { field, value: value.into() });
    let with = |key: &str, value: Value| json!({ "url": "https://b.example", key: value });
    let pair = |key: &str| json!({ "key": key, "secret": "s" });
    let cases = [
        ("a.acme.example", url("1"), not_covered("host", "a.acme.example")),
        ("free.acme.example", url("1"), not_covered("host", "free.acme.example")),
        ("file.acme.example", url("1"), not_covered("host", "file.acme.example")),
        ("*", url("1"), not_covered("host", "*")),
        ("*.example", url("1"), not_covered("host", "*.example")),
        ("x.b.example", with("numbers", json!(["300"])), not_covered("numbers", "300")),
        ("x.b.example", with("numbers", json!(["999"])), not_covered("numbers", "999")),
        ("x.b.example", with("trunks", json!(["ST_9"])), not_covered("trunks", "ST_9")),
        ("x.b.example", with("tenant", json!("acme")), not_covered("tenant", "acme")),
        ("x.b.example", with("livekit", pair("APIother")), not_covered("livekit", "APIother")),
        ("x.b.example", with("livekit", pair("PLATFORM")), not_covered("livekit", "PLATFORM")),
        ("x.b.example", with("numbers", json!(["+1-00"])), taken("numbers", "100")),
        ("x.b.example", with("trunks", json!(["ST_1"])), taken("trunks", "ST_1")),
    ];
    for (host, spec, expected) in cases {
        let refused = world.put(&b, host, spec.clone()).map(|edited| edited.is_change);
        assert_eq!(refused, expected, "{host} {spec}");
    }
    for spec in [
        with("url", json!("https://10.0.0.7/")),
        with("secret", json!("${HOME}")),
        with("concurrency", json!(65)),
    ] {
        assert!(matches!(world.put(&b, "x.b.example", spec), Err(EditRefusal::Faults(_))));
    }
    // Of another's hook everything is as if it were not there.
    let edits = |host: &str| {
        let at = || pattern(host);
        [
            delete(host),
            EditRequest::Pause { host: at() },
            EditRequest::Resume { host: at() },
            EditRequest::Rotate(Whose::Host(at())),
        ]
    };
    for host in ["a.acme.example", "file.acme.example", "free.acme.example"] {
        for edit in edits(host) {
            assert_eq!(world.edit(&b, &edit).err(), Some(EditRefusal::NotFound), "{edit:?}");
        }
        assert!(world.find(&b, host).is_none());
    }
    assert_eq!(
        world.edit(&b, &EditRequest::Rotate(Whose::Tenant(tenant("acme")))).err(),
        Some(EditRefusal::NotFound)
    );
}

#[test]
fn a_host_both_may_have_is_the_firsts() {
    let (mut world, acme, b) = (World::of(FILE), scope("acme"), scope("b"));
    world.put(&acme, "shared.example", url("1")).expect("made");
    let taken = Err(EditRefusal::Taken { field: "host", value: "shared.example".into() });
    assert_eq!(world.put(&b, "shared.example", url("2")).map(|_| ()), taken);
    // An operator may give it to another tenant: another hook.
    let id = world.find(&acme, "shared.example").expect("a hook").hook.id;
    let spec = json!({ "url": "https://b.example", "tenant": "b" });
    let passed = world.put(&Scope::for_tests(), "shared.example", spec).expect("passed on");
    assert_ne!(passed.after.expect("a hook").id, id);
    assert!(world.find(&acme, "shared.example").is_none() && world.find(&b, "shared.example").is_some());
}

#[test]
fn the_file_wins_and_what_it_shadows_returns() {
    let (mut world, acme) = (World::of(FILE), scope("acme"));
    let spec = json!({ "url": "https://a.example", "numbers": ["100", "200"], "trunks": ["ST_1"] });
    let id = world.put(&acme, "a.acme.example", spec.clone()).expect("made").after.expect("a hook").id;
    assert_eq!(world.put(&acme, "file.acme.example", url("1")).err(), Some(EditRefusal::OfFile));
    assert_eq!(world.edit(&acme, &delete("file.acme.example")).err(), Some(EditRefusal::OfFile));

    // The file gains a number: the hook keeps its host.
    let gained = FILE.replace("'300'", "'300', '200'");
    world.file(&gained);
    let listed = world.find(&acme, "a.acme.example").expect("in force");
    assert_eq!((listed.claims.len(), listed.claims[0].value.as_str()), (1, "200"));
    assert_ne!(world.table.by_number("200").map(|hook| hook.id), Some(id));
    assert_eq!(world.table.by_number("100").map(|hook| hook.id), Some(id));
    assert!(!world.put(&acme, "a.acme.example", spec.clone()).expect("the same").is_change);

    // The file gains the host.
    let both = format!("{gained}  - {{host: a.acme.example, tenant: acme, url: 'https://both.example/'}}\n");
    assert_eq!(world.file(&both).shadowed, ["a.acme.example"]);
    assert!(world.file(&both).shadowed.is_empty(), "it is told once");
    let in_force = world.find(&acme, "a.acme.example").expect("the file's");
    assert_eq!((in_force.hook.url.as_str(), in_force.is_shadowed), ("https://both.example/", false));
    assert_eq!(world.put(&acme, "a.acme.example", spec).err(), Some(EditRefusal::OfFile));
    assert!(world.table.by_id(id).is_some(), "what was routed to it still finds it");
    let all = HookPage::read(&world.table, &world.pauses, &acme, (&HookFilter::default(), None), 10).hooks;
    let told: Vec<_> = all.iter().map(|listed| (listed.hook.host.to_string(), listed.is_shadowed)).collect();
    let host = |host: &str| host.to_owned();
    assert_eq!(
        told,
        [(host("a.acme.example"), false), (host("a.acme.example"), true), (host("file.acme.example"), false)]
    );
    // Nobody else gets its numbers meanwhile.
    let b = world.put(&scope("b"), "x.b.example", json!({ "url": "https://b.example", "numbers": ["100"] }));
    assert_eq!(b.err(), Some(EditRefusal::Taken { field: "numbers", value: "100".into() }));

    // And lets it go.
    assert_eq!(world.file(FILE).returned, ["a.acme.example"]);
    let listed = world.find(&acme, "a.acme.example").expect("in force");
    assert_eq!((listed.hook.id, listed.is_shadowed, listed.claims.len()), (id, false, 0));
    assert_eq!(world.table.by_number("200").map(|hook| hook.id), Some(id));
    // One that is shadowed can be removed.
    world.file(&both);
    assert!(world.edit(&acme, &delete("a.acme.example")).is_ok());
    assert!(world.file(FILE).returned.is_empty());
    assert!(world.find(&acme, "a.acme.example").is_none());
}

#[test]
fn preconditions_guard_concurrent_edits() {
    let (mut world, acme) = (World::of(FILE), scope("acme"));
    let mut put = |path: &str, precondition: Precondition| {
        let (host, spec) = (pattern("a.acme.example"), url(path));
        let edit = EditRequest::Put { host, spec, now: false, precondition };
        world.edit(&acme, &edit).map(|edit| Etag::of(&edit.edited.after.expect("a hook")))
    };
    assert_eq!(put("1", Precondition::Present), Err(EditRefusal::Stale { current: None }));
    let first = put("1", Precondition::Absent).expect("made");
    assert_eq!(put("2", Precondition::Absent), Err(EditRefusal::Stale { current: Some(first) }));
    let second = put("2", Precondition::OneOf(vec![first])).expect("changed");
    assert_eq!(put("3", Precondition::OneOf(vec![first])), Err(EditRefusal::Stale { current: Some(second) }));
    assert_eq!(Etag::parse(&second.to_string()), Some(second));
    assert!(
        ["", "1", "1-", "-1-2", "x-1"].iter().all(|text| Etag::parse(text).is_none_or(|tag| tag != second))
    );
}

#[test]
fn limits_hold_for_what_a_tenant_asks_for() {
    let file = "limits: {hooks: 2, concurrency: 40}\nhooks: []\n";
    let (mut world, acme) = (World::of(file), scope("acme"));
    let spec = |count: usize| json!({ "url": "https://a.example", "concurrency": count });
    world.put(&acme, "a.acme.example", spec(30)).expect("made");
    let over = |limit, most| Some(EditRefusal::OverLimit { limit, most });
    assert_eq!(world.put(&acme, "b.acme.example", spec(20)).err(), over("concurrency", 40));
    world.put(&acme, "b.acme.example", url("1")).expect("the usual is not asked for");
    assert_eq!(world.put(&acme, "c.acme.example", url("1")).err(), over("hooks", 2));
    world.put(&acme, "a.acme.example", spec(40)).expect("its own does not count");
    let spec = json!({ "url": "https://a.example", "timeout": "31s", "retry": { "max_age": "73h" } });
    let Err(EditRefusal::Faults(faults)) = world.put(&acme, "a.acme.example", spec) else { panic!("faults") };
    assert_eq!(faults.len(), 2, "{faults:?}");
}

#[test]
fn a_hook_paused_over_the_api_stays_so_until_it_is_resumed_there() {
    let (mut world, acme) = (World::of(FILE), scope("acme"));
    let id = world.put(&acme, "a.acme.example", url("1")).expect("made").after.expect("a hook").id;
    let at = || pattern("a.acme.example");
    world.pause(id, PausedBy::Gone);
    assert!(world.edit(&acme, &EditRequest::Pause { host: at() }).expect("paused").edited.is_change);
    assert!(!world.edit(&acme, &EditRequest::Pause { host: at() }).expect("already").edited.is_change);
    world.put(&acme, "a.acme.example", url("2")).expect("changed");
    world.file(FILE);
    assert_eq!(world.pauses.of(id).by, Some(PausedBy::Api));
    assert!(world.edit(&acme, &EditRequest::Resume { host: at() }).expect("resumed").edited.is_change);
    assert!(!world.pauses.is_paused(id));
    // 410: a new URL resumes it.
    world.pause(id, PausedBy::Gone);
    world.put(&acme, "a.acme.example", url("3")).expect("changed");
    assert!(!world.pauses.is_paused(id));
    // By its own entry.
    world
        .put(&acme, "a.acme.example", json!({ "url": "https://a.example", "paused": true }))
        .expect("changed");
    assert!(world.pauses.is_paused(id));
    let resumed = world.edit(&acme, &EditRequest::Resume { host: at() }).expect("resumed").edited;
    assert!(!resumed.after.expect("a hook").settings.paused && !world.pauses.is_paused(id));
    // By the file.
    world.file(&FILE.replace("trunks", "paused: true, trunks"));
    let resume = EditRequest::Resume { host: pattern("file.acme.example") };
    assert_eq!(world.edit(&acme, &resume).err(), Some(EditRefusal::PausedByFile));
}

#[test]
fn a_renewed_secret_is_every_derived_hooks_of_the_tenant_and_no_others() {
    let (mut world, acme) = (World::of(FILE), scope("acme"));
    let given = json!({ "url": "https://a.example", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" });
    world.put(&acme, "a.acme.example", url("1")).expect("made");
    assert!(!world.put(&acme, "given.acme.example", given).expect("made").shows_secret);
    world.put(&scope("b"), "x.b.example", url("1")).expect("made");
    let secrets =
        |world: &World, host: &str| world.table.by_host(&pattern(host)).expect("a hook").secrets.clone();
    let before = ["a.acme.example", "file.acme.example", "given.acme.example", "x.b.example"]
        .map(|host| secrets(&world, host));
    let rotate = EditRequest::Rotate(Whose::Tenant(tenant("acme")));
    assert!(world.edit(&acme, &rotate).expect("renewed").edited.shows_secret);
    let after = ["a.acme.example", "file.acme.example", "given.acme.example", "x.b.example"]
        .map(|host| secrets(&world, host));
    assert_eq!(after[0], after[1]);
    assert_eq!((&before[2], &before[3]), (&after[2], &after[3]));
    assert!(after[0][0] != before[0][0] && after[0][1].secret == before[0][0].secret);
    assert!(after[0][1].until.is_some());
    assert_eq!(world.edit(&acme, &rotate).err(), Some(EditRefusal::RenewedAlready));
    let host = EditRequest::Rotate(Whose::Host(pattern("given.acme.example")));
    assert_eq!(world.edit(&acme, &host).err(), Some(EditRefusal::GivenSecret));
    // A start and a reload know the same.
    world.file(FILE);
    assert_eq!(secrets(&world, "a.acme.example"), after[0]);
}

#[test]
fn a_given_secret_that_is_changed_signs_beside_the_new_one_for_a_day() {
    let (mut world, acme) = (World::of(FILE), scope("acme"));
    let given = json!({ "url": "https://a.example", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" });
    world.put(&acme, "a.acme.example", given).expect("made");
    let derived = world.put(&acme, "a.acme.example", url("1")).expect("changed");
    assert!(derived.shows_secret);
    let hook = derived.after.expect("a hook");
    assert_eq!(
        (hook.secrets.len(), hook.secrets[1].until),
        (2, Some(NOW.after(crate::registry::kept::OVERLAP)))
    );
    assert!(!world.put(&acme, "a.acme.example", url("1")).expect("the same").is_change);
}

#[test]
fn a_hook_that_cannot_be_read_is_not_in_force_and_stays_as_it_is() {
    let (mut world, acme) = (World::of(FILE), scope("acme"));
    let spec = json!({ "url": "https://a.example", "timeout": "5s" });
    world.put(&acme, "a.acme.example", spec.clone()).expect("made");
    world.put(&acme, "b.acme.example", url("1")).expect("made");
    let sealed = world.rows.iter().position(|row| row.host == "a.acme.example").expect("a row");
    world.rows[sealed].sealed = Some(vec![7; 40]);
    world.file(FILE);
    assert!(world.find(&acme, "a.acme.example").is_none());
    assert!(world.find(&acme, "b.acme.example").is_some());
    let unreadable = &world.table.aside().unreadable;
    assert_eq!(
        (unreadable.len(), unreadable[0].host.as_str(), unreadable[0].tenant.as_str()),
        (1, "a.acme.example", "acme")
    );
    assert!(unreadable[0].fix.contains("second line"));
    assert_eq!(world.rows[sealed].sealed, Some(vec![7; 40]));
    // It is still its tenant's.
    let other = world.put(&scope("b"), "shared.example", url("1"));
    assert!(other.is_ok());
    let id = world.rows[sealed].id;
    let written = world.put(&acme, "a.acme.example", spec).expect("written again");
    assert!(!written.is_new && written.is_change);
    assert_eq!(written.after.map(|hook| hook.id), Some(id));
    assert!(world.table.aside().unreadable.is_empty());
}

#[test]
fn a_file_hook_that_cannot_be_read_goes_on_with_what_the_file_says() {
    let file = "hooks:\n  - {host: a.example, tenant: a, url: 'https://a.example', timeout: 5s}\n";
    let mut world = World::of(file);
    world.rows[0].sealed = Some(vec![7; 40]);
    world.file(file);
    assert_eq!(world.table.aside().unreadable.len(), 1);
    let hook = world.table.by_host(&pattern("a.example")).expect("in force");
    assert_eq!((hook.settings.timeout.as_secs(), hook.secrets.len()), (5, 1));
    world.file(file);
    assert!(world.table.aside().unreadable.is_empty(), "it is stored anew");
}

#[test]
fn pages_are_stable_and_hold_only_what_may_be_seen() {
    let (mut world, acme, b) = (World::of(FILE), scope("acme"), scope("b"));
    for number in 0..7 {
        world.put(&acme, &format!("h{number}.acme.example"), url("1")).expect("made");
        world.put(&b, &format!("h{number}.b.example"), url("1")).expect("made");
    }
    let pages = |scope: &Scope, filter: &HookFilter| {
        let (mut after, mut hosts): (Option<HookCursor>, Vec<String>) = (None, Vec::new());
        loop {
            let page = HookPage::read(&world.table, &world.pauses, scope, (filter, after.as_ref()), 3);
            hosts.extend(page.hooks.iter().map(|listed| listed.hook.host.to_string()));
            after = page.next;
            if after.is_none() {
                return hosts;
            }
        }
    };
    let all = pages(&Scope::for_tests(), &HookFilter::default());
    assert!(all.len() == 15 && all.is_sorted());
    assert!(pages(&b, &HookFilter::default()).iter().all(|host| host.ends_with(".b.example")));
    let others = HookFilter { tenant: Some(tenant("acme")), ..HookFilter::default() };
    assert!(pages(&b, &others).is_empty());
    assert_eq!(pages(&Scope::for_tests(), &others).len(), 8);
    let of_file = HookFilter { layer: Some(Layer::File), ..HookFilter::default() };
    assert_eq!(pages(&acme, &of_file), ["file.acme.example"]);
}
