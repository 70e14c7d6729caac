//! Each organisation's calls go to its own hosts, and credentials nowhere else.

use http::Method;
use zoho_sidecar::emulator::{Role, Scenario};
use zoho_sidecar::zoho::data_center::Environment;

use crate::world::{USERS, World, request, with_headers};

#[tokio::test(start_paused = true)]
async fn a_bulk_upload_goes_to_the_uploads_host() {
    let world = World::shipped().await;
    let body =
        "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.zip\"\r\n\r\nPK\r\n--x--\r\n";
    let headers = [
        ("content-type", "multipart/form-data; boundary=x"),
        ("feature", "bulk-write"),
        ("x-crm-org", "600000001"),
    ];
    let upload = with_headers(request(Method::POST, "/crm/v8/upload", body), &headers);
    world.send(upload).await.assert_status(200);
    assert_eq!(world.zoho().ledger().entries().pop().unwrap().role, Role::Uploads);
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_has_hosts_of_its_own() {
    let scenario = Scenario::default().with_environment("acme", Environment::Sandbox);
    let world = World::making()
        .scenario(scenario)
        .config("[tenants.acme]\nenvironment = \"sandbox\"\n")
        .await_first_token()
        .await;
    world.get(USERS).await.assert_status(200);
}

#[tokio::test(start_paused = true)]
async fn the_wrong_environment_is_told_by_its_name() {
    let scenario = Scenario::default().with_environment("acme", Environment::Sandbox);
    let world = World::making().scenario(scenario).start().await;
    let refused = world.get(USERS).await;
    refused.assert_status(503);
    let remedy = refused.json()["details"]["remedy"].as_str().unwrap().to_owned();
    assert!(remedy.contains("https://sandbox.zohoapis.com"), "{remedy}");
    assert!(remedy.contains("https://www.zohoapis.com"), "{remedy}");
    assert_eq!(world.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_wrong_data_centre_is_a_dead_client_and_no_secret_goes_elsewhere() {
    let world = World::making().config("[tenants.acme]\ndata_center = \"eu\"\n").start().await;
    assert!(world.ask_admin("/readyz").text.contains("client_dead"));
    let entries = world.zoho().ledger().entries();
    assert!(entries.iter().all(|entry| entry.data_center == "eu"), "only the configured row was asked");
}
