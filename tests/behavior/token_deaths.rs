//! A dead token is told from a route that refuses what others accept, whatever both have done before.

use std::time::Duration;

use http::Method;
use zoho_sidecar::emulator::{Fault, Target};

use crate::world::{USERS, World, request};

const ORG: &str = "/crm/v8/org";

fn unauthorized() -> Fault {
    Fault::Status { status: 401, body: String::new(), headers: Vec::new() }
}

async fn with_a_token_proven_on(paths: &[&str]) -> World {
    let world = World::shipped().await;
    for path in paths {
        world.get(path).await.assert_status(200);
    }
    world
}

#[tokio::test(start_paused = true)]
async fn a_token_that_dies_again_and_again_is_replaced_on_whichever_accepted_route_notices_first() {
    for order in [[USERS, ORG], [ORG, USERS], [USERS, USERS]] {
        let world = with_a_token_proven_on(&[USERS, ORG]).await;
        for death in 2..=5 {
            world.acme().kill_access_tokens();
            for path in order {
                world.get(path).await.assert_status(200);
            }
            assert_eq!(world.mints(), death, "{order:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_replacement_that_worked_is_not_held_against_a_route_that_has_not_used_the_next_token_yet() {
    let world = with_a_token_proven_on(&[USERS, ORG]).await;
    world.acme().kill_access_tokens();
    world.get(USERS).await.assert_status(200);
    world.acme().kill_access_tokens();
    world.get(ORG).await.assert_status(200);
    world.acme().kill_access_tokens();
    world.get(USERS).await.assert_status(200);
    assert_eq!(world.mints(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_dies_is_replaced_though_odd_routes_have_spent_their_share_of_mints() {
    let world = with_a_token_proven_on(&[USERS, ORG]).await;
    world.zoho().script().always(Target::Path("/crm/v8/settings/".to_owned()), unauthorized());
    for word in ["a", "b", "c", "d", "e"] {
        world.get(&format!("/crm/v8/settings/{word}")).await.assert_status(503);
    }
    assert_eq!(world.mints(), 4, "half of the budget of six, and the first");
    world.get(USERS).await.assert_status(200);

    world.acme().kill_access_tokens();

    world.get(USERS).await.assert_status(200);
    world.get(ORG).await.assert_status(200);
    assert_eq!(world.mints(), 5);
}

/// Calls of one route of which some are refused, with any token.
async fn good_and_bad(world: &World, module: &str) {
    let bad = format!("/crm/v8/{module}/2");
    world.zoho().script().always(Target::Path(bad.clone()), unauthorized());
    for _ in 0..30 {
        let good = world.get(&format!("/crm/v8/{module}/1")).await;
        assert!([200, 204, 400, 404].contains(&good.status.as_u16()), "{:?}", good.text());
        assert_eq!(world.get(&bad).await.code(), "SIDECAR_TOKEN_REJECTED");
        world.passes(Duration::from_secs(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_that_refuses_some_calls_and_accepts_others_does_not_spend_the_budget() {
    for others in [&[][..], &[USERS, ORG][..]] {
        let world = with_a_token_proven_on(others).await;
        good_and_bad(&world, "Leads").await;
        assert!((2..=3).contains(&world.mints()), "{} mints in five minutes", world.mints());
        world.get(USERS).await.assert_status(200);
        world.acme().kill_access_tokens();
        world.get(USERS).await.assert_status(200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_that_refuses_some_calls_lets_a_dead_token_be_replaced_after_a_few_refusals() {
    let world = World::shipped().await;
    good_and_bad(&world, "Leads").await;
    let mints = world.mints();
    world.acme().kill_access_tokens();
    let statuses = [
        world.get("/crm/v8/Leads/1").await.status.as_u16(),
        world.get("/crm/v8/Leads/1").await.status.as_u16(),
        world.get("/crm/v8/Leads/1").await.status.as_u16(),
    ];
    assert_ne!(statuses[2], 503, "{statuses:?}");
    assert_eq!(world.mints(), mints + 1);
}

#[tokio::test(start_paused = true)]
async fn many_routes_that_refuse_some_calls_leave_a_mint_for_a_token_that_dies() {
    let world = with_a_token_proven_on(&[USERS]).await;
    for module in ["Leads", "Contacts", "Accounts", "Deals", "Tasks", "Events", "Calls"] {
        let (good, bad) = (format!("/crm/v8/{module}/1"), format!("/crm/v8/{module}/2"));
        world.zoho().script().always(Target::Path(bad.clone()), unauthorized());
        for _ in 0..3 {
            assert_ne!(world.get(&good).await.status, 503);
            world.get(&bad).await.assert_status(503);
        }
    }
    assert!(world.mints() <= 5, "{}", world.mints());
    world.get(USERS).await.assert_status(200);
    world.acme().kill_access_tokens();
    let answers = [world.get(USERS).await, world.get(USERS).await, world.get(USERS).await];
    answers[2].assert_status(200);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_refused_with_two_tokens_costs_no_third_while_others_accept_the_second() {
    let world = with_a_token_proven_on(&[USERS]).await;
    world.zoho().script().always(Target::Path(ORG.to_owned()), Fault::Delay(Duration::from_secs(2)));
    world.zoho().script().always(Target::Path(ORG.to_owned()), unauthorized());
    let odd = world.begin(request(Method::GET, ORG, ""));
    world.passes(Duration::from_millis(500)).await;
    world.acme().kill_access_tokens();
    world.get(USERS).await.assert_status(200);

    odd.await.unwrap().assert_status(503);

    assert_eq!(world.mints(), 2);
}
