//! The table of figures: a row for each system at each rate.

use super::run::{Latency, Run};
use super::system::{BARE, FLOOR, SQLITE, System};
use crate::shared::figures::{median, median_by};

/// Below this share of the rate, a run is one at another rate, and compares with no other.
const KEPT_UP: f64 = 0.95;

/// Prints rows; a column for factors against an older build only where there is one.
pub struct Table<'s> {
    systems: &'s [System],
    has_older: bool,
}

impl<'s> Table<'s> {
    /// Prints the head.
    pub fn begin(systems: &'s [System]) -> Self {
        let table = Self { systems, has_older: systems.iter().any(|system| system.older.is_some()) };
        let (ack, delivery) = ("ack p50/p99 ms", "to receiver p50/p99 ms");
        table.row(["rate/s", "system", "CPU µs/event", "× bare", "× floor", "× old", ack, delivery]);
        table
    }

    /// Prints what each system's runs at a rate were like; `runs`: by system, then by round.
    ///
    /// # Panics
    /// When an event was lost or misrouted.
    pub fn show(&self, rate: u64, runs: &[Vec<Run>]) {
        for (system, mine) in self.systems.iter().zip(runs) {
            let cpu = |other: usize| format!("{:.2}", ratio(mine, &runs[other], |run| run.cpu));
            let run = median_by(mine, |run| run.cpu);
            self.row([
                &rate.to_string(),
                system.name,
                &format!("{:.1}", run.cpu),
                &cpu(BARE),
                &cpu(FLOOR),
                &system.older.map(cpu).unwrap_or_default(),
                &pair(&run.acknowledged),
                &pair(&run.delivered),
            ]);
            let astray: usize = mine.iter().map(|run| run.astray).sum();
            assert_eq!(astray, 0, "events of {} were lost, or went where they did not belong", system.name);
            let slowest = mine.iter().map(|run| run.rate).fold(f64::INFINITY, f64::min);
            if slowest < rate as f64 * KEPT_UP {
                println!("{:>6}  the machine did not keep up: a run at {slowest:.0}/s", "");
            }
        }
        for (system, mine) in self.systems.iter().zip(runs) {
            if let Some(older) = system.older {
                let name = if system.mixed { "new / old, web" } else { "new / old" };
                self.against(rate, name, mine, &runs[older]);
            }
            if system.router().is_some() {
                self.against(rate, &format!("{} / sqlite", system.name), mine, &runs[SQLITE]);
            }
        }
    }

    /// Prints the factors of some runs' figures against others'.
    fn against(&self, rate: u64, name: &str, mine: &[Run], other: &[Run]) {
        let factors = |latency: fn(&Run) -> &Latency| {
            let p50 = ratio(mine, other, |run| latency(run).p50);
            pair(&Latency { p50, p99: ratio(mine, other, |run| latency(run).p99) })
        };
        self.row([
            &rate.to_string(),
            name,
            &format!("× {:.2}", ratio(mine, other, |run| run.cpu)),
            "",
            "",
            "",
            &factors(|run| &run.acknowledged),
            &factors(|run| &run.delivered),
        ]);
    }

    fn row(&self, [rate, name, cpu, bare, floor, old, ack, delivery]: [&str; 8]) {
        let old = if self.has_older { format!(" {old:>7}") } else { String::new() };
        println!("{rate:>6}  {name:<19} {cpu:>12} {bare:>7} {floor:>8}{old} {ack:>16} {delivery:>23}");
    }
}

fn pair(latency: &Latency) -> String {
    format!("{:.2} / {:.2}", latency.p50, latency.p99)
}

/// The median of the rounds' own ratios.
fn ratio(mine: &[Run], other: &[Run], measure: impl Fn(&Run) -> f64) -> f64 {
    median(mine.iter().zip(other).map(|(mine, other)| measure(mine) / measure(other)))
}
