//! The hook table: a look-up's time and allocations, the time to read and build it, its memory.
//!
//! `cargo bench --bench table`
//!
//! Allocations are counted by glibc's `libmemusage.so`, since a counting allocator would need unsafe
//! code: this program runs itself under it, once without look-ups and once with many, and compares
//! how often the two called the allocator. A third run that allocates once per look-up shows that
//! such a call would be counted. Memory is the resident size of a process of its own.

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and gives up"
)]

use std::hint::black_box;
use std::ops::Range;
use std::time::{Duration, Instant};

use shared::event::{hooks_file, host};
use shared::figures::{ROUNDS, median, nanoseconds, resident};
use shared::process::{in_role, role};
use switchhook::UnixMillis;
use switchhook::bench::{Edits, Name, Read, Signed, Table};

mod shared;

const SIZES: [usize; 3] = [10, 100_000, 1_000_000];
const LOOK_UPS: usize = 200_000;

/// So many single changes are made and measured.
const CHANGES: usize = 200;

const NOW: UnixMillis = UnixMillis(1_795_240_012_000);

/// Rounds under the allocation counter.
const COUNTED: usize = 5;

fn main() {
    let role = role();
    let words: Vec<&str> = role.split(' ').collect();
    let number = |word: &str| word.parse::<usize>().expect("a number");
    match words[..] {
        ["look-up", hooks, rounds, allocate] => look_up(number(hooks), number(rounds), allocate == "true"),
        ["memory", hooks, part] => println!("{}", memory(number(hooks), number(part))),
        _ => report(),
    }
}

fn report() {
    println!("{LOOK_UPS} look-ups in random order, median of {ROUNDS} rounds");
    println!("{:>9}  {:<34} {:>10} {:>12}", "hooks", "look-up", "ns", "allocations");
    for hooks in SIZES {
        let table = table(hooks);
        let allocations = allocations(hooks, false);
        for queries in [Queries::hits(hooks), Queries::mixed(hooks)] {
            println!("{hooks:>9}  {:<34} {:>10.0} {allocations:>12}", queries.what, queries.measure(&table));
        }
    }
    println!("{:>9}  {:<34} {:>10} {:>12}", 10, "the same, allocating once each", "", allocations(10, true));

    let hooks = 100_000;
    let text = yaml(0..hooks);
    let rounds: Vec<[Duration; 3]> = (0..5).map(|_| build(&text, hooks)).collect();
    println!("\n{hooks} hooks of {:.1} MB YAML, medians of {}", text.len() as f64 / 1e6, rounds.len());
    for (at, what) in ["read and check", "derive the secrets", "build the index"].into_iter().enumerate() {
        println!("{what:<34} {:>8.0} ms", median(rounds.iter().map(|round| round[at].as_secs_f64() * 1e3)));
    }

    println!("\none change of the API, checked and planned, median of {CHANGES}; to be under 5 ms");
    for hooks in [100_000, 1_000_000] {
        println!("among {hooks:>9} hooks {:>29.3} ms", change(hooks));
    }

    println!("\nresident bytes per hook");
    for hooks in [100_000, 1_000_000] {
        let memory = |part: usize| run_self(&format!("memory {hooks} {part}"), false).0.trim().to_owned();
        println!("{hooks:>9}  {:<34} {:>8}", "the table", memory(1000));
        println!("{hooks:>9}  {:<34} {:>8}", "and what reading one file leaves", memory(hooks));
    }
}

/// Milliseconds that one more hook takes, the old table's end included.
fn change(hooks: usize) -> f64 {
    let mut edits = Edits::new(&yaml(0..hooks), NOW);
    let mut put = |number: usize| {
        let host = format!("calls.added{number:07}.example");
        let began = Instant::now();
        drop(black_box(edits.put(&host, "https://api.added.example/voice", NOW)));
        began.elapsed().as_secs_f64() * 1e3
    };
    let times: Vec<f64> = (0..CHANGES).map(&mut put).collect();
    let median = median(times);
    assert_eq!(edits.count(), hooks + CHANGES);
    median
}

/// How long reading, deriving and building take.
fn build(text: &str, hooks: usize) -> [Duration; 3] {
    let began = Instant::now();
    let read = Read::new(text);
    let after_reading = began.elapsed();
    let mut signed = Signed::new(hooks);
    signed.add(read);
    let after_deriving = began.elapsed();
    let table = Table::build(signed);
    let after_building = began.elapsed();
    drop(black_box(table));
    [after_reading, after_deriving - after_reading, after_building - after_deriving]
}

