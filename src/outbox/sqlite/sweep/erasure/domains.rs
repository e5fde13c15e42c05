//! Which domains are a tenant's: those that its hooks have, or had.

use std::sync::Arc;

use rusqlite::{Connection, Result};

use crate::domain::Domain;
use crate::hooks::{HookTable, HostPattern, Tenant};

/// The domains of a tenant's hooks, also of those that were removed.
pub struct OwnDomains {
    tenant: Tenant,
    hosts: Vec<HostPattern>,
    /// The hooks in force.
    table: Arc<HookTable>,
}

impl OwnDomains {
    /// Reads through all hooks that are or were.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn read(connection: &Connection, tenant: &Tenant, table: Arc<HookTable>) -> Result<Self> {
        let hosts = connection
            .prepare("SELECT DISTINCT host FROM hooks WHERE tenant = ?1")?
            .query_map([tenant.as_str()], |row| row.get::<_, String>(0))?
            .collect::<Result<Vec<_>>>()?;
        let hosts = hosts.iter().filter_map(|host| HostPattern::parse(host).ok()).collect();
        Ok(Self { tenant: tenant.clone(), hosts, table })
    }

    /// Whether these are a tenant's.
    pub fn are_of(&self, tenant: &Tenant) -> bool {
        self.tenant == *tenant
    }

    /// Whether a domain is the tenant's: of a hook that it has or had, unless it is another tenant's now. A catch-all's
    /// is everybody's.
    pub fn have(&self, domain: &str) -> bool {
        let domain = Domain::stored(domain);
        let is_its = |host: &HostPattern| match host {
            HostPattern::Exact(exact) => *exact == domain,
            HostPattern::Below(parent) => domain.is_below(parent),
            HostPattern::Any => false,
        };
        let is_others = || self.table.by_domain(&domain).is_some_and(|hook| hook.tenant != self.tenant);
        self.hosts.iter().any(is_its) && !is_others()
    }
}
