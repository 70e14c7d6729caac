//! The refusals of tokens within the window of mints, and the verdict on each.
//!
//! Zoho revokes tokens before their time, and then every route refuses them. But a route may also refuse what all
//! others accept, and replacing the token for such a route would spend the mints of all, each time it is called. The rule
//! itself is in `ruling`.

use std::time::Duration;

use super::budget::WINDOW;
use super::ruling::{Accepted, Earlier, Facts, Outcome, Ruling, is_in_vain, rule};
use crate::clock::BootTime;

/// A method with the shape of a path, or a configured route: what is known to refuse or accept tokens. A number
/// without meaning but that two of the same route are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteKey(u64);

impl RouteKey {
    /// The lowest numbers mean something else in a [`super::Token`].
    const FIRST: u64 = 16;

    /// A route by a hash of what tells it from others.
    pub fn of(hash: u64) -> Self {
        Self(hash.max(Self::FIRST))
    }

    pub(super) fn number(self) -> u64 {
        self.0
    }
}

/// A refusal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rejection {
    pub(super) route: RouteKey,
    /// The refused token, by its number within this process.
    pub(super) token: u64,
    pub(super) accepted: Accepted,
    /// Whether other routes have accepted the token, be it that this one has too.
    pub(super) is_accepted_elsewhere: bool,
    /// Whether the same call was refused with an older token before.
    pub(super) is_replay: bool,
    /// Refusals of the token since any route accepted it, with this one.
    pub(super) refusals: u32,
    /// Whether the token was minted a moment ago: it was hardly pushed out by newer ones.
    pub(super) is_young: bool,
}

/// The decision on a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The token may be dead, and another is minted.
    Replace,
    /// The token stays: others accept it, or accepted the one that it replaced for nothing. This route is refused,
    /// and may have a token replaced after this time.
    OnlyHere(Duration),
    /// It is the second token, or a later one, that was refused without ever having been accepted; only this route
    /// has tried, so others may, and this one waits. The number of tokens refused so.
    Suspect(u32),
    /// The same where several routes have tried: what is wrong is not the route, and nobody gets a token for a while.
    Pause(u32),
}

/// The refusals of the last [`WINDOW`].
#[derive(Debug, Default)]
pub(super) struct Rejections {
    records: Vec<Record>,
    /// When a token was last replaced against the evidence on a route.
    last_resort: Option<BootTime>,
    unproven: Unproven,
    reported: Vec<(RouteKey, BootTime)>,
}

/// The latest refusal by a route that counts, one for each route.
#[derive(Debug)]
struct Record {
    route: RouteKey,
    at: BootTime,
    /// The token that was refused.
    token: u64,
    earlier: Earlier,
    /// How many mints were spent on it.
    mints: usize,
}

/// Tokens in a row that were refused young and without ever having been accepted.
#[derive(Debug, Default)]
struct Unproven {
    tokens: u32,
    newest: u64,
    route: Option<RouteKey>,
    on_several_routes: bool,
}

/// More routes than this are not remembered; the budget of mints admits far fewer.
const MOST_ROUTES: usize = 64;

impl Rejections {
    /// Judges a refusal of the token in use. `most_in_vain` is how many tokens may be replaced within [`WINDOW`] for
    /// routes that then refuse the new one too.
    pub(super) fn judge(&mut self, rejection: Rejection, most_in_vain: usize, now: BootTime) -> Verdict {
        let lately = |at: BootTime| now.saturating_duration_since(at) < WINDOW;
        self.records.retain(|record| lately(record.at));
        let Rejection { route, accepted, .. } = rejection;
        let in_vain = self.records.iter().filter(|record| record.is_in_vain());
        let facts = Facts {
            accepted,
            earlier: self.records.iter().find(|record| record.route == route).map(|record| record.earlier),
            is_replay: rejection.is_replay,
            in_vain: in_vain.map(|record| record.mints).sum(),
            most_in_vain,
            refusals: rejection.refusals,
            has_last_resort: !self.last_resort.is_some_and(lately),
        };
        if is_in_vain(&facts) {
            self.note_in_vain(&rejection, now);
        }
        if accepted != Accepted::Never {
            self.unproven = Unproven::default();
        }
        match rule(&facts) {
            Ruling::Replace => self.note(&rejection, now),
            Ruling::LastResort => {
                self.last_resort = Some(now);
                self.note(&rejection, now)
            }
            Ruling::OnlyHere => Verdict::OnlyHere(self.rest(route, now)),
            Ruling::Unproven => self.judge_unproven(&rejection, now),
        }
    }

