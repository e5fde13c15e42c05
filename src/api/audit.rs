//! Who did what: the audit log, and what it says of a request.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;

use super::input::{Params, malformed};
use super::state::{ANSWER_WITHIN, Api};
use crate::access::{Bearer, Scope};
use crate::hooks::Tenant;
use crate::http::{PeerAddress, Problem};
use crate::outbox::{AuditEntry, AuditRecord};
use crate::time::UnixMillis;
use crate::wire::{AuditLine, AuditList, AuditQuery, Limit};

/// Who asks for a change: a bearer, and where the request came from.
pub struct Asker {
    pub bearer: Bearer,
    from: Option<String>,
}

impl FromRequestParts<Arc<Api>> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let bearer = Bearer::from_request_parts(parts, api).await?;
        let from = parts.extensions.get::<PeerAddress>().map(|peer| peer.0.to_string());
        Ok(Self { bearer, from })
    }
}

impl Asker {
    /// What the asker's token permits.
    pub fn scope(&self) -> &Scope {
        &self.bearer.scope
    }

    /// The record of a change that is made. `tenant`: whose thing `target` is.
    pub fn record(&self, now: UnixMillis, action: &str, target: &str, tenant: Option<&str>) -> AuditRecord {
        AuditRecord {
            at: now,
            actor: self.bearer.actor().to_owned(),
            token: Some(self.bearer.jti.clone()),
            from: self.from.clone(),
            tenant: tenant.map(str::to_owned),
            action: action.to_owned(),
            target: target.chars().take(TARGET_CHARS).collect(),
            before: None,
            after: None,
            outcome: "done".to_owned(),
        }
    }

    /// The record of a change that is refused. It is the asker's: it tells nobody else who tried.
    pub fn refusal(&self, now: UnixMillis, action: &str, target: &str, why: &str) -> AuditRecord {
        let own = self.scope().tenant().map(Tenant::as_str);
        AuditRecord { outcome: format!("refused: {why}"), ..self.record(now, action, target, own) }
    }
}

/// What was asked for may be any text: no more of it is recorded.
const TARGET_CHARS: usize = 300;

/// What was changed, by whom, and what was refused, the newest first. A tenant sees what concerns its own things.
///
/// A page may hold fewer than `limit`: it ends at about 1 MiB. Of a tenant's own changes the newest 20 000 are kept.
#[utoipa::path(
    get, path = "/v1/audit", operation_id = "listAudit", tag = "audit", params(AuditQuery),
    responses((status = 200, description = "A page of the log.", body = AuditList)),
)]
pub async fn list(
    bearer: Bearer,
    State(api): State<Arc<Api>>,
    Params(query): Params<AuditQuery>,
) -> Result<Json<AuditList>, Problem> {
    let limit = query.limit.map_or(100, Limit::count);
    let tenant = query
        .tenant
        .as_deref()
        .map(|name| Tenant::new(name).ok_or_else(|| malformed("`tenant`: no tenant can have this name")));
    let view = api.views.of(&bearer.scope);
    let (page, more) =
        api.ask(ANSWER_WITHIN, view.audit_log(tenant.transpose()?, query.after, limit)).await?;
    let next = page.last().filter(|_| more).map(|entry| entry.id);
    Ok(Json(AuditList { entries: page.into_iter().map(line).collect(), next }))
}

fn line(AuditEntry { id, record }: AuditEntry) -> AuditLine {
    let record = Arc::unwrap_or_clone(record);
    let json = |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok());
    AuditLine {
        id,
        at: record.at.to_string(),
        actor: record.actor,
        token: record.token,
        from: record.from,
        tenant: record.tenant,
        action: record.action,
        target: Some(record.target),
        before: json(record.before),
        after: json(record.after),
        outcome: record.outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Claims, Tokens};

    #[test]
    fn of_what_was_asked_for_three_hundred_characters_are_recorded() {
        let (tokens, now) = (Tokens::new(&"s".repeat(44)), UnixMillis(0));
        let token = tokens.sign(&Claims::operator(now, UnixMillis(1000))).expect("a token");
        let bearer = tokens.verify(&token, now).expect("valid");
        let asker = Asker { bearer, from: None };
        let recorded =
            |length: usize| asker.record(now, "hook.put", &"ä".repeat(length), None).target.chars().count();
        assert_eq!((recorded(TARGET_CHARS), recorded(TARGET_CHARS + 1)), (TARGET_CHARS, TARGET_CHARS));
    }
}
