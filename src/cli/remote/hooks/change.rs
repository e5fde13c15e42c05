//! `switchhook hooks pause|resume|delete`: of one host, or of all hooks of a tenant.

use reqwest::header::IF_MATCH;
use reqwest::{Method, StatusCode};
use serde::Serialize;

use super::set::quoted;
use super::show;
use crate::cli::failure::Failure;
use crate::cli::remote::client::{Question, Refusal, Router, Tagged, refused};
use crate::cli::terminal::{aside, confirmed, counted, plain, say, say_json};
use crate::wire::{HookAnswer, HookEdit, HookLayer, HookList, HookQuery, Limit, PauseCause};

/// Whose hooks are changed.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["host", "tenant"]))]
pub struct Flags {
    /// The hook's host
    host: Option<String>,
    /// All hooks of this tenant instead
    #[arg(long)]
    tenant: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// One JSON object for each hook instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    router: Router,
}

/// Which hooks are removed, and how.
#[derive(clap::Args)]
pub struct DeleteFlags {
    #[command(flatten)]
    which: Flags,
    /// Calls in progress are cut off instead of keeping their URL to the end
    #[arg(long)]
    now: bool,
    /// Only if this is its version now, as `switchhook hooks HOST` shows it
    #[arg(long, value_name = "VERSION", conflicts_with = "tenant")]
    if_version: Option<String>,
}

enum Change {
    Pause,
    Resume,
    Delete { now: bool, if_version: Option<String> },
}

/// Pauses.
pub async fn pause(flags: Flags) -> Result<(), Failure> {
    Change::Pause.run(flags).await
}

/// Ends pauses.
pub async fn resume(flags: Flags) -> Result<(), Failure> {
    Change::Resume.run(flags).await
}

/// Removes.
pub async fn delete(flags: DeleteFlags) -> Result<(), Failure> {
    let DeleteFlags { which, now, if_version } = flags;
    Change::Delete { now, if_version }.run(which).await
}

/// What `--json` prints of a hook that is gone.
#[derive(Serialize)]
struct Deleted<'h> {
    host: &'h str,
    /// Whose it was, as far as it was read.
    tenant: Option<&'h str>,
    deleted: bool,
}

impl Change {
    async fn run(self, flags: Flags) -> Result<(), Failure> {
        let Flags { host, tenant, yes, json, router } = flags;
        let hooks = match (host, tenant) {
            (Some(host), _) => match show::try_get(&router, &host).await? {
                Ok(hook) => vec![hook],
                Err((StatusCode::NOT_FOUND, _)) if matches!(self, Self::Delete { .. }) => {
                    return self.delete_unread(&router, &host, (yes, json)).await;
                }
                Err(refusal) => return Err(refused(&refusal)),
            },
            (None, tenant) => self.of_tenant(&router, &tenant.unwrap_or_default()).await?,
        };
        if hooks.is_empty() {
            return Ok(());
        }
        confirmed(&self.question(&hooks), yes)?;
        let mut refusals = 0;
        for known in &hooks {
            match self.carry_out(&router, known, json).await? {
                Ok(()) => {}
                Err(refusal) if hooks.len() == 1 => return Err(refused(&refusal)),
                Err(refusal) => {
                    refusals += 1;
                    aside(format_args!(
                        "switchhook: {}: {}",
                        plain(&known.answer.host),
                        refused(&refusal).message
                    ));
                }
            }
        }
        if refusals == 0 { Ok(()) } else { Err(Failure::silent()) }
    }

    /// Those of a tenant's hooks that the change concerns; tells why, if there are none.
    async fn of_tenant(&self, router: &Router, tenant: &str) -> Result<Vec<Tagged<HookAnswer>>, Failure> {
        let all = all_of(router, tenant).await?;
        let shown = plain(tenant);
        if all.is_empty() {
            return Err(Failure::new(format!(
                "tenant {shown} has no hook: `switchhook tenants` lists who has one"
            )));
        }
        let (meant, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|hook| self.concerns(hook));
        let told = match self {
            Self::Pause => "paused already or not in force",
            Self::Resume => "not paused, or paused by the hooks file",
            Self::Delete { .. } => "of the hooks file",
        };
        if !rest.is_empty() {
            aside(format_args!("unchanged: {} of {shown} ({told})", counted(rest.len(), "hook")));
        }
        Ok(meant.into_iter().map(|answer| Tagged { answer, etag: None, is_new: false }).collect())
    }

    fn concerns(&self, hook: &HookAnswer) -> bool {
        match self {
            Self::Pause => {
                !hook.shadowed && !matches!(hook.paused_by, Some(PauseCause::Api | PauseCause::File))
            }
            Self::Resume => {
                !hook.shadowed && matches!(hook.paused_by, Some(PauseCause::Api | PauseCause::Gone))
            }
            Self::Delete { .. } => hook.layer == HookLayer::Api,
        }
    }

