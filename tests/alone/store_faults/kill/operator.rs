//! An operator who changes the hooks file and hooks of the API while the router is killed again and again.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::edits::{Edits, Life, Shape};
use super::receivers::HooksFile;
use super::router::{LOOK, Router};
use super::script::{At, Script};

/// The host that comes into the table as the reload of this number.
pub fn reloaded_host(number: usize) -> String {
    format!("reloaded{number}.example")
}

/// Adds hosts to the file while the router runs, after a text that is faulty. The file is locked while a router starts:
/// it must find a whole one.
pub async fn reloads(mut router: Router, file: Arc<Mutex<HooksFile>>) {
    for number in 0.. {
        if router.start().await.is_last {
            return;
        }
        file.lock().await.write_faulty();
        match number % 2 {
            0 => refused(&mut router).await,
            _ => tokio::time::sleep(LOOK).await,
        }
        let mut hooks = file.lock().await;
        hooks.reloaded = number + 1;
        hooks.write();
        drop(hooks);
        let host = reloaded_host(number);
        while router.get(&format!("/v1/hooks/{host}")).await.0 != 200 {
            tokio::time::sleep(LOOK).await;
        }
        router.tell(&Script::of_one(&format!("reloaded-{number}"), At::Reloaded, &host)).await;
    }
}

/// Waits until the router has refused the file, or was killed.
async fn refused(router: &mut Router) {
    let start = router.start().await;
    while router.start().await == start {
        match router.ask(&start, Method::GET, "/readyz", None).await {
            Some((_, health)) if health.to_string().contains("hooks") => return,
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}

/// Lives of hooks of the API, one after the other: each is created, gets another secret, is moved, paused, resumed and
/// deleted. `waits`: each change is looked at once more after the next start.
pub async fn lives(router: Router, url: String, edits: Arc<Edits>, line: usize) {
    for number in 0.. {
        if router.clone().start().await.is_last {
            return;
        }
        let life = Life::new(format!("{line}-{number}"), router.clone(), Arc::clone(&edits));
        live(life, &url, line.is_multiple_of(2)).await;
    }
}

async fn live(mut life: Life, url: &str, waits: bool) {
    let put = |path: &str| {
        let spec = json!({ "url": format!("{url}/{path}"), "tenant": life.tenant(), "retry": { "initial": "50ms", "max": "1s" } });
        Some(spec)
    };
    let (a, b) = (put("a"), put("b"));
    let shape = |path, is_paused, secrets| Some(Shape { path, is_paused, secrets });
    let hook = format!("/v1/hooks/{}", life.host());
    let post = |path: &str| (Method::POST, format!("{hook}/{path}"), None::<Value>);
    let rotate = (Method::POST, format!("/v1/tenants/{}/rotate", life.tenant()), None);

    life.edit((Method::PUT, hook.clone(), a), shape("a", false, 1), waits).await;
    life.call("a").await;
    life.edit(rotate, shape("a", false, 2), waits).await;
    life.call("a").await;
    life.edit((Method::PUT, hook.clone(), b), shape("b", false, 2), waits).await;
    life.call("b").await;
    life.edit(post("pause"), shape("b", true, 2), waits).await;
    life.call_that_waits("b").await;
    life.edit(post("resume"), shape("b", false, 2), waits).await;
    life.arrived().await;
    life.edit((Method::DELETE, hook, None), None, waits).await;
    life.call_of_nobody().await;
}
