//! A file system of its own for a world's data directory, which can be filled up and mounted read-only: a real one, in
//! a mount namespace that an ordinary user may make, too.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rusqlite::Connection;

use crate::world::{Process, World};

/// A small file system with the world's data directory in it. It is gone with the process that holds it.
pub struct FileSystem {
    holder: Child,
    data: PathBuf,
}

/// Copies the data directory into a file system that is mounted over it, and holds that until standard input ends.
const HOLD: &str = r#"
    cp -a "$1" "$1.seed" && mount -t tmpfs -o "size=$2" switchhook "$1" && cp -a "$1.seed/." "$1" &&
    echo mounted && exec cat >/dev/null
"#;

impl FileSystem {
    /// A file system of this size, such as `6m`. No router of the world runs.
    pub fn new(world: &World, size: &str) -> Self {
        let data = world.path("data");
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", HOLD, "sh"]);
        command.arg(&data).arg(size).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().expect("unshare (package util-linux)");
        let mut said = String::new();
        let told = BufReader::new(holder.stdout.as_mut().expect("its output")).read_line(&mut said);
        assert!(
            told.is_ok() && said == "mounted\n",
            "no file system can be mounted in a user namespace, which these tests need: is `sysctl \
             kernel.unprivileged_userns_clone` or a container's seccomp profile in the way?"
        );
        Self { holder, data }
    }

    /// A path in the data directory, as this test sees it from outside.
    pub fn path(&self, name: &str) -> PathBuf {
        let root = format!("/proc/{}/root", self.holder.id());
        PathBuf::from(format!("{root}{}", self.data.join(name).display()))
    }

    /// Leaves not one byte.
    pub fn fill(&self) {
        for size in [1 << 16, 1 << 12, 1] {
            let mut ballast =
                OpenOptions::new().append(true).create(true).open(self.path("ballast")).expect("ballast");
            let full = loop {
                if let Err(full) = ballast.write_all(&vec![0; size]) {
                    break full;
                }
            };
            assert_eq!(full.kind(), ErrorKind::StorageFull);
        }
    }

    /// Makes room again.
    pub fn empty(&self) {
        fs::remove_file(self.path("ballast")).expect("removed");
    }

    /// Mounts it anew, `ro` or `rw`. Nobody may have a file open for writing.
    pub fn remount(&self, how: &str) {
        let remounted = self.inside("mount").args(["-o", &format!("remount,{how}")]).arg(&self.data).status();
        assert!(remounted.expect("mount").success(), "not mounted {how}");
    }

    /// Starts the world's router on it.
    pub fn start(&self, world: &World) -> Process {
        Process::spawn(world, &mut self.inside(Process::BINARY))
    }

    /// A program that sees this file system.
    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let target = self.holder.id().to_string();
        command.args(["--target", &target, "--user", "--mount", "--preserve-credentials", "--"]).arg(program);
        command
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A process that holds a lock of the world's database.
pub struct Locker(Child);

/// Opens the database, carries out each line it is given, and answers each with a line.
const SHELL: &str = "
import sqlite3, sys
store = sqlite3.connect(sys.argv[1], isolation_level=None)
for line in sys.stdin:
    store.execute(line).fetchall()
    print('done', flush=True)
";

impl Locker {
    /// Another process that does this with the world's database: statements of SQL.
    pub fn new(world: &World, statements: &[&str]) -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", SHELL]).arg(world.path("data/switchhook.db"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut locker = Self(command.spawn().expect("python3"));
        statements.iter().for_each(|statement| locker.execute(statement));
        locker
    }

    fn execute(&mut self, statement: &str) {
        let input = self.0.stdin.as_mut().expect("its input");
        writeln!(input, "{statement}").expect("written");
        let mut said = String::new();
        let output = self.0.stdout.as_mut().expect("its output");
        BufReader::new(output).read_line(&mut said).expect("read");
        assert_eq!(said, "done\n", "{statement}");
    }
}

impl Drop for Locker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Leaves the database's file alone, as SQLite does when the connection that is closed last writes. In a router that ends
/// another one may be the last.
pub fn close(database: &Path) {
    let store = Connection::open(database).expect("the database");
    let is_busy: i64 =
        store.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).expect("a checkpoint");
    assert_eq!(is_busy, 0);
    drop(store);
    for beside in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{beside}", database.display()));
    }
}

/// Overwrites the first page of the world's database.
pub fn damage(world: &World) {
    let database = world.path("data/switchhook.db");
    close(&database);
    let mut file = File::options().write(true).open(database).expect("the database");
    file.write_all(&[b'x'; 4096]).expect("written");
}