    /// What is asked: it names what will happen.
    fn question(&self, hooks: &[Tagged<HookAnswer>]) -> String {
        let (whose, goes, it) = match hooks {
            [only] => {
                let hook = &only.answer;
                let whose = format!("{} of {}", plain(&hook.host), plain(&hook.tenant));
                (whose, plain(&hook.url), "it")
            }
            several => (named(several), "their URLs".to_owned(), "them"),
        };
        let of_file = hooks.iter().any(|hook| hook.answer.layer == HookLayer::File);
        match self {
            Self::Pause => format!(
                "Pause {whose}? Nothing is sent to {goes} until somebody resumes {it}: everything waits, nothing ages."
            ),
            Self::Resume => format!("Resume {whose}? All that waits is sent to {goes}, in order."),
            Self::Delete { .. } if of_file => {
                format!("{whose} is the hooks file's and stays. Delete what it shadows of the API?")
            }
            Self::Delete { now: false, .. } => format!(
                "Delete {whose}? New calls do not reach {it}; calls in progress are sent to {goes} to their end."
            ),
            Self::Delete { now: true, .. } => format!(
                "Delete {whose}? New calls do not reach {it}, and calls in progress ARE CUT OFF from {goes}."
            ),
        }
    }

    async fn carry_out(
        &self,
        router: &Router,
        known: &Tagged<HookAnswer>,
        json: bool,
    ) -> Result<Result<(), Refusal>, Failure> {
        let hook = &known.answer;
        let at = |action| router.post(&["v1", "hooks", &hook.host, action]);
        let (changed, told) = match self {
            Self::Pause => (at("pause").try_answer::<HookAnswer>().await?, "is paused: everything waits"),
            Self::Resume => {
                let was_paused = hook.paused_by.is_some();
                let told =
                    if was_paused { "is resumed: what waited is being delivered" } else { "was not paused" };
                (at("resume").try_answer::<HookAnswer>().await?, told)
            }
            Self::Delete { .. } => {
                // `If-Match` has the version that was read, so that a hook changed since then is not deleted. None is
                // sent for a host of the file: the hook that the file hides is the one to delete, and was not read.
                let read = known.etag.clone().filter(|_| hook.layer == HookLayer::Api);
                match self.deletion(router, &hook.host, read).try_done().await? {
                    Ok(()) => (Ok(hook.clone()), "is deleted"),
                    Err(refusal) => return Ok(Err(refusal)),
                }
            }
        };
        let changed = match changed {
            Ok(changed) => changed,
            Err(refusal) => return Ok(Err(refusal)),
        };
        match self {
            Self::Delete { .. } if json => {
                let read = (hook.layer == HookLayer::Api).then_some(&*hook.tenant);
                say_json(&Deleted { host: &hook.host, tenant: read, deleted: true });
            }
            _ if json => say_json(&changed),
            _ => say(format_args!("{} {told}", plain(&hook.host))),
        }
        Ok(Ok(()))
    }

    /// Deletes a hook that the router does not show: if its stored row is damaged, it is there all the same.
    async fn delete_unread(
        &self,
        router: &Router,
        host: &str,
        (yes, json): (bool, bool),
    ) -> Result<(), Failure> {
        let shown = plain(host);
        let question = format!("{shown} cannot be shown. If a damaged hook of it is stored, delete that?");
        confirmed(&question, yes)?;
        self.deletion(router, host, None).try_done().await?.map_err(|refusal| refused(&refusal))?;
        if json {
            say_json(&Deleted { host, tenant: None, deleted: true });
        } else {
            say(format_args!("{shown} is deleted"));
        }
        Ok(())
    }

    /// `read`: the version that was shown.
    fn deletion(&self, router: &Router, host: &str, read: Option<String>) -> Question {
        let (now, if_version) = match self {
            Self::Delete { now, if_version } => (*now, if_version.as_deref().map(quoted)),
            Self::Pause | Self::Resume => (false, None),
        };
        let question = router.ask(Method::DELETE, &["v1", "hooks", host]).query(&HookEdit { now });
        match if_version.or(read) {
            Some(etag) => question.header(IF_MATCH, &etag),
            None => question,
        }
    }
}

/// So many hooks of a tenant are named in a question.
const NAMED: usize = 5;

fn named(hooks: &[Tagged<HookAnswer>]) -> String {
    let tenant = hooks.first().map(|hook| plain(&hook.answer.tenant)).unwrap_or_default();
    let names: Vec<_> = hooks.iter().take(NAMED).map(|hook| plain(&hook.answer.host)).collect();
    let more = hooks.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{} of {tenant} ({}{more})", counted(hooks.len(), "hook"), names.join(", "))
}

/// All hooks of a tenant.
async fn all_of(router: &Router, tenant: &str) -> Result<Vec<HookAnswer>, Failure> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let query = HookQuery {
            tenant: Some(tenant.to_owned()),
            layer: None,
            after,
            limit: Some(Limit::at_most(1000)),
        };
        let page: HookList = router.get(&["v1", "hooks"]).query(&query).answer().await?;
        all.extend(page.hooks);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(all),
        }
    }
}
