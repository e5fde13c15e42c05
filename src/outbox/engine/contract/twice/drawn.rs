//! What is drawn: events, orders, the time between them, and whether anybody hears of their commit.

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// The domains that callers dial. The third one's hook is removed and added again and again; the fourth has none.
pub const DOMAINS: [&str; 4] = ["a.example", "b.example", "c.example", "nobody.example"];

const CALLS: usize = 3;
const PARTICIPANTS: usize = 3;

const HOUR_MS: i64 = 3_600_000;

/// A batch, and what becomes of its commit.
#[derive(Clone, Debug)]
pub struct Step {
    /// Milliseconds since the one before.
    pub later: i64,
    pub posts: Vec<Posted>,
    /// Left out while the commit of a batch is unheard of: a router carries out no orders then.
    pub orders: Vec<Asked>,
    /// What is delivered, while it is unheard of that it is stored.
    pub early: Index,
    pub end: End,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The commit is known to be done.
    Heard,
    /// The commit succeeds, but the router gets no result: it commits the same changes again with the next batch.
    Unheard,
    /// The same, and the database is opened anew before, as one that was written back to its place is.
    Reopened,
}

/// An event.
#[derive(Clone, Debug)]
pub struct Posted {
    pub what: What,
    pub door: By,
    pub call: usize,
    pub participant: usize,
    pub domain: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    Started,
    Finished,
    Caller,
    Track,
    /// It knows its room's name only.
    Egress,
    Unreadable,
    /// An earlier event comes again.
    Again,
}

/// The URL of the router that LiveKit posts an event to: the platform's or a tenant's.
#[derive(Clone, Copy, Debug)]
pub enum By {
    Platform,
    Tenant,
    OwnKey,
}

/// An order; what it is about is picked from what is there then.
#[derive(Clone, Debug)]
pub struct Asked {
    pub kind: Kind,
    pub picks: Vec<Index>,
    pub variant: usize,
}

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Settle,
    GiveUp,
    Revive,
    Reroute,
    EndHold,
    Sweep,
    Digest,
    CopyHistory,
    Pause,
    Resume,
    Toggle,
    Alter,
    BeginErasure,
    Erase,
    Rotate,
    RevokeTenant,
    RevokeToken,
    Audit,
    Together,
    PutRight,
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 6..24)
}

fn step() -> impl Strategy<Value = Step> {
    let later = prop_oneof![12 => Just(1000), 2 => Just(2 * HOUR_MS), 1 => Just(26 * HOUR_MS), 1 => Just(200 * HOUR_MS)];
    let end = prop_oneof![4 => Just(End::Heard), 3 => Just(End::Unheard), 1 => Just(End::Reopened)];
    let (posts, orders) = (prop::collection::vec(posted(), 0..5), prop::collection::vec(asked(), 1..6));
    (later, posts, orders, any::<Index>(), end).prop_map(|(later, posts, orders, early, end)| Step {
        later,
        posts,
        orders,
        early,
        end,
    })
}

fn posted() -> impl Strategy<Value = Posted> {
    let what = prop_oneof![
        2 => Just(What::Started),
        1 => Just(What::Finished),
        6 => Just(What::Caller),
        4 => Just(What::Track),
        1 => Just(What::Egress),
        1 => Just(What::Unreadable),
        1 => Just(What::Again),
    ];
    let door = prop_oneof![10 => Just(By::Platform), 1 => Just(By::Tenant), 1 => Just(By::OwnKey)];
    (what, door, 0..CALLS, 0..PARTICIPANTS, 0..DOMAINS.len())
        .prop_map(|(what, door, call, participant, domain)| Posted { what, door, call, participant, domain })
}

fn asked() -> impl Strategy<Value = Asked> {
    use Kind::*;
    let usual = select(vec![
        Settle,
        Settle,
        GiveUp,
        Revive,
        Reroute,
        EndHold,
        Sweep,
        Sweep,
        Digest,
        BeginErasure,
        Erase,
        Erase,
        Erase,
        Toggle,
    ]);
    let rare = select(vec![
        CopyHistory,
        Pause,
        Resume,
        Alter,
        Rotate,
        RevokeTenant,
        RevokeToken,
        Audit,
        Together,
        PutRight,
    ]);
    (prop_oneof![2 => usual, 1 => rare], prop::collection::vec(any::<Index>(), 1..4), 0..72_usize)
        .prop_map(|(kind, picks, variant)| Asked { kind, picks, variant })
}
