//! HTTP/2 below what libraries do with it: callers that open no windows, bodies in tiny frames, paths in pieces.

use std::time::Duration;

use crate::frames::{self, *};
use crate::wire::LONG;
use crate::world::{USERS, World};

/// It is refused, with a body.
const REFUSED: &str = "/%2e%2e/made-up";
const INITIAL_WINDOW_SIZE: u16 = 4;
const PADDED: u8 = 8;
/// The first byte of a head with this status, as the static table has it (RFC 7541 appendix A).
const STATUS_200: u8 = 0x88;
const STATUS_400: u8 = 0x8c;

fn widen(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

#[tokio::test(start_paused = true)]
async fn responses_that_are_left_unread_are_reset_while_others_on_the_connection_are_read() {
    // Nothing is let through, or so little that the HTTP/2 library has the rest of the response.
    for window in [0, 1] {
        let world = World::shipped().await;
        let mut caller = frames::Caller::begin(world.connect().0, &[(INITIAL_WINDOW_SIZE, window)]).await;
        let unread: Vec<u32> = (1..300).step_by(2).collect();
        caller.say(unread.iter().flat_map(|stream| frames::get(*stream, REFUSED)).collect::<Vec<_>>()).await;
        let began = world.now();
        for stream in (301..).step_by(2).take(13) {
            caller.say([frames::get(stream, USERS), widen(stream, 100_000)].concat()).await;
            world.passes(Duration::from_secs(10)).await;
        }
        let (mut reset, mut read) = (Vec::new(), 0);
        while let Ok(Some((kind, flags, stream, _))) =
            tokio::time::timeout(Duration::from_secs(1), caller.hear()).await
        {
            match kind {
                RST_STREAM => reset.push(stream),
                DATA if stream > 300 && flags & END_STREAM != 0 => read += 1,
                _ => {}
            }
        }
        assert_eq!((reset, read), (unread, 13), "{window}: after {:?}", world.now() - began);
        assert!(caller.say(frames::get(999, USERS)).await);
        assert!(caller.next(HEADERS).await.is_some(), "{window}: the connection lives");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_answers_pings_and_reads_no_response_is_not_there_for_ever() {
    let closed = [(INITIAL_WINDOW_SIZE, 0)];
    let wide = [(INITIAL_WINDOW_SIZE, 1 << 30)];
    for (settings, path) in [(&closed, REFUSED), (&closed, USERS), (&wide, "/crm/v8/__bytes?size=200000")] {
        let world = World::shipped().await;
        let mut caller = frames::Caller::begin(world.connect().0, settings).await;
        for stream in (1..100).step_by(2) {
            caller.say(frames::get(stream, path)).await;
        }
        // An idle connection goes after `server.header_read_timeout`, or twice that.
        let ended = tokio::time::timeout(LONG, async {
            let (mut pings, mut is_told) = (0, false);
            while let Some((kind, ..)) = caller.hear().await {
                pings += u32::from(kind == PING);
                is_told |= kind == GOAWAY;
            }
            (pings, is_told)
        });
        let (pings, is_told) = ended.await.unwrap_or_else(|_| panic!("{path}: it is still there"));
        assert!(pings > 0 && is_told, "{path}: {pings}");
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_in_tiny_frames_arrive_whole() {
    let data = |stream, size: usize, is_padded: bool| {
        let body = vec![b'x'; size];
        if is_padded {
            frame(DATA, PADDED, stream, &[&[0], &body[..]].concat())
        } else {
            frame(DATA, 0, stream, &body)
        }
    };
    for (size, is_padded, streams) in [
        (1, false, 1),
        (1, false, 30),
        (20, false, 1),
        (60, false, 7),
        (100, true, 1),
        (20, true, 7),
        (255, false, 3),
    ] {
        let world = World::shipped().await;
        world.zoho_takes(Duration::from_secs(1));
        let mut caller = frames::Caller::begin(world.connect().0, &[]).await;
        // Several hundred KiB on one connection, of which each stream and all together fit into the windows.
        for round in 0..10 {
            let frames = 60_000 / streams / (size + usize::from(is_padded));
            let streams = (0..streams).map(|n| u32::try_from(1 + 2 * (round * streams + n)).unwrap());
            for stream in streams.clone() {
                caller
                    .say(frame(HEADERS, END_HEADERS, stream, &request_headers("POST", "/crm/v8/__echo")))
                    .await;
            }
            for _ in 0..frames {
                for stream in streams.clone() {
                    assert!(caller.say(data(stream, size, is_padded)).await, "{size} {stream}");
                }
            }
            for stream in streams.clone() {
                caller.say(frame(DATA, END_STREAM, stream, &[])).await;
            }
            for _ in streams {
                let response =
                    tokio::time::timeout(LONG, caller.next(HEADERS)).await.expect("a response comes");
                let (_, _, stream, head) = response.expect("the connection lives");
                assert_eq!(head[0], STATUS_200, "{size} {stream}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_path_with_a_number_sign_is_refused_on_its_stream_alone() {
    let world = World::shipped().await;
    let mut caller = frames::Caller::begin(world.connect().0, &[]).await;
    let path_of = |stream: u32, path: &[u8]| {
        let rest = block(&[(":method", "GET"), (":scheme", "http"), (":authority", "sidecar")]);
        frame(HEADERS, END_STREAM | END_HEADERS, stream, &[path, &rest].concat())
    };
    let literal =
        |first: &[u8], path: &str| [first, &[u8::try_from(path.len()).unwrap()], path.as_bytes()].concat();
    // By the static table, and remembered; by what is remembered; all at once and byte by byte.
    let [by_static, by_dynamic] = [&[0x44][..], &[0x0f, 62 - 15]];
    let fragment = format!("{USERS}#x");
    let mut streams = (1..).step_by(2);
    for (first, path, status) in [
        (by_static, USERS, STATUS_200),
        (by_dynamic, USERS, STATUS_200),
        (by_dynamic, &fragment, STATUS_400),
        (by_static, &fragment, STATUS_400),
        (by_dynamic, USERS, STATUS_200),
    ] {
        for piece in [1000, 1] {
            let stream = streams.next().expect("there are enough");
            for piece in path_of(stream, &literal(first, path)).chunks(piece) {
                caller.say(piece).await;
                tokio::task::yield_now().await;
            }
            let response = tokio::time::timeout(LONG, caller.next(HEADERS)).await.expect("a response comes");
            let (_, _, of, head) = response.expect("the connection lives");
            assert_eq!((of, head[0]), (stream, status), "{path} {piece}");
        }
    }
    assert_eq!(
        world.zoho().ledger().count(|entry| entry.path_and_query.contains("/users")),
        6,
        "those that pass"
    );
}

#[tokio::test(start_paused = true)]
async fn single_bytes_do_not_pay_for_a_flood() {
    let world = World::shipped().await;
    let mut caller = frames::Caller::begin(world.connect().0, &[]).await;
    caller.next(SETTINGS).await.unwrap();
    caller.say(frame(HEADERS, END_HEADERS, 1, &request_headers("POST", "/crm/v8/Leads"))).await;
    caller.say([frame(DATA, 0, 1, b"x"), frame(PING, 0, 0, &[0; 8])].concat().repeat(1000)).await;
    let (_, _, _, payload) = caller.next(GOAWAY).await.unwrap();
    assert_eq!(payload[4..8], [0, 0, 0, 0xb], "ENHANCE_YOUR_CALM");
}