fn yaml(hooks: Range<usize>) -> String {
    hooks_file(hooks, |hook| format!("https://api.tenant{hook:07}.example/voice"))
}

/// That many exact hosts, and one wildcard.
fn table(hooks: usize) -> Table {
    let mut signed = Signed::new(hooks + 1);
    signed.add(Read::new(&yaml(0..hooks)));
    signed.add(Read::new(
        "hooks:\n  - host: '*.wild.example'\n    tenant: wild\n    url: https://wild.example\n",
    ));
    Table::build(signed)
}

/// Domains and the hooks they must find.
struct Queries {
    what: &'static str,
    all: Vec<(Name, Option<i64>)>,
}

impl Queries {
    fn hits(hooks: usize) -> Self {
        let mut random = Random(1);
        let all = (0..LOOK_UPS).map(|_| Self::hit(random.below(hooks))).collect();
        Self { what: "exact hosts", all }
    }

    /// Half of them no exact hosts: the wildcard's, or nobody's.
    fn mixed(hooks: usize) -> Self {
        let mut random = Random(2);
        let one = |_| {
            let which = random.below(hooks);
            match random.below(4) {
                0 => (Name::new(&format!("a{which}.wild.example")), Some(id(hooks))),
                1 => (Name::new(&format!("calls.stranger{which:07}.example")), None),
                _ => Self::hit(which),
            }
        };
        Self { what: "half exact, 1/4 wildcard, 1/4 none", all: (0..LOOK_UPS).map(one).collect() }
    }

    fn hit(hook: usize) -> (Name, Option<i64>) {
        (Name::new(&host(hook)), Some(id(hook)))
    }

    fn look_up(&self, table: &Table) {
        for (name, _) in &self.all {
            black_box(table.find(black_box(name)));
        }
    }

    /// Not measured: each finds its hook.
    fn check(&self, table: &Table) {
        for (name, expected) in &self.all {
            assert_eq!(table.find(name), expected.and_then(|id| table.place(id)), "it finds its hook");
        }
    }

    /// Nanoseconds per look-up, the median of the rounds.
    fn measure(&self, table: &Table) -> f64 {
        self.check(table);
        nanoseconds(LOOK_UPS, || self.look_up(table))
    }
}

fn id(hook: usize) -> i64 {
    i64::try_from(hook).expect("few hooks")
}

/// The same numbers every time (SplitMix64): only their order must be none a processor can guess.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).expect("below a usize")
    }
}

/// What a process under the allocation counter does.
fn look_up(hooks: usize, rounds: usize, allocate: bool) {
    let table = table(hooks);
    let queries = [Queries::hits(hooks), Queries::mixed(hooks)];
    for _ in 0..rounds {
        for queries in &queries {
            queries.look_up(&table);
            for _ in 0..if allocate { LOOK_UPS } else { 0 } {
                drop(black_box(Box::new(1)));
            }
        }
    }
}

/// Calls of the allocator per look-up, as text; says so where they cannot be counted.
fn allocations(hooks: usize, allocate: bool) -> String {
    let calls = |rounds: usize| {
        let (_, summary) = run_self(&format!("look-up {hooks} {rounds} {allocate}"), true);
        let calls_of = |name: &str| {
            let line = summary.lines().find_map(|line| line.split_once(name)?.1.strip_prefix('|'))?;
            line.split_whitespace().find_map(|word| word.parse::<f64>().ok())
        };
        // ` malloc`, not the end of another name.
        Some(calls_of(" malloc")? + calls_of("realloc")? + calls_of(" calloc")?)
    };
    let counted = calls(COUNTED).zip(calls(0)).map(|(with, without)| with - without);
    let look_ups = (2 * COUNTED * LOOK_UPS) as f64;
    counted.map_or_else(|| "not counted".to_owned(), |calls| format!("{:.6}", calls / look_ups))
}

/// Bytes per hook by which the process grows. The file comes in parts: with small ones what reading
/// leaves behind is small, too.
fn memory(hooks: usize, part: usize) -> usize {
    let before = resident("self");
    let mut signed = Signed::new(hooks);
    for first in (0..hooks).step_by(part) {
        signed.add(Read::new(&yaml(first..hooks.min(first + part))));
    }
    let table = Table::build(signed);
    let bytes = (resident("self") - before) / hooks;
    drop(black_box(table));
    bytes
}

/// Runs this program in a role; what it wrote to its two outputs.
fn run_self(role: &str, counted: bool) -> (String, String) {
    let mut command = in_role(role);
    if counted {
        command.env("LD_PRELOAD", "libmemusage.so");
    }
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{role}: {}", String::from_utf8_lossy(&output.stderr));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}
