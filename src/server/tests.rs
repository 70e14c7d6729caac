//! Workers that panic or are stuck, with real sockets and threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};

use super::address::Address;
use super::listener::Listener;
use super::worker::Workers;
use super::{Counts, Ended, Entrance, Greet, Handler, Settings, bind};
use crate::clock::Clock;
use crate::net::body::Body;
use crate::net::buffers::Buffers;
use crate::net::peer::Peer;
use crate::net::standing::{Standing, UnidentifiedConnections};
use crate::supervisor::{Supervisor, TaskMetrics};

/// No test waits longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers with the name of its thread; `/stuck` blocks the thread until it is released, `/panic` panics.
#[derive(Clone, Default)]
struct Names {
    is_released: Arc<AtomicBool>,
}

impl Handler for Names {
    type Answering = std::future::Ready<Response<Body>>;

    fn handle(&self, request: Request<Incoming>) -> Self::Answering {
        match request.uri().path() {
            "/stuck" => {
                while !self.is_released.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            "/panic" => panic!("a defect, on purpose"),
            _ => {}
        }
        std::future::ready(Response::new(Body::full(std::thread::current().name().unwrap().to_owned())))
    }
}

impl Greet for Names {
    type Handler = Self;

    fn greet(&self, _: Peer, _: Standing) -> Self {
        self.clone()
    }
}

fn settings(workers: usize) -> Settings {
    Settings {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        tls: None,
        workers,
        max_connections: 100,
        header_read_timeout: PATIENCE,
        write_timeout: PATIENCE,
        max_headers: 100,
        max_header_bytes: 16 * 1024,
        max_concurrent_streams: 10,
        drain_timeout: Duration::from_secs(1),
        buffers: Buffers::new(1 << 20),
    }
}

/// A server while a test looks at it.
async fn serving<Fut>(
    workers: usize,
    supervisor: &Supervisor,
    make: impl Fn() -> Names + Clone + Send + 'static,
    test: impl FnOnce(std::net::SocketAddr) -> Fut,
) -> Ended
where
    Fut: Future<Output = ()>,
{
    let bound = bind(settings(workers)).unwrap_or_else(|error| panic!("{error}"));
    let Address::Tcp(address) = bound.addresses()[0].clone() else { unreachable!() };
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = bound.serve(
        supervisor,
        Counts::default(),
        make,
        async { drop(stopped.await) },
        std::future::pending(),
    );
    let testing = async {
        tokio::time::timeout(PATIENCE, test(address)).await.expect("the test takes too long");
        drop(stop);
    };
    tokio::join!(serving, testing).0.unwrap()
}

async fn ask(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_worker_that_is_stuck_is_named_and_gets_no_connections() {
    let limit = Duration::from_millis(600);
    let supervisor = Supervisor::stalling_after(limit, Clock::system(), TaskMetrics::default());
    let names = Names::default();
    let (released, watched) = (names.is_released.clone(), supervisor.clone());
    let ended = serving(
        2,
        &supervisor,
        move || names.clone(),
        async move |address| {
            let stuck = ask(address, "/stuck");
            let looking = async {
                until(|| !watched.dead().is_empty()).await;
                let dead: Vec<String> = watched.dead().iter().map(|dead| dead.task.to_string()).collect();
                assert_eq!(dead.len(), 1, "{dead:?}");
                assert!(dead[0].starts_with("worker-"), "{dead:?}");
                // So many that the stuck worker has fewer.
                let mut held = Vec::new();
                for _ in 0..10 {
                    held.push(TcpStream::connect(address).await.unwrap());
                    let answer = ask(address, "/").await;
                    assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains(&dead[0]), "{answer}");
                }
                released.store(true, Ordering::SeqCst);
            };
            let (answer, ()) = tokio::join!(stuck, looking);
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            until(|| watched.dead().is_empty()).await;
        },
    )
    .await;
    assert_eq!(ended, Ended::Drained);
}

#[tokio::test]
async fn a_worker_that_panics_is_replaced_and_gets_no_connections_until_then() {
    let supervisor = Supervisor::unobserved();
    let starts = Arc::new(AtomicUsize::new(0));
    let count = starts.clone();
    let make = move || {
        let is_first = count.fetch_add(1, Ordering::SeqCst) == 0;
        assert!(!is_first, "a defect, on purpose");
        Names::default()
    };
    let ended = serving(2, &supervisor, make, async move |address| {
        // Which of the two panicked is seen by the answers, as long as it is not started again.
        until(|| starts.load(Ordering::SeqCst) >= 2).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut names = std::collections::BTreeSet::new();
        while starts.load(Ordering::SeqCst) == 2 {
            let answer = ask(address, "/").await;
            if starts.load(Ordering::SeqCst) == 2 {
                names.insert(answer.lines().last().unwrap().to_owned());
            }
        }
        assert!(names.len() <= 1, "{names:?}");
        until(|| starts.load(Ordering::SeqCst) == 3).await;
        // Those that are held open make the next ones go to the other worker.
        let mut held = Vec::new();
        while names.len() < 2 {
            names.insert(ask(address, "/").await.lines().last().unwrap().to_owned());
            held.push(TcpStream::connect(address).await.unwrap());
        }
    })
    .await;
    assert_eq!(ended, Ended::Drained);
}

#[tokio::test]
async fn a_handler_that_panics_answers_500_and_its_worker_goes_on() {
    let supervisor = Supervisor::unobserved();
    let names = Names::default();
    let ended = serving(
        1,
        &supervisor,
        move || names.clone(),
        async |address| {
            assert!(ask(address, "/panic").await.starts_with("HTTP/1.1 500"));
            assert!(ask(address, "/").await.starts_with("HTTP/1.1 200"));
        },
    )
    .await;
    assert_eq!(ended, Ended::Drained);
}

#[tokio::test]
async fn a_worker_that_is_stuck_does_not_hold_the_end() {
    let supervisor = Supervisor::unobserved();
    let names = Names::default();
    let released = names.is_released.clone();
    let ended = serving(
        1,
        &supervisor,
        move || names.clone(),
        async |address| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /stuck HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
            // Long enough to be stuck in it; a second and a half more, and the worker is left behind.
            tokio::time::sleep(Duration::from_millis(200)).await;
        },
    )
    .await;
    assert_eq!(ended, Ended::Cut(1));
    released.store(true, Ordering::SeqCst);
}

#[tokio::test]
async fn an_accept_loop_that_panics_is_started_again_and_keeps_its_socket() {
    let metrics = TaskMetrics::default();
    let supervisor = Supervisor::new(Clock::system(), metrics.clone());
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).unwrap_or_else(|error| panic!("{error}"));
    let Address::Tcp(address) = listener.address() else { unreachable!() };
    let task = format!("accept/{}", listener.address());
    // To hand a connection to a worker where there is none is a panic.
    let (workers, places) = (Arc::new(Workers::none()), Arc::new(Semaphore::new(10)));
    let entrance = Entrance {
        workers,
        places: places.clone(),
        unidentified: UnidentifiedConnections::default(),
        counts: Counts::default(),
    };
    let accepting = entrance.start_accepting(listener, None, &supervisor);

    for restarts in 0..2 {
        // The second connects while nothing accepts, and waits in the queue of the socket.
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut read = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut read)).await;
        ended.expect("the connection is accepted, and lost with the panic").unwrap();
        assert_eq!((metrics.panics(&task), metrics.restarts(&task)), (restarts + 1, restarts));
        assert_eq!(places.available_permits(), 10, "its place is free again");
    }
    accepting.end().await;
    assert!(TcpStream::connect(address).await.is_err(), "the socket is closed with its owner");
}
