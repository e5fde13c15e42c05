//! Numbers that two trunks have.

use std::collections::HashMap;

use crate::cli::doctor::finding::{Finding, Severity, Subject};
use crate::cli::doctor::sip::InboundTrunk;
use crate::hooks::Number;

/// Numbers that two trunks have, which LiveKit takes no call to. Those that only some callers may call are left out.
pub fn taken_twice(trunks: &[InboundTrunk]) -> Vec<Finding> {
    let mut owners: HashMap<Option<Number>, &InboundTrunk> = HashMap::new();
    let mut found = Vec::new();
    for trunk in trunks.iter().filter(|trunk| trunk.allowed_numbers.is_empty()) {
        let any = trunk.numbers.is_empty().then_some(None);
        let numbers = trunk.numbers.iter().map(|number| Number::new(number)).filter(Option::is_some);
        for number in numbers.chain(any) {
            match owners.get(&number) {
                Some(other) if other.id != trunk.id => {
                    found.push(twice(number.as_ref(), trunk, other));
                    break;
                }
                Some(_) => {}
                None => drop(owners.insert(number, trunk)),
            }
        }
    }
    found
}

fn twice(number: Option<&Number>, trunk: &InboundTrunk, other: &InboundTrunk) -> Finding {
    let (what, fix) = match number {
        Some(number) => (
            format!("has the number {}, and so has the inbound trunk {}", number.as_str(), other.id),
            "leave the number to one of them",
        ),
        None => (
            format!("has no numbers, and nor has the inbound trunk {}: each takes all calls", other.id),
            "give one of them its numbers, or delete it",
        ),
    };
    let why =
        "unless their allowed addresses keep them apart, LiveKit refuses the call: several trunks match";
    let subject = Subject::of("inbound trunk", &trunk.id, &trunk.name);
    Finding::new(Severity::Warning, "number_taken_twice", subject, [&what, why, fix].map(str::to_owned))
}
