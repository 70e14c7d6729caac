//! Access tokens: always one that lives, never more mints than Zoho allows.

use std::time::Duration;

use http::{Method, StatusCode};
use zoho_sidecar::emulator::{Fault, Target};

use crate::world::{ASSOCIATED_USERS_COUNT, USERS, World, request};

#[tokio::test(start_paused = true)]
async fn the_first_token_is_there_before_anybody_asks() {
    let world = World::shipped().await;
    assert_eq!(world.mints(), 1);
    world.get(USERS).await.assert_status(200);
    assert_eq!(world.mints(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_ahead_of_its_end_while_the_old_one_serves() {
    let world = World::shipped().await;
    world.passes(Duration::from_mins(47)).await;
    assert_eq!(world.mints(), 1, "renewal is due some ten minutes before the end");
    world.zoho().script().next(Target::Accounts, Fault::Delay(Duration::from_secs(5)));
    // It is due eight to twelve minutes before the end, and takes five seconds: by minute 53 it is done
    // wherever in that span it was drawn.
    for _ in 0..6 * 12 {
        world.get(USERS).await.assert_status(200);
        world.passes(Duration::from_secs(5)).await;
    }
    assert_eq!(world.mints(), 2);
    assert_eq!(world.zoho().ledger().count(|entry| entry.status == Some(401)), 0);
}

#[tokio::test(start_paused = true)]
async fn a_day_of_traffic_costs_some_thirty_mints_and_no_refused_call() {
    let world = World::shipped().await;
    for _ in 0..24 * 12 {
        world.get(USERS).await.assert_status(200);
        world.passes(Duration::from_mins(5)).await;
    }
    assert!((24..36).contains(&world.mints()), "{}", world.mints());
    assert_eq!(world.zoho().ledger().count(|entry| entry.status == Some(401)), 0);
}

#[tokio::test(start_paused = true)]
async fn callers_wait_together_for_the_first_token() {
    let making = World::making().fault(Target::Accounts, Fault::Delay(Duration::from_secs(3)));
    let world = making.unsettled().start().await;
    let answers = world.get_at_once(USERS, 50).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    assert_eq!(world.mints(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_lives_on_while_the_accounts_server_is_down_and_is_never_sent_after_its_end() {
    let world = World::shipped().await;
    world.zoho().script().always(Target::Accounts, Fault::Html500);
    world.passes(Duration::from_mins(59)).await;
    world.get(USERS).await.assert_status(200);
    world.passes(Duration::from_mins(2)).await;

    let calls = world.calls();
    let answer = world.get(USERS).await;
    answer.assert_status(503);
    assert_eq!(answer.code(), "SIDECAR_TOKEN_UNAVAILABLE");
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(world.calls(), calls, "Zoho's API was not bothered with a dead token");

    world.zoho().script().clear();
    world.passes(Duration::from_mins(2)).await;
    world.get(USERS).await.assert_status(200);
}

#[tokio::test(start_paused = true)]
async fn every_odd_success_is_a_success() {
    for fault in [Fault::MissingExpiresIn, Fault::LegacyExpiry] {
        let world = World::making().fault(Target::Accounts, fault.clone()).await_first_token().await;
        world.get(USERS).await.assert_status(200);
        let status = world.ask_admin("/status").json();
        let left = status["tenants"][0]["token"]["left_seconds"].as_u64().unwrap();
        assert!((3_500..=3_600).contains(&left), "{fault:?}: {left}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_odd_failure_has_a_state_a_remedy_and_a_way_back() {
    for (fault, state) in [
        (Fault::OauthError("invalid_code".into()), "grant_dead"),
        (Fault::OauthError("invalid_client".into()), "client_dead"),
        (Fault::OauthError("invalid_client_secret".into()), "client_dead"),
        (Fault::AccessDenied, "throttled"),
        (Fault::LocalisedThrottle, "throttled"),
        (Fault::OauthError("general_error".into()), "nonsense"),
        (Fault::MissingAccessToken, "nonsense"),
        (Fault::Html200, "nonsense"),
        (Fault::Empty200, "nonsense"),
        (Fault::Garbage, "nonsense"),
        (Fault::HugeBody, "nonsense"),
        (Fault::Redirect("https://evil.example/".into()), "nonsense"),
        (Fault::Html500, "endpoint_down"),
        (Fault::Empty503, "endpoint_down"),
        (Fault::Refuse, "endpoint_down"),
        (Fault::Drop, "endpoint_down"),
        (Fault::Hang, "endpoint_down"),
        (Fault::WrongApiDomain("https://www.zohoapis.eu".into()), "wrong_data_center"),
        (Fault::WrongApiDomain("https://evil.example".into()), "wrong_data_center"),
        (Fault::WrongApiDomain("https://sandbox.zohoapis.com".into()), "wrong_data_center"),
    ] {
        let world = World::making().fault(Target::Accounts, fault.clone()).start().await;
        let ready = world.ask_admin("/readyz");
        assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE, "{fault:?}");
        let reason = &ready.json()["reasons"][0];
        assert_eq!(reason["reason"], state, "{fault:?}");
        assert!(reason["remedy"].as_str().unwrap().len() > 20, "{fault:?}");
        let metric = format!(r#"zoho_sidecar_token_state{{tenant="acme",state="{state}"}}"#);
        assert_eq!(world.metric(&metric), Some(1.0), "{fault:?}");

        let refused = world.get(USERS).await;
        refused.assert_status(503);
        assert_eq!(refused.code(), "SIDECAR_TOKEN_UNAVAILABLE");
        assert_eq!(world.calls(), 0, "no call without a token: {fault:?}");

        world.passes(Duration::from_mins(11)).await;
        world.get(USERS).await.assert_status(200);
        assert_eq!(world.ask_admin("/readyz").status, StatusCode::OK, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_grant_is_probed_at_most_once_a_minute_however_many_ask() {
    let world = World::shipped().await;
    world.acme().revoke_refresh_token();
    let before = world.zoho().ledger().mint_attempts();
    let minutes = 30;
    for _ in 0..minutes * 6 {
        world.get_at_once(USERS, 5).await;
        world.passes(Duration::from_secs(10)).await;
    }
    let probes = world.zoho().ledger().mint_attempts() - before;
    assert!((1..=minutes).contains(&probes), "{probes} probes in {minutes} minutes");
}

#[tokio::test(start_paused = true)]
async fn a_throttled_endpoint_is_left_alone_for_minutes() {
    let world = World::making().fault(Target::Accounts, Fault::AccessDenied).start().await;
    assert_eq!(world.zoho().ledger().mint_attempts(), 1);
    for _ in 0..17 {
        world.get_at_once(USERS, 5).await;
        world.passes(Duration::from_secs(10)).await;
    }
    assert_eq!(world.zoho().ledger().mint_attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_budget_is_kept_even_when_tokens_keep_dying() {
    let world = World::shipped().await;
    for _ in 0..20 {
        let _ = world.get(USERS).await;
        world.acme().kill_access_tokens();
        let _ = world.get(USERS).await;
    }
    assert_eq!(world.mints(), 6);
    assert_eq!(world.zoho().ledger().mint_attempts(), 6, "Zoho never had to refuse");
    let answer = world.get(USERS).await;
    answer.assert_status(503);
    assert!(world.ask_admin("/readyz").text.contains("budget_spent"));

    world.passes(Duration::from_mins(9)).await;
    world.get(USERS).await.assert_status(503);
    world.passes(Duration::from_mins(1)).await;
    world.get(USERS).await.assert_status(200);
}

#[tokio::test(start_paused = true)]
async fn someone_else_minting_pushes_our_token_out_and_it_is_noticed() {
    let world = World::shipped().await;
    world.get(USERS).await.assert_status(200);
    for _ in 0..9 {
        world.acme().mint_for_somebody_else();
    }
    world.passes(Duration::from_mins(11)).await;
    for _ in 0..6 {
        world.acme().mint_for_somebody_else();
    }
    world.get(USERS).await.assert_status(200);
    assert_eq!(world.metric(r#"zoho_sidecar_token_early_deaths_total{tenant="acme"}"#), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn a_secret_file_that_changes_brings_a_dead_client_back_within_seconds() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("client-secret");
    std::fs::write(&secret, "not-the-secret\n").unwrap();
    let config = format!("[tenants.acme]\nclient_secret = {{ file = \"{}\" }}\n", secret.display());
    let world = World::making().config(&config).start().await;
    assert!(world.ask_admin("/readyz").text.contains("client_dead"));

    std::fs::write(&secret, format!("{}\n", world.acme().client_secret())).unwrap();
    world.passes(Duration::from_secs(6)).await;
    world.get(USERS).await.assert_status(200);
}

#[tokio::test(start_paused = true)]
async fn a_secret_file_that_comes_late_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("refresh-token");
    let config = format!("[tenants.acme]\nrefresh_token = {{ file = \"{}\" }}\n", secret.display());
    let world = World::making().config(&config).start().await;
    let refused = world.get(USERS).await;
    refused.assert_status(503);
    assert!(refused.text().contains("refresh-token"), "{}", refused.text());

    std::fs::write(&secret, world.acme().refresh_token()).unwrap();
    world.passes(Duration::from_secs(6)).await;
    world.get(USERS).await.assert_status(200);
}

/// A second refresh token for the same organisation, as another user's consent would give.
async fn second_refresh_token(world: &World) -> String {
    let acme = world.acme();
    let form = format!(
        "grant_type=authorization_code&client_id={}&client_secret={}&code={}",
        acme.client_id(),
        acme.client_secret(),
        acme.issue_code(true)
    );
    let request = http::Request::post("https://accounts.zoho.com/oauth/v2/token")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(zoho_sidecar::net::body::Body::full(form))
        .unwrap();
    let answer = world.zoho().answer(request).await.unwrap().into_body();
    let bytes = http_body_util::BodyExt::collect(answer).await.unwrap().to_bytes();
    let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    json["refresh_token"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn the_cache_changes_with_the_token_in_use_and_not_before() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("refresh-token");
    let config = format!("[tenants.acme]\nrefresh_token = {{ file = \"{}\" }}\n", file.display());
    std::fs::write(&file, World::shipped().await.acme().refresh_token()).unwrap();
    let world = World::with(&config).await;
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);

    // Nothing can be minted with this one: the old token serves on, and what it brought is still its own.
    std::fs::write(&file, "1000.made-up.of-another-user").unwrap();
    world.passes(Duration::from_secs(6)).await;
    assert!(world.ask_admin("/readyz").text.contains("grant_dead"));
    assert!(world.get(ASSOCIATED_USERS_COUNT).await.cache_status().contains("hit"));

    std::fs::write(&file, second_refresh_token(&world).await).unwrap();
    world.passes(Duration::from_secs(6)).await;
    let others = world.get(ASSOCIATED_USERS_COUNT).await;
    others.assert_status(200).assert_cache("zoho-sidecar; fwd=uri-miss; stored");
}

#[tokio::test(start_paused = true)]
async fn a_response_of_the_new_credential_is_not_stored_under_the_old_ones_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("refresh-token");
    let tenant = format!("edition = \"free\"\nrefresh_token = {{ file = \"{}\" }}", file.display());
    let first = World::shipped().await.acme().refresh_token().to_owned();
    std::fs::write(&file, &first).unwrap();
    let world = World::with(&format!("[tenants.acme]\n{tenant}\n")).await;
    // All of the edition's calls are taken, so that the read waits between its look-up and its token.
    world.zoho_takes(Duration::from_secs(8));
    for _ in 0..5 {
        world.begin(request(Method::GET, USERS, ""));
    }
    world.settles().await;
    let read = world.begin(request(Method::GET, ASSOCIATED_USERS_COUNT, ""));
    world.settles().await;
    std::fs::write(&file, second_refresh_token(&world).await).unwrap();

    read.await.unwrap().assert_status(200).assert_cache("zoho-sidecar; fwd=uri-miss; detail=overtaken");

    std::fs::write(&file, &first).unwrap();
    world.passes(Duration::from_secs(6)).await;
    world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_not_sent_in_its_last_seconds() {
    let world = World::shipped().await;
    let token = world.app().tokens()[0].state().token.unwrap();
    // No other token comes in its place.
    world.zoho().script().always(Target::Accounts, Fault::Html500);
    let until = |left: u64| (token.expires() - world.boot_time()).saturating_sub(Duration::from_secs(left));

    world.passes(until(6)).await;
    world.get(USERS).await.assert_status(200);

    world.passes(until(4)).await;
    let refused = world.get(USERS).await;
    refused.assert_status(503);
    assert_eq!(refused.code(), "SIDECAR_TOKEN_UNAVAILABLE");
    assert_eq!(world.calls(), 1, "the dying token was not sent");
}

#[tokio::test(start_paused = true)]
async fn a_kept_token_is_never_adopted_for_another_refresh_token() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("refresh-token");
    let state = directory.path().join("state");
    let config = format!(
        "[tenants.acme]\nrefresh_token = {{ file = \"{}\" }}\n[state]\ndirectory = \"{}\"\n",
        file.display(),
        state.display()
    );
    std::fs::write(&file, World::shipped().await.acme().refresh_token()).unwrap();
    let world = World::with(&config).await;
    // The exchange of the new one fails, and the process ends.
    std::fs::write(&file, "1000.made-up.of-another-user").unwrap();
    world.passes(Duration::from_secs(6)).await;
    let left = world.crash();

    let world = World::making().config(&config).after(left).start().await;
    assert!(world.ask_admin("/readyz").text.contains("grant_dead"));
    world.get(USERS).await.assert_status(503);
}

#[tokio::test(start_paused = true)]
async fn a_kept_token_is_never_adopted_in_another_data_centre() {
    let directory = tempfile::tempdir().unwrap();
    let config = format!("[state]\ndirectory = \"{}\"\n", directory.path().display());
    let left = World::with(&config).await.crash();
    let elsewhere = format!("{config}[tenants.acme]\ndata_center = \"eu\"\n");
    let world = World::making().config(&elsewhere).after(left).start().await;
    let refused = world.get(USERS).await;
    refused.assert_status(503);
    assert_eq!(world.calls(), 0, "no token was sent to another row");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_ends_within_seconds_is_no_reason_to_mint_without_end() {
    for seconds in [3, 20, 29] {
        let world = World::making().fault(Target::Accounts, Fault::ExpiresIn(seconds)).start().await;
        world.passes(Duration::from_millis(500)).await;
        assert_eq!(world.mints(), 1);
        let ready = world.ask_admin("/readyz").json();
        assert_eq!(ready["reasons"][0]["reason"], "short_lived", "{ready}");
        let remedy = ready["reasons"][0]["remedy"].as_str().unwrap();
        assert!(remedy.contains(&format!("end after {seconds} s")), "{remedy}");
    }
    let world = World::making().fault(Target::Accounts, Fault::ExpiresIn(30)).await_first_token().await;
    world.get(USERS).await.assert_status(200);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_restarts_cost_one_mint() {
    let directory = tempfile::tempdir().unwrap();
    let config = format!("[state]\ndirectory = \"{}\"\n", directory.path().display());
    let mut world = World::making().config(&config).await_first_token().await;
    for _ in 0..100 {
        let left = world.crash();
        world = World::making().config(&config).after(left).await_first_token().await;
        world.get(USERS).await.assert_status(200);
    }
    assert_eq!(world.mints(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_budget_outlives_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let config = format!("[state]\ndirectory = \"{}\"\n", directory.path().display());
    let mut world = World::making().config(&config).await_first_token().await;
    for _ in 0..20 {
        // Each process sees its token die, and wants another.
        let _ = world.get(USERS).await;
        world.acme().kill_access_tokens();
        let _ = world.get(USERS).await;
        let left = world.crash();
        world = World::making().config(&config).after(left).start().await;
    }
    assert_eq!(world.zoho().ledger().mint_attempts(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_crash_in_the_middle_of_a_mint_is_not_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let config = format!("[state]\ndirectory = \"{}\"\n", directory.path().display());
    let mut left = None;
    for _ in 0..20 {
        let mut making = World::making().config(&config).unsettled();
        if let Some(left) = left.take() {
            making = making.after(left);
        }
        // Zoho mints, but the process dies before it hears of it.
        let world = making.fault(Target::Accounts, Fault::DelayAnswer(Duration::from_secs(5))).start().await;
        world.passes(Duration::from_secs(1)).await;
        world.zoho().script().clear();
        left = Some(world.crash());
    }
    let (zoho, _) = left.unwrap();
    assert_eq!(zoho.ledger().mint_attempts(), 6);
}

#[tokio::test(start_paused = true)]
async fn state_that_was_tampered_with_is_ignored_aloud_and_costs_one_mint() {
    let directory = tempfile::tempdir().unwrap();
    let config = format!("[state]\ndirectory = \"{}\"\n", directory.path().display());
    let world = World::making().config(&config).await_first_token().await;
    let left = world.crash();
    for file in std::fs::read_dir(directory.path()).unwrap() {
        std::fs::write(file.unwrap().path(), b"tampered with").unwrap();
    }
    let world = World::making().config(&config).after(left).await_first_token().await;
    assert_eq!(world.mints(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_state_directory_that_cannot_be_used_stops_nobody() {
    let config = "[state]\ndirectory = \"/proc/no/such/place\"\n";
    let world = World::with(config).await;
    world.get(USERS).await.assert_status(200);
}
