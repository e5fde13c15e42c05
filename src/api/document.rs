//! The description of the API (OpenAPI 3.1): made from the declarations its routes are made from.

use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{Modify, OpenApi, ToSchema};

use crate::http::health_document;
use crate::wire::{ProblemDetails, ProblemKind};

/// What stands above the operations.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Switchhook",
        description = "The API of a Switchhook router.\n\n\
            A token (`Authorization: Bearer`) is an operator's or a tenant's. An operator sees everything; a tenant sees \
            and changes only what is its own, and what belongs to others is answered as what does not exist. Operations \
            that concern more than one tenant answer 403 to a tenant's token; their descriptions say so.\n\n\
            Errors are problem details (RFC 9457); their `type` is a path on this server that explains them.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "events", description = "What LiveKit sent, and what became of it."),
        (name = "deliveries", description = "What became of each event that has a hook, and how it is sent again."),
        (name = "calls", description = "Room sessions: which tenant each belongs to, and what happened in it."),
        (name = "unrouted", description = "What had nowhere to go, and how to mend it."),
        (name = "live", description = "What happens, as it happens."),
        (name = "hooks", description = "Where each tenant's events go."),
        (name = "tenants", description = "Tenants and what they sign with."),
        (name = "audit", description = "Who changed what."),
        (name = "usage", description = "How much each tenant used, for bills."),
        (name = "health", description = "Probes and metrics."),
        (name = "description", description = "This description, and the problems it names."),
    ),
    security(("token" = [])),
    components(schemas(ProblemDetails)),
    modifiers(&Token),
)]
pub struct Heading;

/// Adds how requests are authenticated.
struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
        let scheme = scheme.description(Some(
            "An operator's token stands in operator.token in the data directory; a tenant gets one from the operator.",
        ));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme.build()));
    }
}

/// The description of these operations, of the probes, and of the errors they can answer, as JSON.
pub fn complete(mut document: utoipa::openapi::OpenApi) -> String {
    add_problems(&mut document);
    document.merge(health_document());
    document.to_pretty_json().unwrap_or_default()
}

/// Adds the errors that any operation of its shape can answer.
fn add_problems(document: &mut utoipa::openapi::OpenApi) {
    for item in document.paths.paths.values_mut() {
        let PathItem { get, put, post, delete, .. } = item;
        [get, put, post, delete].into_iter().flatten().for_each(describe);
    }
}

fn describe(operation: &mut Operation) {
    let parameters = operation.parameters.as_deref().unwrap_or_default();
    let has = |place: ParameterIn| {
        parameters.iter().any(|parameter| matches!(parameter, RefOr::T(one) if one.parameter_in == place))
    };
    let mut kinds = Vec::new();
    if has(ParameterIn::Path) {
        kinds.extend([ProblemKind::Malformed, ProblemKind::NotFound]);
    }
    if has(ParameterIn::Query) {
        kinds.push(ProblemKind::Malformed);
    }
    if operation.request_body.is_some() {
        kinds.extend([
            ProblemKind::Malformed,
            ProblemKind::TooLarge,
            ProblemKind::NotJson,
            ProblemKind::Invalid,
        ]);
    }
    // Operations that need no token say so.
    if operation.security.is_none() {
        kinds.push(ProblemKind::Unauthorized);
    }
    kinds.extend([ProblemKind::Misdirected, ProblemKind::TooManyRequests, ProblemKind::Unavailable]);
    for kind in kinds {
        let status = kind.status().to_string();
        let response = operation.responses.responses.entry(status);
        // The operation may say itself when it answers so.
        response.and_modify(|response| exemplify(response, kind)).or_insert_with(|| RefOr::T(problem(kind)));
    }
}

fn exemplify(response: &mut RefOr<Response>, kind: ProblemKind) {
    let RefOr::T(response) = response else { return };
    for content in response.content.values_mut() {
        if let RefOr::T(Content { example: shown @ None, .. }) = content {
            *shown = example(kind);
        }
    }
}

fn example(kind: ProblemKind) -> Option<serde_json::Value> {
    serde_json::to_value(kind.details()).ok()
}

/// How a kind of problem is answered.
fn problem(kind: ProblemKind) -> Response {
    let mut content = Content::new(Some(Ref::from_schema_name(ProblemDetails::name())));
    content.example = example(kind);
    ResponseBuilder::new().description(kind.title()).content("application/problem+json", content).build()
}
