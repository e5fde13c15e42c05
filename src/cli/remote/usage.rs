//! `switchhook usage`: what tenants used, for bills.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Serialize;

use super::client::{Router, refused};
use crate::cli::failure::Failure;
use crate::cli::terminal::{aside, columns, grouped, say, say_json, shorten};
use crate::wire::{Limit, UsageCounts, UsageFormat, UsageLine, UsageList, UsageQuery};

/// Sums what each tenant used: of this month, or of the days that are named, in UTC.
#[derive(clap::Args)]
pub struct Flags {
    /// The first day; without: the first of the month
    #[arg(long, value_name = "YYYY-MM-DD", conflicts_with = "month")]
    from: Option<Date>,
    /// The last day; without: today
    #[arg(long, value_name = "YYYY-MM-DD", conflicts_with = "month")]
    to: Option<Date>,
    /// A whole month instead
    #[arg(long, value_name = "YYYY-MM", value_parser = month)]
    month: Option<Date>,
    /// Only this tenant's
    #[arg(long)]
    tenant: Option<String>,
    /// A line for each day and tenant instead of sums
    #[arg(long)]
    by_day: bool,
    /// CSV with a line for each day and tenant, for billing
    #[arg(long, conflicts_with_all = ["by_day", "json"])]
    csv: bool,
    /// One JSON object per line, for each day and tenant; the totals come last, as one object
    #[arg(long, conflicts_with = "by_day")]
    json: bool,
    #[command(flatten)]
    router: Router,
}

/// The first day of a month.
fn month(text: &str) -> Result<Date, String> {
    format!("{text}-01").parse().map_err(|_| "a month is a year and a number, such as 2026-11".to_owned())
}

/// Prints what was used.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    let Flags { from, to, month, tenant, by_day, csv, json, router } = flags;
    let (from, to) = month.map_or((from, to), |first| (Some(first), Some(first.last_of_month())));
    let query = UsageQuery { from, to, tenant, ..UsageQuery::default() };
    if csv {
        return print_csv(&router, query).await;
    }
    let (lines, rest) = all(&router, query).await?;
    if json {
        lines.iter().for_each(say_json);
        say_json(&rest);
    } else if lines.is_empty() {
        say("nothing was used on these days");
    } else if by_day {
        print_days(&lines, rest.totals);
    } else {
        print_tenants(&lines, rest.totals);
    }
    if !rest.complete {
        aside("… events of these days are still being counted: ask again in a few minutes");
    }
    Ok(())
}

/// What belongs to the list beside its lines.
#[derive(Serialize)]
struct Rest {
    totals: UsageCounts,
    complete: bool,
}

/// All pages.
async fn all(router: &Router, query: UsageQuery) -> Result<(Vec<UsageLine>, Rest), Failure> {
    let mut query = UsageQuery { limit: Some(Limit::at_most(1000)), ..query };
    let mut lines = Vec::new();
    loop {
        let page: UsageList = router.get(&["v1", "usage"]).query(&query).answer().await?;
        lines.extend(page.usage);
        if page.next.is_none() || page.next == query.after {
            return Ok((lines, Rest { totals: page.totals, complete: page.complete }));
        }
        query.after = page.next;
    }
}

async fn print_csv(router: &Router, query: UsageQuery) -> Result<(), Failure> {
    let query = UsageQuery { format: Some(UsageFormat::Csv), ..query };
    let (status, text) = router.get(&["v1", "usage"]).query(&query).text().await?;
    if !status.is_success() {
        return Err(refused(&(status, serde_json::from_str(&text).ok())));
    }
    text.lines().for_each(say);
    Ok(())
}

/// A line for each tenant, most events first.
fn print_tenants(lines: &[UsageLine], totals: UsageCounts) {
    let mut tenants: BTreeMap<&str, UsageCounts> = BTreeMap::new();
    for line in lines {
        *tenants.entry(&line.tenant).or_default() += line.counts();
    }
    let mut tenants: Vec<_> = tenants.into_iter().collect();
    tenants.sort_by_key(|(_, counts)| -counts.events);
    let rows = tenants.iter().map(|(tenant, counts)| row(name(tenant), *counts));
    let heading = ["tenant", "events", "delivered", "attempts", "bytes"];
    columns(heading, rows.chain([row("total".to_owned(), totals)]), &[1, 2, 3, 4]).iter().for_each(say);
}

fn print_days(lines: &[UsageLine], totals: UsageCounts) {
    let line = |day: String, [tenant, events, delivered, attempts, bytes]: [String; 5]| {
        [day, tenant, events, delivered, attempts, bytes]
    };
    let rows = lines.iter().map(|one| line(one.day.to_string(), row(name(&one.tenant), one.counts())));
    let heading = ["day", "tenant", "events", "delivered", "attempts", "bytes"];
    let total = line("total".to_owned(), row(String::new(), totals));
    columns(heading, rows.chain([total]), &[2, 3, 4, 5]).iter().for_each(say);
}

fn name(tenant: &str) -> String {
    if tenant.is_empty() { "(nobody's)".to_owned() } else { shorten(tenant, 40) }
}

fn row(first: String, counts: UsageCounts) -> [String; 5] {
    let number = |count: i64| grouped(usize::try_from(count).unwrap_or(0));
    let UsageCounts { events, deliveries, attempts, bytes } = counts;
    [first, number(events), number(deliveries), number(attempts), number(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_a_year_and_a_number() {
        let days = |text| month(text).map(|first| format!("{first} {}", first.last_of_month())).ok();
        assert_eq!(days("2026-02").as_deref(), Some("2026-02-01 2026-02-28"));
        for text in ["2026", "2026-13", "11-2026", "2026-11-05", ""] {
            assert_eq!(days(text), None, "{text}");
        }
    }
}