    fn judge_unproven(&mut self, rejection: &Rejection, now: BootTime) -> Verdict {
        if !rejection.is_young {
            return self.note(rejection, now);
        }
        let Rejection { route, token, .. } = *rejection;
        let unproven = &mut self.unproven;
        if unproven.newest != token || unproven.tokens == 0 {
            unproven.tokens = unproven.tokens.saturating_add(1);
            unproven.newest = token;
        }
        unproven.on_several_routes |= unproven.route.is_some_and(|first| first != route);
        unproven.route = Some(route);
        match (unproven.tokens, unproven.on_several_routes) {
            (0 | 1, _) => self.note(rejection, now),
            (tokens, false) => Verdict::Suspect(tokens),
            (tokens, true) => Verdict::Pause(tokens),
        }
    }

    /// How long a route does without replacements: its own record counts, or else the oldest of those in vain.
    fn rest(&self, route: RouteKey, now: BootTime) -> Duration {
        let rest = |record: &Record| WINDOW.saturating_sub(now.saturating_duration_since(record.at));
        let own = self.records.iter().find(|record| record.route == route && record.is_in_vain());
        let in_vain = self.records.iter().filter(|record| record.is_in_vain());
        own.map(rest).or_else(|| in_vain.map(rest).min()).unwrap_or(WINDOW)
    }

    /// Notes a replacement. A route that once refused a replacement is known for it until its record is over, so that
    /// accepting a later token in between earns it no further mints.
    fn note(&mut self, rejection: &Rejection, now: BootTime) -> Verdict {
        let Rejection { route, token, is_accepted_elsewhere, .. } = *rejection;
        let earlier = Earlier { outcome: Outcome::Open, was_accepted_elsewhere: is_accepted_elsewhere };
        let own = self.records.iter().position(|record| record.route == route);
        let own = own.map(|at| self.records.remove(at)).filter(Record::is_in_vain);
        if self.records.len() >= MOST_ROUTES {
            self.records.remove(0);
        }
        let known = own.map(|own| Record { token, mints: own.mints + 1, ..own });
        self.records.push(known.unwrap_or(Record { route, at: now, token, earlier, mints: 1 }));
        Verdict::Replace
    }

    fn note_in_vain(&mut self, rejection: &Rejection, now: BootTime) {
        let Rejection { route, token, is_accepted_elsewhere, .. } = *rejection;
        if let Some(own) = self.records.iter_mut().find(|record| record.route == route) {
            own.earlier.outcome = Outcome::Refused;
        } else if self.records.len() < MOST_ROUTES {
            let earlier =
                Earlier { outcome: Outcome::Refused, was_accepted_elsewhere: is_accepted_elsewhere };
            self.records.push(Record { route, at: now, token, earlier, mints: 0 });
        }
    }

    /// Notes that a route has accepted a token for the first time.
    pub(super) fn accepted(&mut self, route: RouteKey, token: u64) {
        if token >= self.unproven.newest {
            self.unproven = Unproven::default();
        }
        let own = self.records.iter_mut().find(|record| record.route == route);
        if let Some(own) = own.filter(|own| own.token < token && own.earlier.outcome == Outcome::Open) {
            own.earlier.outcome = Outcome::Accepted;
        }
    }

    /// How many routes lately refused a token and the one that replaced it.
    pub(super) fn in_vain(&self) -> usize {
        self.records.iter().filter(|record| record.is_in_vain()).count()
    }

    /// Whether what is said of a route was not said within [`WINDOW`]; it counts as said then.
    pub(super) fn is_news(&mut self, route: RouteKey, now: BootTime) -> bool {
        self.reported.retain(|(_, at)| now.saturating_duration_since(*at) < WINDOW);
        let is_news = !self.reported.iter().any(|(reported, _)| *reported == route);
        let is_news = is_news && self.reported.len() < MOST_ROUTES;
        if is_news {
            self.reported.push((route, now));
        }
        is_news
    }
}

