//! Errors as RFC 9457 problem details: every kind there is, and what is to be done about each.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An error as RFC 9457 problem details.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDetails {
    /// A path on this server that explains this kind of error; stable.
    #[serde(rename = "type")]
    #[schema(example = "/problems/not-found")]
    pub kind: String,
    /// The kind in a few words.
    #[schema(example = "Not found")]
    pub title: String,
    /// The status of the answer.
    #[schema(example = 404)]
    pub status: u16,
    /// Which of several causes it is, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What is wrong, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The request it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Every fault of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldFault>,
}

/// What is wrong with one field of a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct FieldFault {
    /// Its name, with dots: `retry.max_age`; empty: the request as a whole.
    #[schema(example = "url")]
    pub field: String,
    /// What is wrong with it.
    pub detail: String,
    /// What is to be done about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// Writes each kind once: a kind that is added here has a status, a title, a page, and is in `ALL`.
macro_rules! kinds {
    ($($(#[$about:meta])* $variant:ident = $status:literal, $name:literal, $title:literal, $meaning:literal, $fix:literal;)+) => {
        /// The kinds of errors. Their names are part of the contract.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum ProblemKind {
            $($(#[$about])* $variant,)+
        }

        impl ProblemKind {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name: the last part of its `type`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The status of answers of this kind.
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// The kind in a few words.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }

            /// What it means.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }

            /// What is to be done about it.
            pub fn fix(self) -> &'static str {
                match self { $(Self::$variant => $fix,)+ }
            }
        }
    };
}

kinds! {
    /// The request cannot be read.
    Malformed = 400, "malformed", "The request cannot be read",
        "The query or the body is not what the operation takes: it is no JSON, or a name in the query is unknown, or a \
         value has another type.",
        "Read `detail`: it names the place. GET /openapi.json describes every operation.";
    /// No token, or one that is not accepted.
    Unauthorized = 401, "unauthorized", "Not verified",
        "The request has no token, or one that is not accepted. `reason` says why: missing_authorization, \
         malformed_token, unknown_key, bad_signature, wrong_audience, expired, not_yet_valid, revoked, body_mismatch.",
        "To the API, send `Authorization: Bearer TOKEN`. An operator finds one in operator.token in the data directory \
         of a running router; a tenant gets one from the operator. To the listener for events, LiveKit sends its own \
         token: its API key and secret must be configured here.";
    /// The token is accepted, but does not reach that far.
    ScopeTooSmall = 403, "scope-too-small", "An operator's token is needed",
        "The token is valid and a tenant's. This operation concerns more than one tenant.",
        "Ask the operator, or use an operator's token.";
    /// The token does not name the host, number, trunk or LiveKit key that is asked for.
    NotCovered = 403, "not-covered", "Not covered by the token",
        "The token is valid and a tenant's, but does not cover a host, a number, a trunk or a tenant that the request \
         names. A wildcard must stand in the token as such.",
        "Ask the operator for a token that covers it. `errors` names each field.";
    /// It does not exist, or belongs to somebody else.
    NotFound = 404, "not-found", "Not found",
        "There is no such thing, or the token does not cover it: the answer is the same.",
        "Check the name and the token. Delivered events are kept for 24 h, or for as long as their bodies (a hook's `keep`, \
         up to 72 h); calls for an hour after their end; dead letters and unrouted events for 7 days, unless the \
         operator has set other times.";
    /// Nothing is served at this path.
    UnknownPath = 404, "unknown-path", "Nothing is here",
        "The server has nothing at this path.",
        "GET /openapi.json lists every path of the API. LiveKit posts its events to the other listener, to /webhook or \
         /webhook/livekit.";
    /// The path exists, but not for this method.
    MethodNotAllowed = 405, "method-not-allowed", "Not this method",
        "The path exists, but takes another method.",
        "The header `allow` of the answer names the methods.";
    /// A dead letter's tenant has no hook at its host any more.
    NoDestination = 409, "no-destination", "Nowhere to send it",
        "A dead letter goes to its tenant's present hook of the same host, and there is none.",
        "Add the hook, then replay.";
    /// A delivered event has no body any more.
    NotKept = 409, "not-kept", "Its body is not kept",
        "Only a delivered event whose hook keeps bodies (`keep`) can be sent again, until that time is past. `reason` says \
         which it is: not_delivered, nothing_kept, past, damaged. A dead letter whose body was altered is damaged, too.",
        "GET /v1/events/{id} says what became of the event, and until when its body is kept (`kept_until`). Set the hook's \
         `keep` for what is delivered from then on. A dead letter is replayed instead.";
    /// The hooks file pauses the hook.
    PausedByFile = 409, "paused-by-file", "Paused by the hooks file",
        "The hook has `paused: true` in the hooks file, which the API does not overrule.",
        "Take `paused: true` out of the file.";
    /// A secret that was given cannot be renewed.
    GivenSecret = 409, "given-secret", "Not a derived secret",
        "The tenant's secret was given with its hook: only a derived one can be renewed.",
        "Change it where it was given; the one before signs beside it for 24 h.";
    /// A secret was renewed less than 24 h ago.
    RenewedAlready = 409, "renewed-already", "Renewed already",
        "The tenant's secret was renewed less than 24 h ago, and the one before still signs. Another renewal now would \
         cut off receivers that still use that one.",
        "Wait until the one before has ended: GET /v1/tenants/{tenant}/secret says when.";
    /// The hooks file has this host.
    FileHost = 409, "of-file", "The hooks file has this host",
        "Hosts of the hooks file are the operator's: the API cannot change them.",
        "Change the file, or choose another host.";
    /// Another hook has this host, number, trunk or key.
    Taken = 409, "taken", "Taken already",
        "Another hook has this host, number, trunk or LiveKit key.",
        "Choose another, or remove it there first. `errors` names each field.";
    /// The tenant has as much as the operator permits.
    LimitReached = 409, "limit-reached", "The operator's limit is reached",
        "The tenant has as many hooks as the operator permits.",
        "Delete one that is not used, or ask the operator to raise the limit.";
    /// No further token can be revoked singly.
    TooManyRevoked = 409, "too-many-revoked", "Too many tokens are revoked",
        "10 000 single tokens are revoked, as many as the router remembers. This one was not: it is still accepted. An id is \
         remembered for ten years, the longest time for which a token can be valid.",
        "POST /v1/tenants/{tenant}/revoke (`switchhook token revoke --tenant TENANT`) refuses all tokens of the tenant that \
         were issued before now, and takes no room. For an operator's token, renew the API secret.";
    /// Somebody else has changed it.
    Stale = 412, "stale", "Changed in the meantime",
        "`If-Match` names another version than the present one: somebody has changed it since it was read.",
        "GET it again, apply the change to what it is now, and send that with its new `ETag`.";
    /// The body is too large.
    TooLarge = 413, "too-large", "The body is too large",
        "The body of the request is larger than the server takes.",
        "Send less at once.";
    /// The body is not declared as JSON.
    NotJson = 415, "not-json", "The body is not declared as JSON",
        "The operation takes a body of JSON, and the request declares another content type, or none.",
        "Send `content-type: application/json`.";
    /// The `Host` of the request is not this server's.
    Misdirected = 421, "misdirected", "Not asked by a name of this server",
        "The `Host` header names a host this server is not known by. So a web page cannot reach the server through a \
         name that was made to point here (DNS rebinding).",
        "Ask by an address or a name the server knows; the operator can add names.";
    /// The body can be read, but its values cannot be used.
    Invalid = 422, "invalid", "Not valid",
        "The body is JSON, but something in it cannot be used.",
        "`errors` names every field, what is wrong with it, and the fix.";
    /// Too many requests.
    TooManyRequests = 429, "too-many-requests", "Too many requests",
        "More was asked in a short time, or at once, than one token or tenant may ask.",
        "Wait as long as the header `retry-after` says, in seconds.";
    /// The server cannot do it now.
    Unavailable = 503, "unavailable", "Try again in a second",
        "The server cannot take this now: too much is coming in at once, or a body did not arrive in time.",
        "Repeat it in a second.";
    /// The store takes nothing at the moment.
    StoreAway = 503, "store-away", "The store takes nothing at the moment",
        "The store takes nothing at the moment, so a change that was asked for was not made. Events are acknowledged \
         from memory meanwhile. The router asks the store again four times a second.",
        "Repeat it when /readyz says ready. The router's log names the cause.";
    /// The store does not answer.
    StoreSlow = 503, "store-slow", "The store does not answer",
        "The store has not answered in time. A change that was asked for may still be made.",
        "Look whether it was made before you repeat it.";
    /// The store cannot be read.
    StoreUnreadable = 503, "store-unreadable", "The store cannot be read",
        "The store has answered with an error.",
        "The router's log names the cause.";
    /// A change was not made.
    NotChanged = 503, "not-changed", "Nothing was changed",
        "The change could not be made. What was in force before is in force.",
        "The router's log names the cause.";
}

impl ProblemKind {
    /// The `type` of answers of this kind: a path on this server.
    pub fn path(self) -> String {
        format!("/problems/{}", self.name())
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// The page that explains it.
    pub fn page(self) -> String {
        let (status, title) = (self.status(), self.title());
        format!("{title} ({status})\n\n{}\n\nWhat to do\n\n{}\n", self.meaning(), self.fix())
    }

    /// An error of this kind, without what is particular to it.
    pub fn details(self) -> ProblemDetails {
        ProblemDetails {
            kind: self.path(),
            title: self.title().to_owned(),
            status: self.status(),
            reason: None,
            detail: None,
            instance: None,
            errors: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_and_is_found_by_it() {
        let names: HashSet<_> = ProblemKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), ProblemKind::ALL.len());
        for kind in ProblemKind::ALL {
            assert_eq!(ProblemKind::named(kind.name()), Some(*kind));
            assert!((400..600).contains(&kind.status()), "{kind:?}");
            let is_plain = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(kind.name().chars().all(is_plain), "{kind:?}");
        }
        assert_eq!(ProblemKind::named("no-such-kind"), None);
    }
}
