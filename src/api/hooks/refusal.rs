//! Edits that are not made, as problems.

use crate::hooks::{OPENED_TARGETS, PUBLIC_TARGETS};
use crate::http::Problem;
use crate::registry::EditRefusal;
use crate::wire::{FieldFault, ProblemKind};

/// Why an edit is not made. What belongs to others is told as what does not exist.
pub fn problem(refusal: EditRefusal) -> Problem {
    let of = |kind: ProblemKind, detail: &str| Problem::new(kind).detail(detail);
    match refusal {
        EditRefusal::NotFound => {
            of(ProblemKind::NotFound, "No hook has this host, or none belongs to this tenant.")
        }
        EditRefusal::OfFile => of(ProblemKind::FileHost, ProblemKind::FileHost.meaning()),
        EditRefusal::Taken { field, value } => {
            let detail = format!("Another hook has {} already.", shown(&value));
            let fix = "choose another, or remove it from that hook first";
            of(ProblemKind::Taken, &detail).errors(vec![fault(field, &detail, fix)])
        }
        EditRefusal::NotCovered { field, value } => {
            let detail = format!("The token does not cover {}.", shown(&value));
            let fix = "ask the operator for a token that names it";
            of(ProblemKind::NotCovered, &detail).errors(vec![fault(field, &detail, fix)])
        }
        EditRefusal::OverLimit { limit, most } => {
            let detail =
                format!("The operator permits {most} in all: {limit}, over all hooks of the tenant.");
            of(ProblemKind::LimitReached, &detail)
        }
        EditRefusal::Stale { current } => {
            let detail = match current {
                Some(current) => format!("The present version is \"{current}\"."),
                None => "There is no such hook at present.".to_owned(),
            };
            of(ProblemKind::Stale, &detail)
        }
        EditRefusal::PausedByFile => of(ProblemKind::PausedByFile, ProblemKind::PausedByFile.fix()),
        EditRefusal::RenewedAlready => of(ProblemKind::RenewedAlready, ProblemKind::RenewedAlready.meaning()),
        EditRefusal::ManySecrets => {
            let detail = "More than 8 secrets would sign: each one that is replaced does for 24 h.";
            let fix = "give one of the secrets before, or wait until the older ones have ended";
            of(ProblemKind::RenewedAlready, detail).errors(vec![fault("secret", detail, fix)])
        }
        EditRefusal::GivenSecret => of(ProblemKind::GivenSecret, ProblemKind::GivenSecret.fix()),
        EditRefusal::Faults(faults) => {
            let errors = faults.into_iter().map(|fault| FieldFault {
                field: fault.key,
                detail: fault.message,
                fix: fault.fix,
            });
            Problem::new(ProblemKind::Invalid).errors(errors.collect())
        }
    }
}

/// Whether an attempt at what the token does not reach is recorded in the audit log, and how.
pub fn recorded(refusal: &EditRefusal) -> Option<String> {
    match refusal {
        EditRefusal::NotFound => Some("no such hook, or another's".to_owned()),
        EditRefusal::OfFile => Some("the hooks file has the host".to_owned()),
        EditRefusal::Taken { field, .. } => Some(format!("{field}: taken")),
        EditRefusal::NotCovered { field, .. } => Some(format!("{field}: not covered by the token")),
        EditRefusal::OverLimit { limit, .. } => Some(format!("limit of {limit}")),
        EditRefusal::Faults(faults) => {
            let is_target = |fix: &str| [PUBLIC_TARGETS, OPENED_TARGETS].contains(&fix);
            let is_private = faults.iter().any(|fault| fault.fix.as_deref().is_some_and(is_target));
            is_private.then(|| "url: a target that is not permitted".to_owned())
        }
        EditRefusal::Stale { .. }
        | EditRefusal::PausedByFile
        | EditRefusal::RenewedAlready
        | EditRefusal::ManySecrets
        | EditRefusal::GivenSecret => None,
    }
}

fn fault(field: &str, detail: &str, fix: &str) -> FieldFault {
    FieldFault { field: field.to_owned(), detail: detail.to_owned(), fix: Some(fix.to_owned()) }
}

/// What the request named, in at most so many characters.
fn shown(value: &str) -> String {
    value.chars().take(100).collect()
}
