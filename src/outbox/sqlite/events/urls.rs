//! URLs as they are stored: their queries are sealed.

use std::borrow::Cow;

use rusqlite::types::Type;
use rusqlite::{Error, Result, Row};

use crate::hooks::Format;
use crate::ids::HookId;
use crate::registry::QuerySealer;
use crate::route::Binding;

/// A binding to a hook, from the columns `url, format`, the first of which is `first`. `queries` opens the URL; without,
/// it stays as it is stored.
///
/// # Errors
/// As of a damaged row if the URL cannot be opened: without its query it is another.
pub fn binding(row: &Row<'_>, first: usize, hook: HookId, queries: Option<&QuerySealer>) -> Result<Binding> {
    let stored = row.get::<_, Option<String>>(first)?.unwrap_or_default();
    let opened = queries.map_or(Some(Cow::Borrowed(&*stored)), |queries| queries.open(&stored));
    let url = opened.ok_or_else(|| Error::InvalidColumnType(first, "url".into(), Type::Text))?;
    let format: Option<String> = row.get(first + 1)?;
    let format = format.as_deref().and_then(Format::named).unwrap_or(Format::Raw);
    Ok(Binding { hook, url: (&*url).into(), format })
}
