//! Two containers share a volume: the processes of the one have no ids in the other.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Data, Other, commit};
use crate::outbox::engine::Engine;

/// This test runs itself again in a container, where its process is the first one. The folder in which that begins has the
/// database which is used outside.
#[test]
fn a_database_that_a_process_of_another_container_uses_is_not_set_aside() {
    if std::process::id() == 1 {
        return is_not_set_aside_in_a_container();
    }
    let data = Data::new();
    drop(data.open());
    let _other = Other::open(&data.file(""));
    let program = std::env::current_exe().expect("the program of this test");
    let mut container = Command::new("unshare");
    container.args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child"]).arg(program);
    container.args(["another_container_uses", "--test-threads", "1"]);
    let output = container.current_dir(data.path()).output().expect("unshare (package util-linux)");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn is_not_set_aside_in_a_container() {
    let data = Data::new();
    let mut engine = data.open();
    commit(&mut engine, &[1]).expect("committed");
    fs::hard_link(Path::new("switchhook.db"), data.file(".tmp")).expect("a second name");
    fs::rename(data.file(".tmp"), data.file("")).expect("replaced");
    assert!(engine.check().is_err());
    let said = engine.check().expect_err("another router uses it").to_string();
    assert!(said.contains("another process uses the file") && data.backups().is_empty(), "{said}");
}
