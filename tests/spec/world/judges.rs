//! Third parties' programs, which judge what is sent.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::PATIENCE;

/// `python` or `node`, with the third parties' libraries that `tests/run` installs.
pub fn with_libraries(program: &str) -> tokio::process::Command {
    let judges = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/judges");
    let python = judges.join("venv/bin/python");
    let program = if program == "python" { python } else { PathBuf::from(program) };
    let mut command = tokio::process::Command::new(program);
    command.env("NODE_PATH", judges.join("node_modules")).kill_on_drop(true);
    command
}

/// A third party's program of `tests/judges`, and what it makes of `input`.
pub async fn judge(program: &str, script: &str, input: &str) -> String {
    use tokio::io::AsyncWriteExt;
    let child = with_libraries(program)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judges").join(script))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = child
        .unwrap_or_else(|error| panic!("{program}: {error}. `tests/run` installs what the judges need."));
    let mut stdin = child.stdin.take().expect("standard input");
    // At once: a judge whose answers nobody reads reads no further.
    let told = async move { stdin.write_all(input.as_bytes()).await };
    let both = async { tokio::join!(told, child.wait_with_output()) };
    let (told, output) = tokio::time::timeout(PATIENCE, both).await.expect("the judge ends in time");
    let output = output.expect("the judge ends");
    told.expect("the judge reads");
    assert!(output.status.success(), "{script} failed; `tests/run` installs what it needs");
    String::from_utf8(output.stdout).expect("text")
}
