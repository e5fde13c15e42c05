//! A disk that can be made slow, full or silent beneath a router that runs as a process.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::world::{Process, World};

/// The disk of one world.
pub struct Disk {
    library: PathBuf,
    control: PathBuf,
}

impl Disk {
    /// A disk without faults for the router of this world.
    pub fn new(world: &World) -> Self {
        let disk = Self { library: world.path("disk.so"), control: world.path("disk") };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/alone/store_faults/disk.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&disk.library).arg(source);
        assert!(cc.arg("-ldl").status().expect("cc").success(), "the faulty disk is not built");
        disk.is("0");
        disk
    }

    /// Seconds that each sync takes, or `fail`, `full`, `hang`: see disk.c.
    pub fn is(&self, mode: &str) {
        // In one step: it is read at any moment.
        let new = self.control.with_extension("new");
        std::fs::write(&new, mode).expect("written");
        std::fs::rename(new, &self.control).expect("in place");
    }

    /// Starts the world's router on this disk.
    pub fn start(&self, world: &World) -> Process {
        self.start_until("ready", world)
    }

    /// The same until it logs this line, which says where it listens.
    pub fn start_until(&self, message: &str, world: &World) -> Process {
        let mut command = Command::new(Process::BINARY);
        command.env("LD_PRELOAD", &self.library).env("FAULTY_DISK", &self.control);
        Process::spawn_until(message, world, &mut command)
    }
}
