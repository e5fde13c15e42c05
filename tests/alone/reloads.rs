//! The hook table is changed while events come: how soon it is in force, and that none is lost.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use switchhook::Clock;

use crate::world::{Tenant, World, joined, table};

/// In place, an editor's rename, a ConfigMap's symlink swap, and away for a moment in between.
#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_changing_the_file_is_in_force_within_a_second() {
    let _turn = crate::turn().await;
    let (one, two) = (Tenant::open().await, Tenant::open().await);
    let world = World::with(&[("a.example", &one)]).await;
    let path = world.path("hooks.yaml");
    let within_a_second = |took: Duration| assert!(took < Duration::from_secs(1), "{took:?}");
    world.arrives("a.example", &one).await;

    fs::write(&path, table(&[("b.example", &two)])).expect("written");
    within_a_second(world.arrives("b.example", &two).await);

    fs::write(world.path("hooks.yaml~"), table(&[("c.example", &one)])).expect("written");
    fs::rename(world.path("hooks.yaml~"), &path).expect("renamed");
    within_a_second(world.arrives("c.example", &one).await);

    fs::remove_file(&path).expect("removed");
    // While the file is away, the table stays.
    assert_eq!(world.post(&joined("EV_absent", "absent", "c.example")).await.status, 200);
    world.story("EV_absent", |story| story["state"] == "delivered").await;
    fs::write(&path, table(&[("d.example", &two)])).expect("written");
    within_a_second(world.arrives("d.example", &two).await);

    // As Kubernetes mounts a ConfigMap: hooks.yaml -> ..data/hooks.yaml, ..data -> a folder.
    let folder = |name: &str, text: String| {
        fs::create_dir(world.path(name)).expect("a folder");
        fs::write(world.path(name).join("hooks.yaml"), text).expect("written");
    };
    folder("..first", table(&[("e.example", &one)]));
    folder("..second", table(&[("f.example", &two)]));
    symlink("..first", world.path("..data")).expect("a link");
    fs::remove_file(&path).expect("removed");
    symlink(Path::new("..data/hooks.yaml"), &path).expect("a link");
    within_a_second(world.arrives("e.example", &one).await);
    symlink("..second", world.path("..data_tmp")).expect("a link");
    fs::rename(world.path("..data_tmp"), world.path("..data")).expect("swapped");
    within_a_second(world.arrives("f.example", &two).await);
}

/// Every event posted while the table changes again and again goes by the old or the new one.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_table_is_reloaded_no_event_is_lost_or_misrouted() {
    let _turn = crate::turn().await;
    let tenants = [Tenant::open().await, Tenant::open().await];
    let both = |extra: usize| {
        let more =
            (0..extra).map(|n| format!("  - host: h{n}.more.example\n    url: {}\n", tenants[1].url()));
        format!(
            "{}{}",
            table(&[("a.example", &tenants[0]), ("b.example", &tenants[1])]),
            more.collect::<String>()
        )
    };
    let world = World::at(Clock::system(), &both(0), &[]).await;
    let (mut posted, began) = (0, Instant::now());
    for round in 1..=6 {
        world.hooks(&both(round * 700));
        let until = began + Duration::from_millis(350 * round as u64);
        while Instant::now() < until {
            for host in ["a.example", "b.example"] {
                let id = format!("EV_{posted}_{}", &host[..1]);
                assert_eq!(
                    world.post(&joined(&id, &format!("call-{}", posted % 50), host)).await.status,
                    200
                );
            }
            posted += 1;
        }
    }
    for (tenant, host) in tenants.iter().zip(["a", "b"]) {
        let ids = tenant.wait_for(posted).await;
        assert_eq!(ids.len(), posted);
        assert!(ids.iter().all(|received| received.id().ends_with(host)));
    }
    let (_, metrics) = world.api("/metrics").await;
    let hooks = metrics.as_str().expect("text").lines().find(|line| line.starts_with("switchhook_hooks "));
    let hooks: usize = hooks.expect("hooks")["switchhook_hooks ".len()..].parse().expect("a number");
    assert!(hooks > 2, "the table was never reloaded");
}
