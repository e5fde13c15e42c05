//! The commands about a running router, against a world's.

use std::process::{Output, Stdio};

use super::World;

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
        let Output { status, stdout, stderr } = output.expect("switchhook");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Said { success: status.success(), code: status.code(), out: text(stdout), err: text(stderr) }
    }
}
