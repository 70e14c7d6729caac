//! A token was refused: is it dead, or is the route odd on which it was refused? Pure.
//!
//! Zoho revokes tokens before their time, and then every route refuses them. But a route may also refuse what all
//! others accept, and replacing the token for such a route would spend the mints of all, each time it is called.

use std::time::Duration;

use super::budget::WINDOW;
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

/// The routes that accepted the refused token before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepted {
    /// Nobody yet.
    Never,
    /// The route that refuses it now, and no other.
    Here,
    /// Other routes.
    Elsewhere,
}

/// A refusal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rejection {
    pub(super) route: RouteKey,
    pub(super) generation: u64,
    pub(super) accepted: Accepted,
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
    replaced: Vec<Replaced>,
    unproven: Unproven,
    reported: Vec<(RouteKey, BootTime)>,
}

/// A route for which a token was replaced.
#[derive(Debug)]
struct Replaced {
    route: RouteKey,
    at: BootTime,
    /// Whether other routes accepted the token.
    accepted_elsewhere: bool,
    /// Whether the route has refused the new token as well.
    in_vain: bool,
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
    /// Judges a refusal of the token in use. At most `most_in_vain` tokens that some routes accept are replaced for
    /// others that do not, within [`WINDOW`].
    pub(super) fn judge(&mut self, rejection: Rejection, most_in_vain: usize, now: BootTime) -> Verdict {
        self.replaced.retain(|replaced| now.saturating_duration_since(replaced.at) < WINDOW);
        match rejection.accepted {
            Accepted::Elsewhere => {
                self.unproven = Unproven::default();
                self.judge_proven(rejection.route, most_in_vain, now)
            }
            Accepted::Here => {
                self.unproven = Unproven::default();
                self.note(rejection.route, false, now)
            }
            Accepted::Never => self.judge_unproven(rejection, now),
        }
    }

    /// A token that other routes accept is replaced for this one at most once in [`WINDOW`].
    fn judge_proven(&mut self, route: RouteKey, most_in_vain: usize, now: BootTime) -> Verdict {
        let rest = |at: BootTime| WINDOW.saturating_sub(now.saturating_duration_since(at));
        if let Some(own) = self.replaced.iter_mut().find(|replaced| replaced.route == route) {
            own.in_vain = true;
            return Verdict::OnlyHere(rest(own.at));
        }
        let in_vain = self.replaced.iter().filter(|replaced| replaced.in_vain);
        if in_vain.clone().count() >= most_in_vain || self.replaced.len() >= MOST_ROUTES {
            let first = in_vain.map(|replaced| rest(replaced.at)).min();
            return Verdict::OnlyHere(first.unwrap_or(WINDOW));
        }
        self.note(route, true, now)
    }

    fn judge_unproven(&mut self, rejection: Rejection, now: BootTime) -> Verdict {
        let Rejection { route, generation, is_young, .. } = rejection;
        let own = self.replaced.iter_mut().find(|replaced| replaced.route == route);
        if let Some(own) = own.filter(|own| own.accepted_elsewhere) {
            // It took the place of one that others accepted, and is refused as well: it is not the token.
            own.in_vain = true;
            return Verdict::OnlyHere(WINDOW.saturating_sub(now.saturating_duration_since(own.at)));
        }
        if !is_young {
            return self.note(route, false, now);
        }
        let unproven = &mut self.unproven;
        if unproven.newest != generation || unproven.tokens == 0 {
            unproven.tokens = unproven.tokens.saturating_add(1);
            unproven.newest = generation;
        }
        unproven.on_several_routes |= unproven.route.is_some_and(|first| first != route);
        unproven.route = Some(route);
        match (unproven.tokens, unproven.on_several_routes) {
            (0 | 1, _) => self.note(route, false, now),
            (tokens, false) => Verdict::Suspect(tokens),
            (tokens, true) => Verdict::Pause(tokens),
        }
    }

    fn note(&mut self, route: RouteKey, accepted_elsewhere: bool, now: BootTime) -> Verdict {
        self.replaced.retain(|replaced| replaced.route != route);
        if self.replaced.len() >= MOST_ROUTES {
            self.replaced.remove(0);
        }
        self.replaced.push(Replaced { route, at: now, accepted_elsewhere, in_vain: false });
        Verdict::Replace
    }

    /// Notes that a token was accepted.
    pub(super) fn accepted(&mut self) {
        self.unproven = Unproven::default();
    }

    /// How many routes lately refused a token and the one that replaced it.
    pub(super) fn in_vain(&self) -> usize {
        self.replaced.iter().filter(|replaced| replaced.in_vain).count()
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

        fn refuse(&mut self, route: u64, generation: u64, accepted: Accepted) -> Verdict {
            let route = RouteKey::of(route);
            let rejection = Rejection { route, generation, accepted, is_young: accepted == Accepted::Never };
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
    async fn a_route_that_accepted_the_token_itself_may_have_it_replaced_each_time() {
        let mut story = Story::new();
        for generation in 0..10 {
            assert_eq!(story.refuse(100, generation, Accepted::Here), Verdict::Replace);
        }
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
        story.rejections.accepted();
        assert_eq!(story.refuse(300, 4, Accepted::Never), Verdict::Replace);
    }

    #[tokio::test]
    async fn a_route_that_was_odd_before_anybody_else_called_is_known_once_others_do() {
        let mut story = Story::new();
        story.refuse(100, 1, Accepted::Never);
        assert_eq!(story.refuse(100, 2, Accepted::Never), Verdict::Suspect(2));
        story.rejections.accepted();
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
