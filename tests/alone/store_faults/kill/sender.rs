//! Who speaks to a router that is killed again and again: senders as LiveKit's, and an operator who replays.

use std::sync::Arc;

use serde_json::json;

use super::router::{LOOK, Router};
use super::script::{At, Script};

/// The host that comes into the table with the start after `number`.
pub fn late_host(number: usize) -> String {
    format!("late{number}.example")
}

/// One call after the other, of all kinds.
pub async fn calls(mut router: Router, line: usize) {
    for number in 0.. {
        let start = router.start().await;
        if start.is_last {
            return;
        }
        let name = format!("{line}-{number}");
        let late = late_host(start.number);
        let script = match (line + number) % 5 {
            0 => Script::of_one(&name, At::One, "one.example"),
            1 => Script::of_two(&name, (At::One, "one.example"), (At::Two, "two.example")),
            2 => Script::of_one(&name, At::Failing, "failing.example"),
            3 => Script::of_one(&name, At::Late, &late),
            _ => Script::of_two(&name, (At::Failing, "failing.example"), (At::Late, &late)),
        };
        router.tell(&script).await;
    }
}

/// Calls whose callers come right after a start, when the router takes over what was pending: one a start.
pub async fn early_callers(mut router: Router, line: usize) {
    for number in 0.. {
        if router.start().await.is_last {
            return;
        }
        let name = format!("early-{line}-{number}");
        let script = match (line + number) % 2 {
            0 => Script::of_one_after_a_start(&name, At::Two, "two.example"),
            _ => Script::of_one_after_a_start(&name, At::Failing, "failing.example"),
        };
        router.tell(&script).await;
    }
}

/// Replays what was unrouted of each late host, right after the start that brings it.
pub async fn late_hosts(mut router: Router) {
    let mut replayed = 0;
    loop {
        let start = router.start().await;
        while replayed < start.number && router.start().await == start {
            let what = json!({ "unrouted": true, "domain": late_host(replayed) });
            match router.replay(&start, &what).await {
                Some(_) => replayed += 1,
                None => tokio::time::sleep(LOOK).await,
            }
        }
        if start.is_last && replayed == start.number {
            return;
        }
        router.next(&start).await;
    }
}

/// Calls that become dead letters, all of them, and are replayed.
pub async fn letters(mut router: Router, open: Arc<dyn Fn(&str) + Send + Sync>) {
    for cycle in 0.. {
        if router.start().await.is_last {
            return;
        }
        let script = |n: usize| Script::of_one(&format!("dead-{cycle}-{n}"), At::Letters, "dead.example");
        let scripts: Vec<_> = (0..3).map(script).collect();
        for script in &scripts {
            router.tell(script).await;
        }
        let ids: Vec<_> = scripts.iter().flat_map(|script| &script.events).map(|event| &event.id).collect();
        loop {
            let dead = router.dead_letters("dead.example").await;
            if ids.iter().all(|id| dead.contains(id)) {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        scripts.iter().for_each(|script| open(&script.call));
        // A replay that was killed may have been carried out or not: it is asked for again. The first call's letters are
        // replayed one by one, the others' all at once.
        for event in &scripts[0].events {
            router.replay_surely(&json!({ "id": event.id })).await;
        }
        router.replay_surely(&json!({ "tenant": "dead.example" })).await;
    }
}

/// Calls whose hook keeps their bodies: what was delivered is sent again, by call, by event and by filter.
pub async fn resends(mut router: Router) {
    for number in 0.. {
        if router.start().await.is_last {
            return;
        }
        let script = Script::of_one(&format!("kept-{number}"), At::Kept, "kept.example");
        router.tell(&script).await;
        // Only what is delivered can be sent again: asked for until all of it was at once.
        loop {
            let start = router.start().await;
            if router.resend(&start, &script, number).await == Some(script.events.len()) {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        router.expected.comes_again(&script);
    }
}
