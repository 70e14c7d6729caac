//! Zoho's 401s whose reason cannot be read, or does not come, are refusals of the token all the same.

use std::time::Duration;

use http::Method;
use zoho_sidecar::emulator::{Fault, Target};

use crate::world::{USERS, World, request, with_headers};

const SCOPES: &str = r#"{"code":"OAUTH_SCOPE_MISMATCH","details":{},"message":"m","status":"error"}"#;
const LEAD: &str = r#"{"data":[{"Last_Name":"Example"}]}"#;

fn unauthorized(body: &str, headers: &[(&str, &str)]) -> Fault {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Fault::Status { status: 401, body: body.to_owned(), headers }
}

async fn with_a_proven_token() -> World {
    let world = World::shipped().await;
    world.get(USERS).await.assert_status(200);
    world
}

#[tokio::test(start_paused = true)]
async fn a_refusal_whose_body_breaks_off_or_stalls_has_the_token_replaced_within_seconds() {
    let second = Duration::from_secs(1);
    for trouble in [
        Fault::DelayBody(Duration::from_hours(1)),
        Fault::Drip { bytes: 1, every: second },
        Fault::CutBody(5),
        Fault::CutBody(0),
    ] {
        let world = with_a_proven_token().await;
        for (mints, ask) in
            [(2, request(Method::GET, USERS, "")), (3, request(Method::POST, "/crm/v8/Leads", LEAD))]
        {
            world.zoho().script().next(Target::Api, Fault::InvalidToken.and(trouble.clone()));
            let start = world.now();
            let answer = world.send(ask).await;
            assert!(answer.status.is_success(), "{trouble:?}: {answer:?}");
            assert!(world.now() - start <= 6 * second, "{trouble:?}: {:?}", world.now() - start);
            assert_eq!(world.mints(), mints, "{trouble:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_head_has_the_token_replaced_where_its_get_shows_nothing() {
    for trouble in [Fault::Empty503, Fault::Html502, Fault::Throttle, Fault::Drop, Fault::Refuse] {
        let world = with_a_proven_token().await;
        world.acme().kill_access_tokens();
        let get = Target::Call { method: "GET".to_owned(), path: "/crm/".to_owned() };
        world.zoho().script().next(get, trouble.clone());
        let answer = world.head(USERS).await;
        assert_eq!(answer.status, 200, "{trouble:?}");
        assert_eq!(world.mints(), 2, "{trouble:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_in_a_coding_that_is_not_understood_is_asked_for_once_more_in_plain() {
    for coding in ["br", "zstd", "gzip, br"] {
        let world = with_a_proven_token().await;
        let coded = unauthorized("made-up bytes", &[("content-encoding", coding)]);
        let accepts = [("accept-encoding", "br, zstd")];
        for ask in
            [request(Method::GET, "/crm/v8/settings/roles", ""), request(Method::POST, "/crm/v8/Leads", LEAD)]
        {
            world.zoho().script().next(Target::Api, coded.clone());
            world.zoho().script().next(Target::Api, unauthorized(SCOPES, &[]));
            let answer = world.send(with_headers(ask, &accepts)).await;
            answer.assert_status(401);
            assert_eq!(answer.code(), "OAUTH_SCOPE_MISMATCH");
        }
        assert_eq!(world.mints(), 1, "{coding}");
        let plain =
            |entry: &zoho_sidecar::emulator::Entry| entry.header("accept-encoding") == Some("identity");
        assert_eq!(world.zoho().ledger().count(|entry| entry.path().starts_with("/crm/") && plain(entry)), 2);

        world.zoho().script().next(Target::Api, coded.clone());
        world.zoho().script().next(Target::Api, coded);
        world.get_with(USERS, &accepts).await.assert_status(200);
        assert_eq!(world.mints(), 2, "{coding}: what cannot be read in plain either is about the token");
    }
}
