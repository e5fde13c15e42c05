//! The audit log, and which API tokens are refused.

use std::sync::Arc;

use super::ScopedView;
use crate::access::LONGEST_VALIDITY;
use crate::calls::{AuditEntry, AuditRecord, Order, Outcome};
use crate::hooks::Tenant;
use crate::outbox::queue::Task;
use crate::outbox::{Outbox, StoreFault, sqlite};
use crate::time::UnixMillis;

impl Outbox {
    /// Carries out what was asked for over the API, with its record in the audit log: in one transaction.
    ///
    /// # Errors
    /// When the store is away or closed: nothing is changed then.
    pub async fn audited(&self, orders: Vec<Order>, record: AuditRecord) -> Result<Outcome, StoreFault> {
        let record = Order::Audit(Arc::new(record));
        let together = orders.into_iter().chain([record]).collect::<Vec<_>>();
        self.request(Order::Together(together.into())).await
    }

    /// Records what was asked for and refused. Not waited for; dropped while the store is away. The caller limits
    /// the rate.
    pub fn audit(&self, record: AuditRecord) {
        if !self.is_away() {
            self.queue.inbox.task(Task::Order(Order::Audit(Arc::new(record)), None));
        }
    }

    /// Refuses a tenant's tokens that were issued before `at`.
    async fn revoke_tenant(
        &self,
        tenant: Tenant,
        at: UnixMillis,
        record: AuditRecord,
    ) -> Result<(), StoreFault> {
        self.audited(vec![Order::RevokeTenant { tenant, at }], record).await.map(drop)
    }

    /// Refuses a single token, by its id (`jti`).
    async fn revoke_token(
        &self,
        jti: &str,
        expires_at: UnixMillis,
        record: AuditRecord,
    ) -> Result<(), StoreFault> {
        let order = Order::RevokeToken { jti: jti.into(), expires_at, at: self.clock.unix() };
        self.audited(vec![order], record).await.map(drop)
    }

    async fn audit_log(
        &self,
        tenant: Option<Tenant>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<(Vec<AuditEntry>, bool), StoreFault> {
        self.ask("the audit log", move |store| sqlite::audit_page(store, tenant.as_ref(), before, limit))
            .await
    }
}

impl ScopedView<'_> {
    /// A page of the audit log, the newest record first: of what is the scope's tenant's, or of everything or
    /// `tenant`'s for an operator; older than the record `before`; and whether there are more.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn audit_log(
        &self,
        tenant: Option<Tenant>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<(Vec<AuditEntry>, bool), StoreFault> {
        let tenant = match (self.scope.tenant(), tenant) {
            (Some(own), Some(other)) if *own != other => return Ok((Vec::new(), false)),
            (Some(own), _) => Some(own.clone()),
            (None, tenant) => tenant,
        };
        self.outbox.audit_log(tenant, before, limit).await
    }

    /// Records what was asked for and refused. Not waited for; the caller limits the rate.
    pub(crate) fn audit(&self, record: AuditRecord) {
        self.outbox.audit(record);
    }

    /// Refuses a tenant's tokens that were issued before now. None if the scope is no operator's.
    ///
    /// # Errors
    /// When the store is away or closed.
    pub(crate) async fn revoke_tenant(
        &self,
        tenant: Tenant,
        record: AuditRecord,
    ) -> Result<Option<()>, StoreFault> {
        if !self.scope.is_operator() {
            return Ok(None);
        }
        let at = record.at;
        self.outbox.revoke_tenant(tenant, at, record).await.map(Some)
    }

    /// Refuses a single token, by its id (`jti`), for as long as any token is valid. None if the scope is no
    /// operator's.
    ///
    /// # Errors
    /// When the store is away or closed.
    pub(crate) async fn revoke_token(
        &self,
        jti: &str,
        record: AuditRecord,
    ) -> Result<Option<()>, StoreFault> {
        if !self.scope.is_operator() {
            return Ok(None);
        }
        let expires_at = record.at.after(LONGEST_VALIDITY);
        self.outbox.revoke_token(jti, expires_at, record).await.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Revocations;
    use crate::outbox::take_over_tests::{close, open};
    use crate::time::Clock;

    fn record(tenant: Option<&str>, action: &str) -> AuditRecord {
        AuditRecord {
            at: UnixMillis(1),
            actor: "operator".to_owned(),
            token: None,
            from: Some("127.0.0.1".to_owned()),
            tenant: tenant.map(str::to_owned),
            action: action.to_owned(),
            target: "acme".to_owned(),
            before: None,
            after: None,
            outcome: "done".to_owned(),
        }
    }

    async fn actions(outbox: &Outbox, tenant: Option<&Tenant>) -> Vec<String> {
        let (page, _) = outbox.audit_log(tenant.cloned(), None, 10).await.expect("a page");
        page.iter().map(|entry| entry.record.action.clone()).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_asked_for_is_recorded_with_its_change_and_outlasts_a_start() {
        let (folder, clock) = (tempfile::tempdir().expect("a folder"), Clock::manual(UnixMillis(1 << 40)));
        let outbox = open(folder.path(), &clock);
        let acme = Tenant::new("acme").expect("a name");
        let revocations = || {
            let found = sqlite::read(folder.path(), |store| sqlite::revocations(store, UnixMillis(9)));
            found.expect("revocations").0
        };
        assert_eq!(revocations(), Revocations::default());
        let (at, expires_at) = (UnixMillis(7), UnixMillis(9));
        outbox.revoke_tenant(acme.clone(), at, record(Some("acme"), "tenant.revoke")).await.expect("revoked");
        outbox.revoke_token("jti", expires_at, record(None, "token.revoke")).await.expect("revoked");
        outbox.audit(record(Some("acme"), "hook.get"));
        // Orders are carried out in order: a record that is waited for comes after one that is not.
        outbox.audited(Vec::new(), record(None, "last")).await.expect("recorded");
        close(outbox).await;
        let outbox = open(folder.path(), &clock);
        let revocations = revocations();
        assert_eq!(revocations.tenants.get(&acme), Some(&at));
        assert_eq!(revocations.tokens.get("jti"), Some(&expires_at));
        assert_eq!(actions(&outbox, None).await, ["last", "hook.get", "token.revoke", "tenant.revoke"]);
        assert_eq!(actions(&outbox, Some(&acme)).await, ["hook.get", "tenant.revoke"]);
        close(outbox).await;
    }
}
