//! Who may post: LiveKit's JWT and the hash of the body in it. A handler cannot see a body that was
//! not verified.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::body::{self, BodyBounds, Unread};
use super::entrance::Ingress;
use super::keys::DoorKeys;
use super::room::{Held, Hold};
use super::token::{Unverified, check_hash, check_token};
use crate::http::{Problem, Visitor, Voucher};
use crate::ids::BodyHash;
use crate::route::Door;
use crate::time::Moment;
use crate::wire::ProblemKind;

/// A body LiveKit signed.
pub struct Verified {
    pub body: Bytes,
    pub hash: BodyHash,
    /// The API key it is signed with.
    pub issuer: Arc<str>,
    /// The URL it came by.
    pub door: Door,
    /// When the head of the request was there.
    pub came: Moment,
    /// Its share of the room for bodies.
    pub room: Option<Held>,
}

/// Why a request never reaches the handler.
pub enum RefusedPost {
    Unverified(Unverified),
    /// The URL's tenant has no hook.
    UnknownTenant,
    /// The body is larger than allowed.
    TooLarge,
    /// More posts a second come by the tenant's own URL than the tenant may have.
    TooOften {
        /// How long to wait.
        wait: Duration,
    },
    /// Too much is coming in at once.
    Busy,
    /// The body did not arrive whole in time, or gave way to others.
    Broken,
}

impl From<Unread> for RefusedPost {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLarge => Self::TooLarge,
            Unread::NoRoom => Self::Busy,
            Unread::Broken => Self::Broken,
        }
    }
}

impl IntoResponse for RefusedPost {
    fn into_response(self) -> Response {
        let busy = |detail| Problem::new(ProblemKind::Unavailable).detail(detail);
        match self {
            Self::Unverified(Unverified { doubt, detail, .. }) => {
                Problem::new(ProblemKind::Unauthorized).reason(doubt.as_str()).detail(detail).into_response()
            }
            Self::UnknownTenant => Problem::new(ProblemKind::NotFound)
                .detail("The tenant of this URL has no hook.")
                .into_response(),
            Self::TooLarge => Problem::new(ProblemKind::TooLarge).into_response(),
            Self::TooOften { wait } => Problem::new(ProblemKind::TooManyRequests)
                .detail("More events a second come by this URL than limits.posts permits.")
                .header(header::RETRY_AFTER, wait.as_secs().saturating_add(1).min(4))
                .into_response(),
            Self::Busy => busy("Too many events come in at once.").into_response(),
            Self::Broken => busy("The body did not arrive whole in time.")
                .header(header::CONNECTION, HeaderValue::from_static("close"))
                .into_response(),
        }
    }
}

impl FromRequest<Arc<Ingress>> for Verified {
    type Rejection = RefusedPost;

    async fn from_request(request: Request, ingress: &Arc<Ingress>) -> Result<Self, RefusedPost> {
        let came = ingress.clock.now();
        let path = request.uri().path();
        let Some((door, keys)) = ingress.door(path) else {
            ingress.metrics.rejected("unknown_tenant");
            ingress.refusals.note("unknown_tenant", Some(path), None);
            return Err(RefusedPost::UnknownTenant);
        };
        let vouched = check_token(request.headers(), &keys, ingress.clock.unix())
            .map_err(|unverified| ingress.doubt(unverified, &door, &keys))?;
        let (hold, voucher) = match &door {
            Door::Tenant { own_key: true, tenant } => {
                (ingress.tenants_room.begin(Some(tenant.clone())), Voucher::Tenant)
            }
            Door::Tenant { own_key: false, .. } | Door::Platform => {
                (ingress.room.begin(None), Voucher::Operator)
            }
        };
        if let Some(visitor) = request.extensions().get::<Visitor>() {
            visitor.vouch(voucher);
        }
        ingress
            .admit(&door)
            .map_err(|wait| RefusedPost::TooOften { wait })
            .inspect_err(|refused| ingress.refuse(refused, &door))?;
        let (body, room) =
            read(request, ingress, hold).await.inspect_err(|refused| ingress.refuse(refused, &door))?;
        let hash = BodyHash::of(&body);
        check_hash(&vouched.sha256, &hash).map_err(|unverified| ingress.doubt(unverified, &door, &keys))?;
        Ok(Self { body, hash, issuer: vouched.issuer, door, came, room })
    }
}

impl Ingress {
    /// Counts and logs a verified post that is refused all the same: LiveKit takes a 413 for
    /// delivered, so nothing else would tell.
    fn refuse(&self, refused: &RefusedPost, door: &Door) {
        let reason = match refused {
            RefusedPost::Unverified(_) | RefusedPost::UnknownTenant => return,
            RefusedPost::TooLarge => "too_large",
            RefusedPost::TooOften { .. } => "too_often",
            RefusedPost::Busy => "busy",
            RefusedPost::Broken => "body_timeout",
        };
        self.metrics.rejected(reason);
        self.refusals.note(reason, None, door.tenant());
    }

    fn doubt(&self, unverified: Unverified, door: &Door, keys: &DoorKeys<'_>) -> RefusedPost {
        self.metrics.rejected(unverified.doubt.as_str());
        self.refusals.log(&unverified, door, keys);
        RefusedPost::Unverified(unverified)
    }
}

/// Reads a body within the limits.
async fn read(
    request: Request,
    ingress: &Ingress,
    mut hold: Hold,
) -> Result<(Bytes, Option<Held>), RefusedPost> {
    let limits = &ingress.limits;
    let announced = content_length(request.headers());
    if announced.is_some_and(|length| length > limits.body) {
        return Err(RefusedPost::TooLarge);
    }
    let bounds = BodyBounds { most: limits.body, announced, within: limits.read_within };
    let body = body::read(request.into_body(), bounds, &mut hold, &ingress.clock).await?;
    Ok((body, hold.whole()))
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
