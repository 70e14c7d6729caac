//! Everything that no rule covers passes through, byte for byte, in both directions.

use http::Method;

use crate::world::{World, request, with_headers};

#[tokio::test(start_paused = true)]
async fn path_and_query_reach_zoho_byte_for_byte() {
    let world = World::shipped().await;
    for target in [
        "/crm/v8/__echo?criteria=((Last_Name:equals:X)and(..))&fields=A%2CB&",
        "/crm/v8/__echo?filters=%7B%22a%22%3A%22b%2Fc%22%7D&q=a+b&&x",
        "/crm/v8/__echo/a%20b/%E4%BD%A0/~-._!$'()*,;=:@",
        "/crm/v8/__echo?",
    ] {
        let answer = world.get(target).await;
        answer.assert_status(200);
        let seen = world.zoho().ledger().entries().pop().unwrap();
        assert_eq!(seen.path_and_query, target);
    }
}

#[tokio::test(start_paused = true)]
async fn every_method_of_zohos_api_passes_with_its_body() {
    let world = World::shipped().await;
    for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let answer = world.send(request(method.clone(), "/crm/v8/__echo", "körper")).await;
        answer.assert_status(200);
        let seen = world.zoho().ledger().entries().pop().unwrap();
        assert_eq!((seen.method.as_str(), seen.body_length), (method.as_str(), 7));
    }
    world.send(request(Method::DELETE, "/crm/v8/__echo?ids=1,2", "")).await.assert_status(200);
}

#[tokio::test(start_paused = true)]
async fn bodies_of_every_size_arrive_whole_both_ways() {
    let world = World::shipped().await;
    for size in [0, 1, 65_535, 65_536, 65_537, 5_000_000] {
        let body: Vec<u8> = (0..size).map(|n: usize| u8::try_from(n % 251).unwrap()).collect();
        let digest = hex(&aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &body));
        let answer = world.send(request(Method::POST, "/crm/v8/__echo", body)).await;
        answer.assert_status(200);
        let seen = world.zoho().ledger().entries().pop().unwrap();
        assert_eq!((seen.body_length, seen.body_sha256), (size as u64, digest));

        for chunked in ["", "&chunked=true"] {
            let path = format!("/crm/v8/__bytes?size={size}{chunked}");
            assert_eq!(world.get(&path).await.body.len(), size, "{path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_goes_up_and_comes_down_again() {
    let world = World::shipped().await;
    let body = "--made-up\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\nContent-Type: application/octet-stream\r\n\r\n\u{0}\u{1}bytes\r\n--made-up--\r\n";
    let multipart = [("content-type", "multipart/form-data; boundary=made-up")];
    let up = world.send(with_headers(request(Method::POST, "/crm/v8/files", body), &multipart)).await;
    up.assert_status(200);
    let id = up.json()["data"][0]["details"]["id"].as_str().unwrap().to_owned();

    let down = world.get(&format!("/crm/v8/files?id={id}")).await;
    down.assert_status(200);
    assert_eq!(&down.body[..], b"\x00\x01bytes");
    assert!(down.header("content-disposition").contains("a.bin"), "{:?}", down.headers);
}

#[tokio::test(start_paused = true)]
async fn records_are_created_read_changed_and_deleted() {
    let world = World::shipped().await;
    let created = world
        .send(request(
            Method::POST,
            "/crm/v8/Leads",
            r#"{"data":[{"Last_Name":"Example","Company":"Acme"}]}"#,
        ))
        .await;
    created.assert_status(201);
    let id = created.json()["data"][0]["details"]["id"].as_str().unwrap().to_owned();
    let path = format!("/crm/v8/Leads/{id}");
    assert_eq!(world.get(&path).await.json()["data"][0]["Last_Name"], "Example");
    world.send(request(Method::PUT, &path, r#"{"data":[{"Last_Name":"Changed"}]}"#)).await.assert_status(200);
    assert_eq!(world.get(&path).await.json()["data"][0]["Last_Name"], "Changed");
    world.send(request(Method::DELETE, &path, "")).await.assert_status(200);
    world.get(&path).await.assert_status(204);
}

#[tokio::test(start_paused = true)]
async fn a_head_passes_as_a_head() {
    let world = World::shipped().await;
    let head = world.head("/crm/v8/users?type=AllUsers").await;
    head.assert_status(200);
    assert!(head.body.is_empty());
    assert_eq!(world.zoho().ledger().entries().pop().unwrap().method, "HEAD");
}

#[tokio::test(start_paused = true)]
async fn a_304_passes_without_a_body() {
    let world = World::shipped().await;
    let since = [("if-modified-since", "2099-01-01T00:00:00+00:00")];
    let answer = world.get_with("/crm/v8/users?type=AllUsers", &since).await;
    answer.assert_status(304);
    assert!(answer.body.is_empty());
}

fn hex(digest: &aws_lc_rs::digest::Digest) -> String {
    use std::fmt::Write as _;
    digest.as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The status of the next interim answer, if one comes.
async fn interim(answer: &mut h2::client::ResponseFuture) -> Option<http::StatusCode> {
    let interim = std::future::poll_fn(|cx| answer.poll_informational(cx));
    let interim = tokio::time::timeout(std::time::Duration::from_secs(1), interim).await.ok()?;
    interim.map(|interim| interim.unwrap().status())
}

#[tokio::test(start_paused = true)]
async fn a_caller_of_http2_that_waits_to_be_told_to_continue_is_told_at_once() {
    let world = World::shipped().await;
    let (sender, connection) = h2::client::handshake(world.connect().0).await.unwrap();
    tokio::spawn(connection);
    // The second head refers to the first.
    for _ in 0..2 {
        let mut sender = sender.clone().ready().await.unwrap();
        let request = http::Request::post("http://sidecar/crm/v8/__echo").header("expect", "100-continue");
        let (mut answer, mut body) = sender.send_request(request.body(()).unwrap(), false).unwrap();
        assert_eq!(interim(&mut answer).await, Some(http::StatusCode::CONTINUE));
        body.send_data("hello".into(), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_of_http2_that_does_not_ask_is_not_told_to_continue() {
    let world = World::shipped().await;
    let (sender, connection) = h2::client::handshake(world.connect().0).await.unwrap();
    tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    let request = http::Request::post("http://sidecar/crm/v8/__echo").body(()).unwrap();
    let (mut answer, mut body) = sender.send_request(request, false).unwrap();
    assert_eq!(interim(&mut answer).await, None);
    body.send_data("hello".into(), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
}
