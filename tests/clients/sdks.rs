//! Zoho's own SDKs, unchanged.

use crate::client::{Sdk, old_python};
use crate::sidecar::Sidecar;
use crate::zoho::Zoho;

/// It knows no count of users, and lies in another package than the later ones.
const PYTHON_2_1: Sdk = Sdk::Python("sdk-2.1-3.0.0");
const PYTHON_5: Sdk = Sdk::Python("sdk-5.0-2.0.0");
const PYTHON_6: Sdk = Sdk::Python("sdk-6.0-8.0.0");
const PYTHON_7: Sdk = Sdk::Python("sdk-7.0-6.0.0");
const PYTHON_8_OLD: Sdk = Sdk::Python("sdk-8.0-3.0.0");
const PYTHON_8: Sdk = Sdk::Python("sdk-8.0-7.0.0");
const NODE_7: Sdk = Sdk::Node("@zohocrm/nodejs-sdk-7.0");
const NODE_8: Sdk = Sdk::Node("@zohocrm/nodejs-sdk-8.0");
const TYPESCRIPT_7: Sdk = Sdk::Node("@zohocrm/typescript-sdk-7.0");
const TYPESCRIPT_8: Sdk = Sdk::Node("@zohocrm/typescript-sdk-8.0");

const COUNT: &str = "/settings/territories/actions/associated_users_count";
const EVERYTHING: [&str; 7] = ["count", "settings", "users", "records", "files", "bulk", "archive"];
/// These refuse a file of their own making before they send anything.
const ALL_BUT_FILES: [&str; 6] = ["count", "settings", "users", "records", "bulk", "archive"];

/// The SDK does all of this, and Zoho sees the sidecar do it, with one token and the count asked once.
async fn runs(sdk: Sdk, scenarios: &[&str]) {
    let zoho = Zoho::start(&["acme"]).await;
    let sidecar = Sidecar::run(&zoho, "").await;
    sidecar.ready().await;

    sdk.at(&sidecar, "").does(scenarios).await;

    assert_eq!(zoho.calls_of(COUNT), 1, "the second count is a hit");
    assert_eq!(zoho.mint_attempts(), 1, "the SDK's own request for a token is not Zoho's");
    assert!(zoho.calls_of("/settings/territories") > 0);
}

#[tokio::test]
async fn the_python_sdk_for_v5_runs_unchanged() {
    runs(PYTHON_5, &EVERYTHING).await;
}

#[tokio::test]
async fn the_python_sdk_for_v2_1_runs_unchanged() {
    let zoho = Zoho::start(&["acme"]).await;
    let sidecar = Sidecar::run(&zoho, "").await;
    sidecar.ready().await;

    PYTHON_2_1.at(&sidecar, "").does(&["settings", "users", "records", "files", "bulk", "archive"]).await;

    assert_eq!(zoho.mint_attempts(), 1, "the SDK's own request for a token is not Zoho's");
    assert!(zoho.calls_of("/crm/v2.1/settings/territories") > 0);
}

#[tokio::test]
async fn the_python_sdk_for_v6_runs_unchanged() {
    runs(PYTHON_6, &ALL_BUT_FILES).await;
}

#[tokio::test]
async fn an_sdk_that_asks_whose_its_token_is_finds_its_user() {
    let zoho = Zoho::start(&["acme"]).await;
    let sidecar = Sidecar::run(&zoho, "").await;
    sidecar.ready().await;

    old_python("2.0-2.0.14").at(&sidecar, "").with("EMAIL", "ada@acme.example").does(&[]).await;

    assert_eq!(zoho.mint_attempts(), 1);
}

#[tokio::test]
async fn the_python_sdk_for_v7_runs_unchanged() {
    runs(PYTHON_7, &ALL_BUT_FILES).await;
}

#[tokio::test]
async fn the_python_sdk_for_v8_runs_unchanged() {
    runs(PYTHON_8, &EVERYTHING).await;
}

#[tokio::test]
async fn an_older_python_sdk_for_v8_runs_unchanged() {
    runs(PYTHON_8_OLD, &ALL_BUT_FILES).await;
}

#[tokio::test]
async fn the_node_sdk_for_v7_runs_unchanged() {
    runs(NODE_7, &EVERYTHING).await;
}

