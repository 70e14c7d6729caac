//! What goes wrong goes wrong as told.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::zoho::edition::Edition;

fn counts() -> Target {
    Target::Path(COUNTS.to_owned())
}

async fn ask(program: &Program) -> Result<Answer, TransportError> {
    let request = Request::get(format!("https://www.zohoapis.com{COUNTS}"))
        .header(AUTHORIZATION, format!("Zoho-oauthtoken {}", program.token));
    send(&program.zoho, request.body(Body::empty()).unwrap()).await
}

#[tokio::test(start_paused = true)]
async fn faults_that_replace_an_answer_replace_it() {
    let program = Program::shipped().await;
    let script = program.zoho.script();
    for (fault, status, beginning) in [
        (Fault::Throttle, 429, "{\"code\":\"TOO_MANY_REQUESTS\""),
        (Fault::CreditsExhausted, 429, "{\"code\":\"TOO_MANY_REQUESTS\""),
        (Fault::InvalidToken, 401, "{\"code\":\"INVALID_TOKEN\""),
        (Fault::InternalError, 500, "{\"code\":\"INTERNAL_ERROR\""),
        (Fault::Html502, 502, "<html>"),
        (Fault::Html200, 200, "<html>"),
        (Fault::Html500, 500, "<html>"),
        (Fault::Empty200, 200, ""),
        (Fault::Empty503, 503, ""),
        (Fault::Redirect("https://elsewhere.example/".to_owned()), 302, "<html>"),
        (Fault::Status { status: 418, body: "tea".to_owned(), headers: Vec::new() }, 418, "tea"),
    ] {
        script.next(counts(), fault.clone());
        let answer = ask(&program).await.unwrap();
        assert_eq!(answer.status.as_u16(), status, "{fault:?}");
        assert!(answer.text().starts_with(beginning), "{fault:?}: {}", answer.text());
    }
    assert_eq!(ask(&program).await.unwrap().status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_connection_can_be_refused_broken_or_silent() {
    let program = Program::shipped().await;
    let script = program.zoho.script();
    script.next(counts(), Fault::Refuse);
    assert!(matches!(ask(&program).await, Err(TransportError::Connect(_))));
    script.next(counts(), Fault::Drop);
    assert!(matches!(ask(&program).await, Err(TransportError::Broken(_))));
    script.next(counts(), Fault::CutBody(10));
    assert!(matches!(ask(&program).await, Err(TransportError::Broken(_))));
    script.next(counts(), Fault::Hang);
    assert!(tokio::time::timeout(Duration::from_hours(1), ask(&program)).await.is_err());
    script.outage(true);
    assert!(matches!(ask(&program).await, Err(TransportError::Connect(_))));
    script.outage(false);
    // Its token has expired in that hour.
    assert_eq!(ask(&program).await.unwrap().status, StatusCode::UNAUTHORIZED);
    assert_eq!(program.zoho.ledger().count(|entry| entry.status.is_none()), 4);
}

#[tokio::test(start_paused = true)]
async fn what_is_delayed_is_done_afterwards_and_what_is_withheld_is_done_at_once() {
    let program = Program::shipped().await;
    let second = Duration::from_secs(1);
    for (fault, seen) in [(Fault::Delay(second), "4"), (Fault::DelayAnswer(second), "3")] {
        program.organisation.remove_user_from_territory("Finn Example", "North");
        program.zoho.script().next(counts(), fault.clone());
        let somebody = async {
            tokio::time::sleep(second / 2).await;
            program.organisation.add_user_to_territory("Finn Example", "North");
        };
        let (answer, ()) = tokio::join!(ask(&program), somebody);
        assert_eq!(answer.unwrap().json()["associated_users_count"][0]["count"], seen, "{fault:?}");
    }
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_was_done() {
    let program = Program::shipped().await;
    let writes = Target::Call { method: "POST".to_owned(), path: "/crm/".to_owned() };
    program.zoho.script().next(writes, Fault::DropAfter);
    let request = Request::post("https://www.zohoapis.com/crm/v8/Leads")
        .header(AUTHORIZATION, format!("Zoho-oauthtoken {}", program.token))
        .body(Body::full(json!({ "data": [{ "Last_Name": "Doe" }] }).to_string()));
    assert!(matches!(send(&program.zoho, request.unwrap()).await, Err(TransportError::Broken(_))));
    assert_eq!(program.get("/crm/v8/Leads/actions/count").await.json()["count"], 1);
}

#[tokio::test]
async fn what_is_said_of_a_token_can_be_wrong() {
    let program = Program::shipped().await;
    let script = program.zoho.script();
    script.next(Target::Mints, Fault::MissingAccessToken);
    assert!(program.mint().await.json()["access_token"].is_null());
    script.next(Target::Mints, Fault::MissingExpiresIn);
    assert!(program.mint().await.json()["expires_in"].is_null());
    script.next(Target::Mints, Fault::LegacyExpiry);
    assert_eq!(program.mint().await.json()["expires_in"], 3_600_000);
    script.next(Target::Mints, Fault::WrongApiDomain("https://evil.example".to_owned()));
    assert_eq!(program.mint().await.json()["api_domain"], "https://evil.example");
    assert_eq!(program.zoho.ledger().mints(), 5);
    script.next(Target::Mints, Fault::LocalisedThrottle);
    assert_eq!(program.mint().await.json()["error"], "访问被拒绝");
    script.next(Target::Mints, Fault::OauthError("general_error".to_owned()));
    assert_eq!(program.mint().await.text(), "{\"error\":\"general_error\"}");
    script.next(Target::Mints, Fault::HugeBody);
    assert_eq!(program.mint().await.body.len(), 10_000_000);
    script.next(Target::Mints, Fault::Garbage);
    assert!(serde_json::from_slice::<Value>(&program.mint().await.body).is_err());
    assert_eq!(program.zoho.ledger().mints(), 5);
}

#[tokio::test]
async fn headers_can_be_added_and_replaced() {
    let program = Program::shipped().await;
    let headers = vec![("Retry-After".to_owned(), "7".to_owned()), ("Server".to_owned(), "x".to_owned())];
    program.zoho.script().next(counts(), Fault::Headers(headers).and(Fault::Gzip));
    let answer = ask(&program).await.unwrap();
    assert_eq!(
        (&answer.headers["retry-after"], &answer.headers["server"]),
        (&"7".parse().unwrap(), &"x".parse().unwrap())
    );
    assert_eq!(answer.headers["content-encoding"], "gzip");
    assert_eq!(&answer.body[..2], [0x1f, 0x8b]);
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_edition_are_refused_while_others_are_under_way() {
    let few = scenario("[limits]\nconcurrency = true").with_edition("acme", Edition::Free);
    let program = Program::of_acme(few).await;
    program.zoho.script().always(Target::Api, Fault::Delay(Duration::from_secs(1)));
    let six = tokio::join!(
        ask(&program),
        ask(&program),
        ask(&program),
        ask(&program),
        ask(&program),
        ask(&program)
    );
    assert_eq!(six.4.unwrap().status, StatusCode::OK);
    let refused = six.5.unwrap();
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        refused.text(),
        "{\"code\":\"TOO_MANY_REQUESTS\",\"details\":{},\"message\":\
         \"Many requests fired in concurrent than the allowed limit\",\"status\":\"error\"}\n"
    );
    assert_eq!(program.organisation.peak_concurrency(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_scenario_can_begin_with_faults() {
    let faults = "[[faults]]\ntarget = { call = { method = 'GET', path = '/crm' } }\n\
                  fault = { together = [{ delay = '1h' }, 'html502'] }\ntimes = 1";
    let program = Program::of_acme(scenario(faults)).await;
    assert_eq!(ask(&program).await.unwrap().status, StatusCode::BAD_GATEWAY);
    assert!(program.mint().await.json()["access_token"].is_string());
    program.zoho.reset();
    assert_eq!(program.zoho.script().waiting(), 1);
    assert_eq!((program.organisation.live_tokens(), program.zoho.ledger().entries().len()), (0, 0));
}

#[tokio::test]
async fn every_fault_has_its_name_in_the_list_and_in_the_shipped_file() {
    for name in Fault::NAMES {
        assert!(include_str!("../../../config/emulator.toml").contains(name), "{name}");
        let error =
            serde_json::from_value::<Fault>(json!({ *name: null })).err().map(|error| error.to_string());
        assert!(!error.clone().unwrap_or_default().contains("unknown variant"), "{error:?}");
    }
    let error = serde_json::from_value::<Fault>(json!("vanish")).unwrap_err().to_string();
    assert_eq!(error.matches('`').count() / 2 - 1, Fault::NAMES.len(), "{error}");
}
