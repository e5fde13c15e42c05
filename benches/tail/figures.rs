//! What came of a system's turns: how long events waited, and CPU.

use std::time::Duration;

use crate::shared::figures::{Times, median};
use crate::shared::sink::Offered;

/// A wait is a time from the post to the answer, or to the delivery.
#[derive(Default)]
struct Waits {
    all: Vec<Duration>,
    /// Of each turn, the wait that one event in a thousand exceeds, in milliseconds.
    per_turn: Vec<f64>,
}

impl Waits {
    fn add(&mut self, waits: impl Iterator<Item = Duration>) {
        let waits: Vec<_> = waits.collect();
        self.per_turn.push(Times::of(waits.iter().copied()).per_mille(999));
        self.all.extend(waits);
    }

    /// 50 %, 99 % and 99.9 % of the waits are shorter; the longest. In milliseconds.
    fn marks(&self) -> [f64; 4] {
        let times = Times::of(self.all.iter().copied());
        [times.percentile(50), times.percentile(99), times.per_mille(999), times.longest()]
    }
}

#[derive(Default)]
pub struct Figures {
    acknowledged: Waits,
    delivered: Waits,
    events: usize,
    /// Microseconds.
    cpu: f64,
}

impl Figures {
    /// Prints the head of the table.
    pub fn head() {
        let marks = "p50/p99/p99.9/max ms";
        let (ack, delivery) = (format!("ack {marks}"), format!("to receiver {marks}"));
        println!("{:<22} {:>12} {ack:>31} {delivery:>34}", "system", "CPU µs/event");
    }

    /// Adds a turn that took so many microseconds of CPU.
    ///
    /// # Panics
    /// When an event was lost, or offered late.
    pub fn add(&mut self, offered: &Offered, count: usize, cpu: f64) {
        assert_eq!(offered.astray(), 0, "events were lost");
        self.acknowledged.add(offered.acknowledged());
        self.delivered.add(offered.delivered());
        self.events += count;
        self.cpu += cpu;
    }

    pub fn show(&self, name: &str) {
        row(name, &format!("{:.1}", self.cpu_per_event()), &[&self.acknowledged, &self.delivered], |waits| {
            waits.marks().map(|mark| format!("{mark:.2}"))
        });
    }

    /// Prints these figures as factors of others, and the factors of p99.9 turn by turn.
    pub fn against(&self, other: &Self, name: &str) {
        let cpu = format!("× {:.2}", self.cpu_per_event() / other.cpu_per_event());
        let pairs = [(&self.acknowledged, &other.acknowledged), (&self.delivered, &other.delivered)];
        row(name, &cpu, &pairs, |(mine, others)| {
            let (mine, others) = (mine.marks(), others.marks());
            std::array::from_fn(|at| format!("{:.2}", mine[at] / others[at]))
        });
        let of_turns = |(mine, others): (&Waits, &Waits)| {
            median(mine.per_turn.iter().zip(&others.per_turn).map(|(mine, other)| mine / other))
        };
        let [ack, delivery] = pairs.map(of_turns);
        println!(
            "{:<22} p99.9, median of the turns' own factors: ack {ack:.2}, to receiver {delivery:.2}",
            ""
        );
    }

    fn cpu_per_event(&self) -> f64 {
        self.cpu / self.events as f64
    }
}

fn row<T>(name: &str, cpu: &str, columns: &[T; 2], marks: impl Fn(&T) -> [String; 4]) {
    let [ack, delivery] = columns.each_ref().map(|column| marks(column).join(" / "));
    println!("{name:<22} {cpu:>12} {ack:>31} {delivery:>34}");
}
