//! Tokens as a caller gets, loses and gives them back.

use std::time::Duration;

use http::Method;
use serde_json::json;

use super::*;
use crate::zoho::data_center::Environment;

#[tokio::test(start_paused = true)]
async fn the_eleventh_mint_in_ten_minutes_is_denied_in_zohos_words() {
    let program = Program::shipped().await;
    for _ in 1..10 {
        assert_eq!(program.mint().await.status, StatusCode::OK);
    }
    let denied = program.mint().await;
    assert_eq!(denied.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        denied.json(),
        json!({
            "error_description":
                "You have made too many requests continuously. Please try again after some time.",
            "error": "Access Denied",
            "status": "failure"
        })
    );
    assert_eq!(program.zoho.ledger().mints(), 10);
    assert_eq!(program.zoho.ledger().mint_attempts(), 11);
    tokio::time::advance(Duration::from_mins(10)).await;
    assert!(program.mint().await.json()["access_token"].is_string());
}

#[tokio::test]
async fn a_mint_tells_the_api_domain_of_data_centre_and_environment() {
    let program = Program::shipped().await;
    let minted = program.mint().await;
    assert_eq!(minted.json()["api_domain"], "https://www.zohoapis.com");
    assert_eq!(minted.json()["expires_in"], 3600);
    assert_eq!(minted.headers["server"], "ZGS");
    assert!(!minted.text().ends_with('\n'));
}

#[tokio::test]
async fn an_organisation_in_a_sandbox_has_its_own_api_host() {
    let sandboxed = Scenario::default().with_environment("acme", Environment::Sandbox);
    let program = Program::of_acme(sandboxed).await;
    assert_eq!(program.mint().await.json()["api_domain"], "https://sandbox.zohoapis.com");
    assert_eq!(program.get(COUNTS).await.status, StatusCode::UNAUTHORIZED);
    let request = Request::get(format!("https://sandbox.zohoapis.com{COUNTS}"))
        .header(AUTHORIZATION, format!("Zoho-oauthtoken {}", program.token));
    let answer = send(&program.zoho, request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn parameters_are_taken_from_the_query_and_from_multipart_too() {
    let program = Program::shipped().await;
    let acme = &program.organisation;
    let parameters = [
        ("grant_type", "refresh_token".to_owned()),
        ("client_id", acme.client_id().to_owned()),
        ("client_secret", acme.client_secret()),
        ("refresh_token", acme.refresh_token().to_owned()),
    ];
    let pairs = parameters.each_ref().map(|(name, value)| format!("{name}={value}"));
    let query = pairs.join("&");
    let uri = format!("https://accounts.zoho.com/oauth/v2/token?{query}");
    let by_query = send(&program.zoho, Request::post(uri).body(Body::empty()).unwrap()).await.unwrap();
    assert!(by_query.json()["access_token"].is_string(), "{}", by_query.text());

    let part = |(name, value): &(&str, String)| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let body: String = parameters.iter().map(part).collect::<String>() + "--b--\r\n";
    let request = Request::post("https://accounts.zoho.com/oauth/v2/token")
        .header(CONTENT_TYPE, "multipart/form-data; boundary=b")
        .body(Body::full(body))
        .unwrap();
    let by_multipart = send(&program.zoho, request).await.unwrap();
    assert!(by_multipart.json()["access_token"].is_string(), "{}", by_multipart.text());
}

#[tokio::test]
async fn what_is_wrong_with_a_mint_is_told_with_status_200() {
    let program = Program::shipped().await;
    let acme = "grant_type=refresh_token&client_id=1000.EMULATEDACME&client_secret=emulated-secret-acme";
    for (form, error) in [
        ("grant_type=refresh_token&client_id=1000.NOBODY", "invalid_client"),
        // A client of another data centre.
        ("grant_type=refresh_token&client_id=1000.EMULATEDGLOBEX", "invalid_client"),
        ("client_id=1000.EMULATEDACME&client_secret=wrong", "invalid_client_secret"),
        (&format!("{acme}&refresh_token=wrong"), "invalid_code"),
        (&acme.replace("refresh_token", "client_credentials"), "missing_org_info"),
        (&acme.replace("refresh_token", "authorization_code"), "invalid_code"),
    ] {
        let answer = program.token_call(form).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.text(), format!("{{\"error\":\"{error}\"}}"), "{form}");
    }
}

#[tokio::test]
async fn a_code_gives_a_refresh_token_that_works() {
    let program = Program::shipped().await;
    let client = "client_id=1000.EMULATEDACME&client_secret=emulated-secret-acme";
    let code = "1000.emulated-code-acme.00000000";
    let form = format!("grant_type=authorization_code&{client}&code={code}");
    let answer = program.token_call(&form).await.json();
    let refresh_token = answer["refresh_token"].as_str().unwrap();
    let form = format!("grant_type=refresh_token&{client}&refresh_token={refresh_token}");
    assert!(program.token_call(&form).await.json()["access_token"].is_string());
    let online = program.organisation.issue_code(false);
    let form = format!("grant_type=authorization_code&{client}&code={online}");
    let answer = program.token_call(&form).await.json();
    assert!(answer["refresh_token"].is_null() && answer["access_token"].is_string());
}

#[tokio::test]
async fn client_credentials_with_the_organisation_give_a_token_that_works() {
    let mut program = Program::shipped().await;
    let form = "grant_type=client_credentials&client_id=1000.EMULATEDACME&client_secret=emulated-secret-acme\
                &soid=ZohoCRM.600000001&scope=ZohoCRM.users.ALL";
    let answer = program.token_call(form).await.json();
    assert!(answer["refresh_token"].is_null());
    program.token = answer["access_token"].as_str().unwrap().to_owned();
    assert_eq!(program.get(COUNTS).await.status, StatusCode::OK);
}

#[tokio::test]
async fn somebody_elses_mints_push_out_our_token() {
    let program = Program::of_acme(scenario("[limits]\nlive_tokens = 2")).await;
    program.organisation.mint_for_somebody_else().unwrap();
    assert_eq!(program.get(COUNTS).await.status, StatusCode::OK);
    program.organisation.mint_for_somebody_else().unwrap();
    let refused = program.get(COUNTS).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        refused.text(),
        "{\"code\":\"INVALID_TOKEN\",\"details\":{},\"message\":\"invalid oauth token\",\"status\":\"error\"}\n"
    );
    assert_eq!(program.organisation.live_tokens(), 2);
}

