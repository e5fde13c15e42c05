//! `switchhook store …` on a world's data directory, whether its router runs or not.

use std::process::Stdio;

use tokio::process::Command;

use crate::spec::world::{Process, World};

/// What a command printed, standard error behind standard output, and its exit code.
pub struct Told {
    pub code: Option<i32>,
    pub text: String,
}

/// Runs a command.
pub async fn store(world: &World, args: &[&str]) -> Told {
    let mut command = Command::new(Process::BINARY);
    let command = command.arg("store").args(args).arg("--data").arg(world.path("data")).stdin(Stdio::null());
    let output = command.output().await.expect("switchhook");
    let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
    Told { code: output.status.code(), text }
}

/// What a command prints that must succeed.
pub async fn done(world: &World, args: &[&str]) -> String {
    let Told { code, text } = store(world, args).await;
    assert_eq!(code, Some(0), "{args:?}: {text}");
    text
}

/// What a command prints that must be refused, or finds damage.
pub async fn refused(world: &World, args: &[&str]) -> String {
    let Told { code, text } = store(world, args).await;
    assert_eq!(code, Some(1), "{args:?}: {text}");
    text
}
