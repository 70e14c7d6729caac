//! Whatever the accounts server sends, an exchange takes no longer and holds no more than it may, the credential
//! is in the state that fits, and other organisations are served.

use std::time::Duration;

use zoho_sidecar::net::transport::BoxFuture;

use crate::wire::Peer;
use crate::world::{USERS, World};

/// Says this, and then this again and again: at once, or every second.
#[derive(Clone, Copy)]
struct Endless {
    first: &'static str,
    again: &'static str,
    drips: bool,
}

impl Endless {
    fn speak(self, mut peer: Peer) -> BoxFuture<()> {
        Box::pin(async move {
            // The form that follows the head is left unread.
            if peer.head().await.is_none() || !peer.say(self.first).await {
                return;
            }
            let piece = if self.drips { self.again.to_owned() } else { self.again.repeat(1000) };
            while peer.say(&piece).await {
                if self.drips {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_end_is_given_up_and_the_credential_is_in_a_state_that_fits() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    const CHUNK: &str = "4\r\n[[[[\r\n";
    for (what, state, first, again, drips) in [
        ("a body", "nonsense", CHUNKED, CHUNK, false),
        (
            "a body of a length",
            "nonsense",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
            "x",
            false,
        ),
        (
            "a body of an error",
            "endpoint_down",
            "HTTP/1.1 503 Busy\r\ntransfer-encoding: chunked\r\n\r\n",
            CHUNK,
            false,
        ),
        ("a body that drips", "endpoint_down", CHUNKED, CHUNK, true),
        ("header lines", "endpoint_down", "HTTP/1.1 200 OK\r\n", "x-more: 1\r\n", false),
        ("a header line", "endpoint_down", "HTTP/1.1 200 OK\r\nx-long: ", "x", false),
        ("a header line that drips", "endpoint_down", "HTTP/1.1 200 OK\r\nx-long: ", "x", true),
        ("interim answers", "endpoint_down", "", "HTTP/1.1 100 Continue\r\n\r\n", true),
        ("silence", "endpoint_down", "", "", true),
        ("a chunk of no size", "endpoint_down", CHUNKED, "zz\r\n", false),
    ] {
        let endless = Endless { first, again, drips };
        let making =
            World::making().tenants(&["acme", "globex"]).accounts(move |_, peer| endless.speak(peer));
        let world = making.unsettled().start().await;
        let served = world.get_with(USERS, &[("x-zoho-tenant", "globex")]).await;
        served.assert_status(200);

        // tokens.exchange_timeout
        world.passes(Duration::from_secs(10)).await;

        let reasons = world.ask_admin("/readyz").text;
        assert!(reasons.contains(state), "{what}: {reasons}");
        let refused = world.get_with(USERS, &[("x-zoho-tenant", "acme")]).await;
        assert_eq!(refused.code(), "SIDECAR_TOKEN_UNAVAILABLE", "{what}");
        world.get_with(USERS, &[("x-zoho-tenant", "globex")]).await.assert_status(200);
    }
}

#[tokio::test(start_paused = true)]
async fn json_that_nests_without_end_is_nonsense() {
    let deep = "[".repeat(60_000);
    let said = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{deep}", deep.len());
    let world = World::making()
        .accounts(move |_, mut peer| {
            let said = said.clone();
            Box::pin(async move {
                if peer.head().await.is_some() && peer.say(&said).await {
                    peer.stays().await;
                }
            })
        })
        .start()
        .await;
    assert!(world.ask_admin("/readyz").text.contains("nonsense"), "{}", world.ask_admin("/readyz").text);
}
