//! `switchhook demo`, which has a time to keep.

use std::time::Duration;

use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn the_demonstration_loses_nothing_and_ends_by_itself() {
    let _turn = crate::turn().await;
    let demo = tokio::process::Command::new(env!("CARGO_BIN_EXE_switchhook"))
        .args(["demo", "--json"])
        .kill_on_drop(true)
        .output();
    let demo = tokio::time::timeout(Duration::from_secs(20), demo).await.expect("in 20 s").expect("demo");
    let printed = String::from_utf8_lossy(&demo.stdout);
    assert!(demo.status.success(), "{printed}");
    let summary: Value =
        printed.lines().last().and_then(|line| serde_json::from_str(line).ok()).expect("a summary");
    assert_eq!((&summary["events"], &summary["acknowledged"]), (&Value::from(79), &Value::from(79)));
    assert_eq!(
        (&summary["delivered"], &summary["lost"]),
        (&Value::from(69), &Value::from(Vec::<Value>::new()))
    );
    assert_eq!((&summary["unverified"], &summary["out_of_order"]), (&Value::from(0), &Value::from(0)));
}
