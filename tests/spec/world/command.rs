//! The commands about a running router, against a world's.

use std::process::{Output, Stdio};

use serde_json::json;

use super::World;
use super::secrets;

/// What a command printed.
pub struct Said {
    pub success: bool,
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl World {
    /// Runs a command with the token and the address that `serve` leaves for it.
    pub async fn command(&self, args: &[&str]) -> Said {
        let address = self.api_url("").replace("http://", "");
        std::fs::write(self.path("data/api.address"), address).expect("an address");
        std::fs::write(self.path("data/operator.token"), self.operator_token()).expect("a token");
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_switchhook"))
            .args(args)
            .arg("--data")
            .arg(self.path("data"))
            .stdin(Stdio::null())
            .output()
            .await;
        Said::of(searched(args, output.expect("switchhook")))
    }
}

impl Said {
    /// What was printed, as text.
    pub fn of(Output { status, stdout, stderr }: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Self { success: status.success(), code: status.code(), out: text(stdout), err: text(stderr) }
    }
}

/// What `switchhook <args>` printed: it holds no secret that it was not asked for.
pub fn searched(args: &[&str], output: Output) -> Output {
    let line = args.join(" ");
    // Nor the query of a URL that it was given.
    args.iter().for_each(|arg| secrets::register_spec(&json!({ "url": arg })));
    let shows = ["secret", "hooks set", "hooks rotate"].iter().any(|shown| line.starts_with(shown));
    for printed in [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)) {
        let text = if shows { secrets::shown(&printed) } else { printed.into_owned() };
        secrets::search(&format!("switchhook {line}"), text, &[]);
    }
    output
}
