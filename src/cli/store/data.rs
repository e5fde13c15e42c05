//! Where the router's files are.

use std::path::{Path, PathBuf};

use crate::cli::failure::Failure;
use crate::config;
use crate::outbox::care;
use crate::signature::MasterSecret;

/// The data directory of the router.
#[derive(clap::Args)]
pub struct DataFlags {
    /// The router's data directory
    #[arg(long, env = "SWITCHHOOK_DATA", value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
}

impl DataFlags {
    /// The database in it.
    pub fn database(&self) -> PathBuf {
        care::database(&self.data)
    }

    /// The master secret of the router; none: a new machine has none yet.
    pub fn master(&self, file: Option<&Path>) -> Result<Option<MasterSecret>, Failure> {
        match config::master_secret(&self.data, file) {
            Ok(master) => Ok(Some(master)),
            Err(_) if file.is_none() && !self.data.join("master.secret").exists() => Ok(None),
            Err(wrong) => Err(Failure::configuration(wrong.join("\n"))),
        }
    }

    /// Keeps routers off the directory for as long as the file is open.
    pub fn lock(&self) -> Result<std::fs::File, Failure> {
        config::lock_data(&self.data).map_err(Failure::new)
    }

    /// If `database` is that of a router's directory, and not of `--data`: no router starts on that directory as long as the
    /// returned file is open.
    ///
    /// # Errors
    /// When a router runs on it.
    pub fn lock_other(&self, database: &Path) -> Result<Option<std::fs::File>, Failure> {
        let file = database.canonicalize().unwrap_or_default();
        match file.parent() {
            Some(other)
                if care::database(other) == file
                    && self.data.canonicalize().is_ok_and(|own| own != other) =>
            {
                config::lock_to_read(other).map_err(Failure::new)
            }
            _ => Ok(None),
        }
    }
}