#[tokio::test]
async fn revoking_a_refresh_token_kills_its_access_tokens_in_both_forms() {
    for path in ["/oauth/v2/token/revoke", "/oauth/v2/revoke/token"] {
        let program = Program::shipped().await;
        let uri = format!("https://accounts.zoho.com{path}?token={}", program.organisation.refresh_token());
        let revoke = || Request::post(&uri).body(Body::empty()).unwrap();
        let revoked = send(&program.zoho, revoke()).await.unwrap();
        assert_eq!(revoked.text(), "{\"status\":\"success\"}");
        assert_eq!(program.get(COUNTS).await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(program.mint().await.text(), "{\"error\":\"invalid_code\"}");
        program.organisation.restore_refresh_token();
        assert!(program.mint().await.json()["access_token"].is_string());
    }
}

#[tokio::test]
async fn revoking_what_is_no_token_is_a_400() {
    let program = Program::shipped().await;
    let request =
        Request::post("https://accounts.zoho.com/oauth/v2/token/revoke?token=x").body(Body::empty());
    assert_eq!(send(&program.zoho, request.unwrap()).await.unwrap().status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn server_info_names_eleven_accounts_servers() {
    let program = Program::shipped().await;
    let request = Request::get("https://accounts.zoho.com/oauth/serverinfo").body(Body::empty());
    let info = send(&program.zoho, request.unwrap()).await.unwrap().json();
    assert_eq!(info["locations"].as_object().unwrap().len(), 11);
    assert_eq!(info["locations"]["ca"], "https://accounts.zohocloud.ca");
}

#[tokio::test]
async fn consent_sends_the_browser_back_with_a_code() {
    let program = Program::shipped().await;
    let uri = "https://accounts.zoho.com/oauth/v2/auth?client_id=1000.EMULATEDACME&access_type=offline\
               &response_type=code&redirect_uri=http://127.0.0.1:1/back&state=s";
    let answer = send(&program.zoho, Request::get(uri).body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status, StatusCode::FOUND);
    let location = answer.headers["location"].to_str().unwrap();
    assert!(location.starts_with("http://127.0.0.1:1/back?code=1000."), "{location}");
    let rest = "&location=us&accounts-server=https%3A%2F%2Faccounts.zoho.com&state=s";
    assert!(location.ends_with(rest), "{location}");
}

#[tokio::test]
async fn quirks_change_how_a_mint_is_answered() {
    let quirks = "[quirks]\nexpiry = \"legacy\"\nomit_scope = true\nthrottle_status = 200\n\
                  throttle_text = \"chinese\"\n[limits]\nmints_per_window = 2";
    let program = Program::of_acme(scenario(quirks)).await;
    let minted = program.mint().await.json();
    assert_eq!((&minted["expires_in"], &minted["expires_in_sec"]), (&json!(3_600_000), &json!(3_600)));
    assert!(minted["scope"].is_null());
    let denied = program.mint().await;
    assert_eq!((denied.status, &denied.json()["error"]), (StatusCode::OK, &json!("访问被拒绝")));
}

#[tokio::test]
async fn the_ledger_holds_no_credentials() {
    let program = Program::shipped().await;
    program.get(COUNTS).await;
    let uri = "https://accounts.zoho.com/oauth/v2/token?client_secret=emulated-secret-acme\
               &refresh_token=1000.emulated-refresh-acme.00000000";
    let request = Request::builder().method(Method::POST).uri(uri).body(Body::empty()).unwrap();
    send(&program.zoho, request).await.unwrap();
    let ledger = serde_json::to_string(&program.zoho.ledger().entries()).unwrap();
    for secret in [program.token.as_str(), "emulated-secret", "emulated-refresh"] {
        assert!(!ledger.contains(secret), "{ledger}");
    }
    assert!(ledger.contains("Zoho-oauthtoken [token #1 of acme]"), "{ledger}");
}
