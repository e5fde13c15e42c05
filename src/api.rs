//! The API's door: what operators and tenants ask for, and what the commands need.
//!
//! Routes and description are one: [`documented`] declares both, and there is no other way to a route.

mod audit;
mod auth;
mod document;
mod guard;
mod hooks;
mod input;
mod live;
mod metrics;
mod problems;
mod records;
mod state;
mod tenants;

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::http::{HeaderName, header};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use self::guard::{AllowedHosts, Guard, RecordedRefusals};
pub use self::hooks::Trials;
pub use self::input::read_body;
pub use self::problems::StoreFaults;
pub use self::state::{Api, HookRequest};

use self::records::{calls, deliveries, events, explain, resend, unrouted, usage};
use crate::http::wrong_method;

impl Api {
    /// The API's routes.
    pub fn routes(self: Arc<Self>) -> Router {
        let routes: Router<Arc<Self>> = documented().into();
        routes.method_not_allowed_fallback(wrong_method).fallback(problems::unknown_path).with_state(self)
    }
}

/// The description of the API: an OpenAPI document.
pub fn document() -> &'static str {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| document::complete(documented().into_openapi()));
    &DOCUMENT
}

/// This description.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "describe", tag = "description", security(()),
    responses((status = 200, description = "An OpenAPI document.", body = Object)),
)]
async fn describe() -> ([(HeaderName, &'static str); 1], &'static str) {
    ([(header::CONTENT_TYPE, "application/json")], document())
}

/// The routes and their description.
fn documented() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::with_openapi(document::Heading::openapi())
        .routes(routes!(events::event))
        .routes(routes!(events::delivery))
        .routes(routes!(deliveries::list))
        .routes(routes!(deliveries::replay_one))
        .routes(routes!(deliveries::replay))
        .routes(routes!(resend::event))
        .routes(routes!(resend::call))
        .routes(routes!(unrouted::list))
        .routes(routes!(explain::explain))
        .routes(routes!(calls::list))
        .routes(routes!(calls::timeline))
        .routes(routes!(hooks::list))
        .routes(routes!(hooks::get, hooks::put, hooks::delete))
        .routes(routes!(hooks::rotate))
        .routes(routes!(hooks::pause))
        .routes(routes!(hooks::resume))
        .routes(routes!(hooks::hooks))
        .routes(routes!(hooks::tenants))
        .routes(routes!(hooks::test))
        .routes(routes!(tenants::secret))
        .routes(routes!(tenants::rotate))
        .routes(routes!(tenants::revoke))
        .routes(routes!(tenants::erase, tenants::erasure))
        .routes(routes!(tenants::revoke_token))
        .routes(routes!(audit::list))
        .routes(routes!(usage::list))
        .routes(routes!(live::stream))
        .routes(routes!(live::now))
        .routes(routes!(metrics::metrics))
        .routes(routes!(describe))
        .routes(routes!(problems::page))
}
