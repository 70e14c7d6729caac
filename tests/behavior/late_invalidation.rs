//! What a write of unknown fate invalidates is invalidated again when Zoho must have ended it, at little cost.

use std::time::Duration;

use http::Method;
use zoho_sidecar::emulator::{Fault, Target};

use crate::world::{World, request};

const ROLES: &str = "/crm/v8/settings/roles";
const CONFIG: &str = "[routes.roles]\nmatch = \"GET /crm/{version}/settings/roles\"\nfresh_for = \"1h\"\n\
                      [writes.user-deletion]\nagain_after = \"1h\"\n";
const STORED: &str = "zoho-sidecar; fwd=uri-miss; stored";

fn alive_tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(start_paused = true)]
async fn any_number_of_uncertain_writes_takes_one_task() {
    let world = World::with(CONFIG).await;
    let before = alive_tasks();
    world.zoho().script().always(Target::Api, Fault::Empty503);
    for n in 0..1_000 {
        let write = request(Method::PUT, &format!("{ROLES}?page={}", n % 300), "");
        world.send(write).await.assert_status(503);
    }
    world.settles().await;
    assert!(alive_tasks() <= before + 1, "{before} tasks became {}", alive_tasks());

    world.zoho().script().clear();
    for n in [0, 150, 299] {
        world.get(&format!("{ROLES}?page={n}")).await.assert_cache(STORED);
    }
    world.passes(Duration::from_secs(61)).await;
    for n in [0, 150, 299] {
        world.get(&format!("{ROLES}?page={n}")).await.assert_cache(STORED);
    }
    assert!(alive_tasks() <= before, "nothing is left to be done");
}

#[tokio::test(start_paused = true)]
async fn a_write_is_invalidated_again_in_time_though_another_one_is_due_much_later() {
    let world = World::with(CONFIG).await;
    world
        .zoho()
        .script()
        .next(Target::Api, Fault::Status { status: 202, body: "{}".into(), headers: vec![] });
    let job = request(Method::POST, "/crm/v8/users/actions/transfer_and_delete", "{}");
    world.send(job).await.assert_status(202);
    for _ in 0..2 {
        world.zoho().script().next(Target::Api, Fault::DropAfter);
        world.send(request(Method::PUT, ROLES, "")).await.assert_status(502);
        world.get(ROLES).await.assert_cache(STORED);
        world.passes(Duration::from_secs(59)).await;
        world.get(ROLES).await.assert_cache("zoho-sidecar; hit; ttl=3541");
        world.passes(Duration::from_secs(2)).await;
        world.get(ROLES).await.assert_cache(STORED);
    }
}
