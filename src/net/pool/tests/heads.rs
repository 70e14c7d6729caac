//! How large the head of an answer may be.

use super::server::Server;
use super::*;
use crate::net::transport::TransportError::HeadTooLarge;

const HEAD: HeadLimits = HeadLimits { fields: 120, bytes: 16 * 1024 };

/// Asks over this version, and answers with these header fields.
async fn answered(is_http2: bool, fields: &[(String, String)]) -> Result<Response<Body>, TransportError> {
    let mut street = Street::speaking(Limits { head: HEAD, ..LIMITS }, is_http2);
    let asking = street.ask(TLS_HOST);
    let mut wire = street.connection().await;
    if is_http2 {
        let mut server = Server::on(wire, 100).await;
        let (_, mut answering) = server.request().await;
        let mut head = Response::builder();
        for (name, value) in fields {
            head = head.header(name, value);
        }
        answering.send_response(head.body(()).unwrap(), true).unwrap();
        asking.head().await
    } else {
        let mut head = "HTTP/1.1 200 OK\r\n".to_owned();
        for (name, value) in fields {
            head.extend([name.as_str(), ": ", value.as_str(), "\r\n"]);
        }
        wire.answer(&(head + "\r\n")).await;
        asking.head().await
    }
}

/// So many header fields whose names and values have so many bytes each.
fn fields(count: usize, bytes: usize) -> Vec<(String, String)> {
    (0..count).map(|n| (format!("x-{n:04}"), "v".repeat(bytes - "x-0000".len()))).collect()
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_have_as_many_header_fields_as_the_limits_say_in_either_version() {
    for is_http2 in [false, true] {
        let answer = answered(is_http2, &fields(120, 10)).await.unwrap();
        assert_eq!(answer.headers().len(), 120);
        for count in [121, 200, 300] {
            let error = answered(is_http2, &fields(count, 10)).await.unwrap_err();
            assert!(matches!(error, HeadTooLarge(_)), "{is_http2} {count}: {error:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_have_as_many_bytes_of_header_fields_as_the_limits_say_in_either_version() {
    for is_http2 in [false, true] {
        answered(is_http2, &fields(16, 1020)).await.unwrap();
        for bytes in [1021, 1300, 2000] {
            let error = answered(is_http2, &fields(16, bytes)).await.unwrap_err();
            assert!(matches!(error, HeadTooLarge(_)), "{is_http2} {bytes}: {error:?}");
        }
    }
}
