//! Connections whose making is broken off.

use super::server::Server;
use super::*;
use crate::net::transport::TransportError::Connect;

async fn panics(_: Uri) -> io::Result<Io> {
    panic!("as a connector with a fault would")
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_connection_whose_making_panics_is_told_and_the_next_has_one_made() {
    for host in [HOST, TLS_HOST] {
        let (_, knocks) = unbounded_channel();
        let street = Street {
            pool: Pool::new(
                tower::service_fn(panics),
                tower::service_fn(panics),
                LIMITS,
                &Buffers::new(1 << 20),
                &Supervisor::unobserved(),
                Clock::system(),
            ),
            knocks,
        };
        for _ in 0..2 {
            let asking = street.ask(host);
            settle().await;
            assert_eq!(street.counts(), (0, 0));
            let error = asking.error().await;
            assert!(matches!(error, Connect(_)), "{error:?}");
        }
    }
}

#[test]
fn a_connection_whose_making_ends_with_its_runtime_is_made_again_on_the_next() {
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let mut street = Street::speaking(LIMITS, true);
    let first = runtime();
    let asking = first.block_on(async {
        let asking = street.ask(TLS_HOST);
        street.knock().await;
        asking
    });
    drop((first, asking));
    assert_eq!(street.counts(), (0, 0));
    runtime().block_on(async {
        let asking = street.ask(TLS_HOST);
        Server::on(street.connection().await, 100).await.answer().await;
        assert_eq!(asking.text().await, "{}");
    });
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_made_where_there_is_no_runtime_leaves_no_mark() {
    let mut street = Street::of(LIMITS);
    let mut asking = exchange(&street.pool, Request::get(format!("{HOST}/")).body(Body::empty()).unwrap());
    let outside = std::thread::spawn(move || {
        let _ = asking.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop()));
    });
    assert!(outside.join().is_err(), "nor is there a clock for who waits");
    assert_eq!(street.counts(), (0, 0));
    let asking = street.ask(HOST);
    street.connection().await.answer(FINE).await;
    assert_eq!(asking.text().await, "{}");
}

#[test]
fn a_runtime_ends_however_many_wait() {
    for host in [HOST, TLS_HOST] {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let mut street = Street::of(Limits { most_per_host: 1, ..LIMITS });
        let kept = runtime.block_on(async {
            let asking = street.ask(host);
            let wire = street.connection().await;
            let waiting: Vec<_> = (0..20_000).map(|_| street.ask(host)).collect();
            settle().await;
            (asking, wire, waiting)
        });
        drop(runtime);
        drop(kept);
        assert_eq!(street.counts(), (0, 0));
    }
}
