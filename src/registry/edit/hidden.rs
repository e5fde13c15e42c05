//! A URL that was read with its query hidden and is sent back: the hook keeps the query that is stored.

use std::borrow::Cow;

use reqwest::Url;
use serde_json::Value;

use super::kinds::{EditRefusal, Found, Precondition};
use super::visible;
use crate::access::Scope;
use crate::hooks::{HookTable, HostPattern, Layer, is_hidden, shown};

/// A hook's specification with the stored query in place of the mark for it. The mark stays, and is a fault to who
/// reads it, where it stands for no query of a hook that the token may see.
///
/// # Errors
/// [`EditRefusal`]: the mark is of another version of the hook, or of the hooks file's.
pub fn with_stored_query<'s>(
    scope: &Scope,
    (host, spec): (&HostPattern, &'s Value),
    found: Option<&Found<'_>>,
    (precondition, is_readable): (&Precondition, bool),
    table: &HookTable,
) -> Result<Cow<'s, Value>, EditRefusal> {
    if !spec["url"].as_str().is_some_and(is_hidden) {
        return Ok(Cow::Borrowed(spec));
    }
    if visible(scope, table, host).is_ok_and(|hook| hook.origin.layer == Layer::File) {
        return Err(EditRefusal::OfFile);
    }
    let Some(found) = found.filter(|found| scope.sees(&found.row.tenant)) else {
        return Ok(Cow::Borrowed(spec));
    };
    precondition.check(Some(found.etag()), is_readable)?;
    Ok(if stands_for(spec, found) {
        let mut whole = spec.clone();
        whole["url"] = found.row.url.clone().into();
        Cow::Owned(whole)
    } else {
        Cow::Borrowed(spec)
    })
}

/// Whether the URL is what is shown of this hook's. Given to another tenant, it is another hook, which does not get the
/// first one's credential.
fn stands_for(spec: &Value, found: &Found<'_>) -> bool {
    let given = spec["url"].as_str().and_then(|url| Url::parse(url).ok());
    let is_same = given.is_some_and(|given| *given.as_str() == *shown(&found.row.url));
    let is_owner = spec.get("tenant").is_none_or(|tenant| *tenant == *found.row.tenant);
    // A query that cannot be opened is none.
    is_same && is_owner && found.kept.is_some()
}
