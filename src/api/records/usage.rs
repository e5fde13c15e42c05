//! What tenants used, day by day: as JSON in pages, or all of it as CSV.

mod csv;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use jiff::civil::Date;

use self::csv::Rows;
use crate::access::Bearer;
use crate::api::input::{Params, malformed};
use crate::api::state::{Api, LOOK_WITHIN};
use crate::http::Problem;
use crate::outbox::UsageFilter;
use crate::time::UnixDay;
use crate::wire::{Limit, ProblemKind, UsageFormat, UsageList, UsageQuery};

/// What tenants used on each day, in UTC: events, deliveries, attempts and bytes. A tenant sees its own.
///
/// The counts are exact, also across a crash; today's go on. With `Accept: text/csv` or `format=csv` it is CSV (RFC 4180)
/// and the whole of it, refused while anything of that time is still to be counted.
#[utoipa::path(
    get, path = "/v1/usage", operation_id = "listUsage", tag = "usage", params(UsageQuery),
    responses((status = 200, description = "A page, or all of it as CSV.", content(
        (UsageList = "application/json"),
        (String = "text/csv", example = "day,tenant,events,deliveries,attempts,bytes\r\n"),
    ))),
)]
pub async fn list(
    bearer: Bearer,
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Params(query): Params<UsageQuery>,
) -> Result<Response, Problem> {
    let filter = meant(&query, UnixDay::of(api.clock.unix()))?;
    if is_csv(&query, &headers) {
        return csv(api, bearer, filter).await;
    }
    let limit = query.limit.map_or(100, Limit::count);
    let page = api.ask(LOOK_WITHIN, api.views.of(&bearer.scope).usage(filter, limit)).await?;
    Ok(([(header::VARY, "accept")], Json(page)).into_response())
}

/// Which usage a query means.
fn meant(query: &UsageQuery, today: UnixDay) -> Result<UsageFilter, Problem> {
    let to = query.to.unwrap_or_else(|| today.date());
    let from = query.from.unwrap_or_else(|| to.first_of_month());
    if from > to {
        return Err(malformed(format!("`from`: {from} is behind `to`, which is {to}")));
    }
    let after = query.after.as_deref().map(|after| {
        place(after).ok_or_else(|| malformed("`after`: it takes what the page before gave as `next`"))
    });
    Ok(UsageFilter {
        from: UnixDay::of_date(from),
        to: UnixDay::of_date(to),
        tenant: query.tenant.clone(),
        after: after.transpose()?,
    })
}

/// The day and tenant of a page's `next`.
fn place(next: &str) -> Option<(UnixDay, String)> {
    let (day, tenant) = next.split_once('.')?;
    Some((UnixDay::of_date(day.parse::<Date>().ok()?), tenant.to_owned()))
}

/// Whether CSV is asked for: by `format`, or by a media type of `Accept` (RFC 9110 §12.5.1).
fn is_csv(query: &UsageQuery, headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = accepted.flat_map(|value| value.split(','));
    let is_csv =
        |kind: &str| kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/csv"));
    query.format.map_or_else(|| kinds.any(is_csv), |format| format == UsageFormat::Csv)
}

async fn csv(api: Arc<Api>, bearer: Bearer, filter: UsageFilter) -> Result<Response, Problem> {
    let name = format!("usage-{}-{}.csv", filter.from.date(), filter.to.date());
    let filter = UsageFilter { after: None, ..filter };
    // Read before the head is sent: a fault is answered as a problem.
    let first = csv::page(&api, &bearer.scope, &filter).await?;
    if !first.complete {
        let detail = "Events of these days are still to be counted, such as those of an older release: ask again in a \
                      few minutes. As JSON, what is counted so far is answered, with `complete`: false.";
        return Err(Problem::new(ProblemKind::Unavailable).detail(detail));
    }
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (header::VARY, "accept".to_owned()),
    ];
    let rows = Rows::from(api, bearer.scope, filter, first);
    Ok((headers, axum::body::Body::new(rows)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(from: Option<&str>, to: Option<&str>) -> UsageQuery {
        let date = |text: &str| text.parse().expect("a date");
        UsageQuery { from: from.map(date), to: to.map(date), ..UsageQuery::default() }
    }

    #[test]
    fn a_month_up_to_today_is_meant_unless_days_are_named() {
        let today = UnixDay::of_date("2026-11-27".parse().expect("a date"));
        let days = |from, to| {
            let filter = meant(&query(from, to), today).ok()?;
            Some(format!("{} {}", filter.from.date(), filter.to.date()))
        };
        assert_eq!(days(None, None).as_deref(), Some("2026-11-01 2026-11-27"));
        assert_eq!(days(None, Some("2026-02-28")).as_deref(), Some("2026-02-01 2026-02-28"));
        assert_eq!(days(Some("2025-12-31"), None).as_deref(), Some("2025-12-31 2026-11-27"));
        assert_eq!(days(Some("2026-11-28"), None), None);
        assert_eq!(place("2026-11-27.a.b"), Some((today, "a.b".to_owned())));
        assert_eq!(place("2026-11-27."), Some((today, String::new())));
        assert_eq!((place("2026-11-27"), place("yesterday.a")), (None, None));
    }

    #[test]
    fn csv_is_asked_for_by_format_or_by_media_type() {
        let asks = |accept: &str, format: Option<UsageFormat>| {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().expect("a header"))]);
            is_csv(&UsageQuery { format, ..UsageQuery::default() }, &headers)
        };
        assert!(asks("application/xml, Text/CSV;q=0.9", None) && asks("*/*", Some(UsageFormat::Csv)));
        assert!(!asks("*/*", None) && !asks("text/csv", Some(UsageFormat::Json)));
    }
}
