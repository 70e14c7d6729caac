//! Bodies from none to 50 MiB, up and down, with their length told and without, through the executable.

use crate::exchange::{Digest, Digesting, Message};
use crate::sockets::Sidecar;
use crate::wire::{Payload, pattern};

const SIZES: [usize; 4] = [0, 1, 64 * 1024, 50 * 1024 * 1024];

fn digest(size: usize) -> Digest {
    let (piece, mut digesting) = (pattern(), Digesting::new());
    for at in (0..size).step_by(piece.len()) {
        digesting.add(&piece[..piece.len().min(size - at)]);
    }
    digesting.finish()
}

fn message(start: &str, headers: &[(&str, &str)]) -> Message {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Message { start: start.to_owned(), headers, body: bytes::Bytes::new() }
}

#[tokio::test]
async fn uploads_of_every_size_arrive_whole_at_their_host() {
    let mut sidecar = Sidecar::start().await;
    let multipart = [("host", "sidecar"), ("content-type", "multipart/form-data; boundary=b")];
    let done = message("200", &[("content-length", "2"), ("content-type", "application/json")]);
    for size in SIZES {
        let expected = digest(size);
        for (path, chunked) in [
            ("/crm/v8/files", false),
            ("/crm/v8/files", true),
            ("/crm/v8/upload", false),
            ("/crm/v8/Leads/1/Attachments", true),
        ] {
            let host = if path.ends_with("/upload") { &sidecar.uploads } else { &sidecar.api };
            host.will_answer(done.clone(), Payload::Bytes("{}".into()));
            let asked = message(&format!("POST {path}"), &multipart);
            let got = sidecar.caller.ask(&asked, &Payload::Pattern { size, chunked }).await;
            assert_eq!((got.start.as_str(), &got.body), ("200", &Digest::of(b"{}")), "{path} {size}");
            let seen = host.seen();
            let [seen] = seen.as_slice() else { panic!("{path} {size}: {seen:?}") };
            assert_eq!(seen.body, expected, "{path}, chunked: {chunked}");
            // A short body is held, so that it can be sent again; its length is known by then.
            let told =
                seen.header("content-length").map_or(chunked, |length| length == expected.length.to_string());
            assert!(told, "{path}, chunked: {chunked}: {:?}", seen.headers);
        }
    }
}

#[tokio::test]
async fn downloads_of_every_size_arrive_whole() {
    let mut sidecar = Sidecar::start().await;
    let file =
        [("content-type", "application/x-download"), ("content-disposition", "attachment; filename=a")];
    for size in SIZES {
        let expected = digest(size);
        for (path, chunked) in [
            ("/crm/v8/files?id=1", false),
            ("/crm/v8/files?id=1", true),
            ("/crm/bulk/v8/read/1/result", false),
            ("/crm/v8/Leads/1/photo", true),
        ] {
            sidecar.api.will_answer(message("200", &file), Payload::Pattern { size, chunked });
            let asked = message(&format!("GET {path}"), &[("host", "sidecar")]);
            let got = sidecar.caller.ask(&asked, &Payload::Bytes(bytes::Bytes::new())).await;
            assert_eq!((got.start.as_str(), &got.body), ("200", &expected), "{path}, chunked: {chunked}");
            assert_eq!(got.header("content-disposition"), Some("attachment; filename=a"));
            let told = got.header("content-length");
            assert_eq!(told.is_some(), !chunked, "{path} {size}, chunked: {chunked}: {:?}", got.headers);
            assert_eq!(told.unwrap_or(&size.to_string()), size.to_string());
        }
    }
}