impl Record {
    fn is_in_vain(&self) -> bool {
        self.earlier.outcome == Outcome::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const MINUTE: Duration = Duration::from_mins(1);

    /// Refusals as they come, each a moment after the one before.
    struct Story {
        rejections: Rejections,
        now: BootTime,
    }

    impl Story {
        fn new() -> Self {
            Self { rejections: Rejections::default(), now: Clock::system().boot_time() }
        }

        fn refuse(&mut self, route: u64, token: u64, accepted: Accepted) -> Verdict {
            let rejection = Rejection {
                route: RouteKey::of(route),
                token,
                accepted,
                is_accepted_elsewhere: accepted == Accepted::Elsewhere,
                is_replay: false,
                refusals: 1,
                is_young: accepted == Accepted::Never,
            };
            self.rejections.judge(rejection, 3, self.now)
        }
    }

    #[tokio::test]
    async fn a_route_has_a_token_that_others_accept_replaced_once_in_ten_minutes() {
        let mut story = Story::new();
        assert_eq!(story.refuse(100, 1, Accepted::Elsewhere), Verdict::Replace);
        assert_eq!(story.refuse(100, 2, Accepted::Never), Verdict::OnlyHere(WINDOW));
        story.now += 4 * MINUTE;
        assert_eq!(story.refuse(100, 2, Accepted::Elsewhere), Verdict::OnlyHere(6 * MINUTE));
        assert_eq!(story.refuse(200, 2, Accepted::Elsewhere), Verdict::Replace);
        story.now += 6 * MINUTE;
        assert_eq!(story.refuse(100, 3, Accepted::Elsewhere), Verdict::Replace);
    }

    #[tokio::test]
    async fn a_route_that_accepts_each_new_token_may_have_each_replaced() {
        let mut story = Story::new();
        for token in 1..10 {
            story.rejections.accepted(RouteKey::of(100), token);
            assert_eq!(story.refuse(100, token, Accepted::Here), Verdict::Replace);
        }
    }

    #[tokio::test]
    async fn a_route_that_refused_a_replacement_has_none_replaced_though_it_accepts_tokens_in_between() {
        let mut story = Story::new();
        assert_eq!(story.refuse(100, 1, Accepted::Here), Verdict::Replace);
        assert_eq!(story.refuse(100, 2, Accepted::Never), Verdict::Replace);
        for token in 3..10 {
            story.rejections.accepted(RouteKey::of(100), token);
            assert_eq!(story.refuse(100, token, Accepted::Here), Verdict::OnlyHere(WINDOW));
        }
    }

    #[tokio::test]
    async fn an_answer_to_the_old_token_says_nothing_of_the_new_one() {
        let mut story = Story::new();
        assert_eq!(story.refuse(100, 7, Accepted::Elsewhere), Verdict::Replace);
        story.rejections.accepted(RouteKey::of(100), 7);
        assert_eq!(story.refuse(100, 8, Accepted::Elsewhere), Verdict::OnlyHere(WINDOW));
    }

    #[tokio::test]
    async fn many_odd_routes_together_have_few_tokens_replaced() {
        let mut story = Story::new();
        let mut replaced = 0;
        for route in 100..1_000 {
            if story.refuse(route, route, Accepted::Elsewhere) == Verdict::Replace {
                replaced += 1;
                assert!(matches!(story.refuse(route, route + 1, Accepted::Never), Verdict::OnlyHere(_)));
            }
        }
        assert_eq!(replaced, 3);
    }

    #[tokio::test]
    async fn the_first_refusal_of_an_unproven_token_costs_a_mint_and_the_second_a_pause() {
        let mut story = Story::new();
        assert_eq!(story.refuse(100, 1, Accepted::Never), Verdict::Replace);
        // Only one route has tried.
        assert_eq!(story.refuse(100, 2, Accepted::Never), Verdict::Suspect(2));
        assert_eq!(story.refuse(100, 2, Accepted::Never), Verdict::Suspect(2));
        assert_eq!(story.refuse(200, 2, Accepted::Never), Verdict::Pause(2));
        assert_eq!(story.refuse(200, 3, Accepted::Never), Verdict::Pause(3));
        story.rejections.accepted(RouteKey::of(900), 9);
        assert_eq!(story.refuse(300, 4, Accepted::Never), Verdict::Replace);
    }

    #[tokio::test]
    async fn a_route_that_was_odd_before_anybody_else_called_is_known_once_others_do() {
        let mut story = Story::new();
        story.refuse(100, 1, Accepted::Never);
        assert_eq!(story.refuse(100, 2, Accepted::Never), Verdict::Suspect(2));
        story.rejections.accepted(RouteKey::of(900), 9);
        assert_eq!(story.refuse(100, 2, Accepted::Elsewhere), Verdict::OnlyHere(WINDOW));
    }

    #[tokio::test]
    async fn what_is_said_of_a_route_is_said_once_in_ten_minutes() {
        let mut story = Story::new();
        let route = RouteKey::of(1);
        assert!(story.rejections.is_news(route, story.now));
        assert!(!story.rejections.is_news(route, story.now));
        assert!(story.rejections.is_news(RouteKey::of(100), story.now));
        story.now += WINDOW;
        assert!(story.rejections.is_news(route, story.now));
        for route in 0..10_000 {
            story.rejections.is_news(RouteKey::of(route), story.now);
        }
        assert!(story.rejections.reported.len() <= MOST_ROUTES);
    }
}
