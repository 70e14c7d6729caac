//! The rule for a refused token: is the token dead, or does the route refuse what others accept? Pure.
//!
//! A route that accepted this very token and refuses it now shows that the token died. A route that refuses a token and
//! the one minted in its place shows that the route is odd, for some of its calls at least: from then on, for ten
//! minutes, its refusals have no token replaced, so that one route never spends the mints of all.

/// The routes that have accepted the refused token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepted {
    /// None.
    Never,
    /// The route that refuses it now, and perhaps others.
    Here,
    /// Other routes only.
    Elsewhere,
}

/// The fate, on the same route, of the token that replaced a refused one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The route has not answered to it.
    Open,
    /// The route accepted it: the old one was dead.
    Accepted,
    /// The route refused it too: the replacement was in vain.
    Refused,
}

/// A replacement within the window of mints for the route that refuses now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Earlier {
    pub(super) outcome: Outcome,
    /// Whether other routes had accepted the token that was replaced.
    pub(super) was_accepted_elsewhere: bool,
}

/// What is known when a token is refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) accepted: Accepted,
    pub(super) earlier: Option<Earlier>,
    /// Whether the same call was refused with an older token before.
    pub(super) is_replay: bool,
    /// How many mints were lately spent in vain, on whichever routes.
    pub(super) in_vain: usize,
    /// The most of them before routes that have not accepted the token have none replaced.
    pub(super) most_in_vain: usize,
    /// Refusals of the token since any route accepted it, with this one.
    pub(super) refusals: u32,
    /// Whether the one replacement is left, within the window, that a series of refusals may cause.
    pub(super) has_last_resort: bool,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ruling {
    /// The token is replaced.
    Replace,
    /// The same, against the evidence on this route, since no route has accepted the token for a while.
    LastResort,
    /// The token stays, and the refusal is this route's own.
    OnlyHere,
    /// No route has accepted the token yet: neither is to blame for sure.
    Unproven,
}

/// So many refusals in a row, with no call accepted between them, show a dead token even where routes are odd.
const SERIES: u32 = 3;

/// Whether the refusal shows that a replacement of the token was in vain.
pub(super) fn is_in_vain(facts: &Facts) -> bool {
    let outcome = facts.earlier.map(|earlier| earlier.outcome);
    match (outcome, facts.accepted) {
        (Some(Outcome::Refused), _) | (Some(Outcome::Open), Accepted::Never | Accepted::Elsewhere) => true,
        // The call itself was refused with two tokens, of which routes accept the second.
        (_, Accepted::Here | Accepted::Elsewhere) => facts.is_replay,
        (_, Accepted::Never) => false,
    }
}

/// Decides on a refusal.
pub(super) fn rule(facts: &Facts) -> Ruling {
    let is_in_vain = is_in_vain(facts);
    match facts.accepted {
        Accepted::Never => {
            let was_good = facts.earlier.is_some_and(|earlier| earlier.was_accepted_elsewhere);
            if is_in_vain && was_good { Ruling::OnlyHere } else { Ruling::Unproven }
        }
        Accepted::Elsewhere if is_in_vain || facts.in_vain >= facts.most_in_vain => Ruling::OnlyHere,
        // One more than others may spend: what refuses the token had accepted it.
        Accepted::Here if is_in_vain || facts.in_vain > facts.most_in_vain => {
            let is_dead = facts.refusals >= SERIES && facts.has_last_resort;
            if is_dead { Ruling::LastResort } else { Ruling::OnlyHere }
        }
        Accepted::Elsewhere | Accepted::Here => Ruling::Replace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Accepted::{Elsewhere, Here, Never};
    use Outcome::{Open, Refused};

    /// A first refusal of a call while nothing else is amiss.
    const PLAIN: Facts = Facts {
        accepted: Here,
        earlier: None,
        is_replay: false,
        in_vain: 0,
        most_in_vain: 3,
        refusals: 1,
        has_last_resort: true,
    };

    fn earlier(outcome: Outcome) -> Earlier {
        Earlier { outcome, was_accepted_elsewhere: false }
    }

    fn of_a_good_token(outcome: Outcome) -> Earlier {
        Earlier { outcome, was_accepted_elsewhere: true }
    }

    #[test]
    fn a_refusal_is_judged_by_who_accepted_the_token_and_by_what_replacing_it_brought_before() {
        let accepted = Some(of_a_good_token(Outcome::Accepted));
        for (what, facts, ruling) in [
            ("dead", PLAIN, Ruling::Replace),
            ("dead again", Facts { earlier: accepted, ..PLAIN }, Ruling::Replace),
            ("dead, while others are odd", Facts { in_vain: 3, ..PLAIN }, Ruling::Replace),
            ("refuses now and then", Facts { earlier: Some(earlier(Refused)), ..PLAIN }, Ruling::OnlyHere),
            ("call refused twice", Facts { is_replay: true, ..PLAIN }, Ruling::OnlyHere),
            ("many refuse now and then", Facts { in_vain: 4, ..PLAIN }, Ruling::OnlyHere),
            (
                "odd, but no route accepts it",
                Facts { earlier: Some(earlier(Refused)), refusals: 3, ..PLAIN },
                Ruling::LastResort,
            ),
            (
                "many odd, and no route accepts it",
                Facts { in_vain: 4, refusals: 3, ..PLAIN },
                Ruling::LastResort,
            ),
            (
                "no second last resort",
                Facts { in_vain: 4, refusals: 9, has_last_resort: false, ..PLAIN },
                Ruling::OnlyHere,
            ),
            ("perhaps odd", Facts { accepted: Elsewhere, ..PLAIN }, Ruling::Replace),
            ("good before", Facts { accepted: Elsewhere, earlier: accepted, ..PLAIN }, Ruling::Replace),
            ("odd", Facts { accepted: Elsewhere, earlier: Some(earlier(Open)), ..PLAIN }, Ruling::OnlyHere),
            (
                "odd still",
                Facts { accepted: Elsewhere, earlier: Some(earlier(Refused)), ..PLAIN },
                Ruling::OnlyHere,
            ),
            ("odd call", Facts { accepted: Elsewhere, is_replay: true, ..PLAIN }, Ruling::OnlyHere),
            ("enough in vain", Facts { accepted: Elsewhere, in_vain: 3, ..PLAIN }, Ruling::OnlyHere),
            (
                "odd for good",
                Facts { accepted: Elsewhere, in_vain: 3, refusals: 99, ..PLAIN },
                Ruling::OnlyHere,
            ),
            ("never accepted", Facts { accepted: Never, ..PLAIN }, Ruling::Unproven),
            (
                "nor its successor",
                Facts { accepted: Never, earlier: Some(earlier(Open)), ..PLAIN },
                Ruling::Unproven,
            ),
            ("a replay, unproven", Facts { accepted: Never, is_replay: true, ..PLAIN }, Ruling::Unproven),
            (
                "odd at once",
                Facts { accepted: Never, earlier: Some(of_a_good_token(Open)), ..PLAIN },
                Ruling::OnlyHere,
            ),
            ("dead unused", Facts { accepted: Never, earlier: accepted, ..PLAIN }, Ruling::Unproven),
        ] {
            assert_eq!(rule(&facts), ruling, "{what}: {facts:?}");
        }
    }
}