#[tokio::test]
async fn the_node_sdk_for_v8_runs_unchanged() {
    runs(NODE_8, &EVERYTHING).await;
}

#[tokio::test]
async fn the_typescript_sdk_for_v7_runs_unchanged() {
    runs(TYPESCRIPT_7, &EVERYTHING).await;
}

#[tokio::test]
async fn the_typescript_sdk_for_v8_runs_unchanged() {
    runs(TYPESCRIPT_8, &EVERYTHING).await;
}

#[tokio::test]
async fn a_grant_code_is_as_good_as_a_refresh_token() {
    let zoho = Zoho::start(&["acme"]).await;
    let sidecar = Sidecar::run(&zoho, "").await;
    sidecar.ready().await;
    for sdk in [PYTHON_8, NODE_8, TYPESCRIPT_8] {
        let client = sdk.at(&sidecar, "").without("REFRESH_TOKEN").with("GRANT_TOKEN", "1000.made-up-code");
        client.does(&["count"]).await;
    }
    assert_eq!(zoho.calls_of(COUNT), 1, "one organisation, one answer");
    assert_eq!(zoho.mint_attempts(), 1);
}

#[tokio::test]
async fn an_sdk_at_the_base_of_a_tenant_stays_there() {
    let zoho = Zoho::start(&["acme", "globex"]).await;
    let sidecar = Sidecar::run(&zoho, "").await;
    sidecar.ready().await;
    for sdk in [PYTHON_5, PYTHON_8, NODE_8, TYPESCRIPT_8] {
        sdk.at(&sidecar, "/tenants/globex").does(&["count", "settings", "records"]).await;
    }
    assert!(zoho.calls().iter().all(|call| call.organisation.as_deref() == Some("globex")));
    assert_eq!(zoho.calls_of(COUNT), 2, "one for each version of the API");
}

#[tokio::test]
async fn an_sdk_takes_a_refusal_for_an_error_of_zohos() {
    let zoho = Zoho::start(&["acme"]).await;
    let sidecar = Sidecar::run(&zoho, "").await;
    for sdk in [PYTHON_5, PYTHON_8, NODE_8, TYPESCRIPT_8] {
        let nowhere = format!("http://{}/tenants/nobody", sidecar.proxy());
        let client = sdk.at(&sidecar, "").with("API", nowhere).with("CODE", "SIDECAR_TENANT_UNKNOWN");
        client.does(&["refused"]).await;
    }
}

#[tokio::test]
async fn the_user_of_an_sdk_reads_why_there_is_no_token() {
    let zoho = Zoho::start(&["acme", "globex"]).await;
    let sidecar = Sidecar::run(&zoho, "").await;
    for sdk in [PYTHON_5, PYTHON_8, NODE_8, TYPESCRIPT_8] {
        sdk.at(&sidecar, "").with("CODE", "SIDECAR_TENANT_MISSING").does(&["no-token"]).await;
    }
    assert!(zoho.calls().is_empty());
}

#[tokio::test]
async fn what_sdks_ask_at_every_start_is_asked_of_zoho_once() {
    let zoho = Zoho::start(&["acme"]).await;
    let sidecar = Sidecar::run(&zoho, "presets = [\"crm-metadata\"]").await;
    sidecar.ready().await;
    let settings = ["count", "settings", "users"];
    PYTHON_8.at(&sidecar, "").does(&settings).await;
    let asked = zoho.calls().len();

    PYTHON_8.at(&sidecar, "").does(&settings).await;

    assert_eq!(zoho.calls().len(), asked);
}

#[tokio::test]
async fn the_fields_of_all_modules_are_asked_of_zoho_once_however_many_sdks_keep_them() {
    let zoho = Zoho::start(&["acme"]).await;
    let sidecar = Sidecar::run(&zoho, "presets = [\"crm-metadata\"]").await;
    sidecar.ready().await;
    let refreshes = || PYTHON_8.at(&sidecar, "").with("AUTO_REFRESH", 1);
    refreshes().does(&["records"]).await;
    let of_settings = || zoho.calls().iter().filter(|call| call.path().contains("/settings/")).count();
    let asked = of_settings();
    assert!(asked > 2, "the SDK asks for modules, and for the fields of each: {asked}");

    refreshes().does(&["records"]).await;

    assert_eq!(of_settings(), asked);
}
