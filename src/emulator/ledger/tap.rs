//! Measuring a body as it passes.

use std::sync::{Arc, Mutex};

use aws_lc_rs::digest;
use bytes::Bytes;
use http_body::Body as HttpBody;
use http_body_util::BodyExt;

use crate::emulator::lock::held;
use crate::emulator::random;
use crate::net::body::Body;

/// What was read of a body so far.
#[derive(Clone, Default)]
pub(in crate::emulator) struct Seen(Arc<Mutex<Measure>>);

struct Measure {
    length: u64,
    digest: digest::Context,
}

impl Default for Measure {
    fn default() -> Self {
        Self { length: 0, digest: digest::Context::new(&digest::SHA256) }
    }
}

impl Seen {
    /// How many bytes were read, and their SHA-256 in hexadecimal digits.
    pub(in crate::emulator) fn summary(&self) -> (u64, String) {
        let measure = held(&self.0);
        (measure.length, random::to_hex(measure.digest.clone().finish().as_ref()))
    }

    fn add(&self, bytes: &Bytes) {
        let mut measure = held(&self.0);
        measure.length += bytes.len() as u64;
        measure.digest.update(bytes);
    }
}

/// The same body, measured while it is read.
pub(in crate::emulator) fn tap(body: Body) -> (Body, Seen) {
    let seen = Seen::default();
    if body.is_end_stream() {
        return (body, seen);
    }
    let measured = seen.clone();
    let body = body.inspect_frame(move |frame| {
        if let Some(bytes) = frame.data_ref() {
            measured.add(bytes);
        }
    });
    (Body::stream(body), seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_measured_by_what_was_read_of_it() {
        let (body, seen) = tap(Body::full("abc"));
        assert_eq!(seen.summary().0, 0);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");
        let (length, sha256) = seen.summary();
        assert_eq!(length, 3);
        assert_eq!(sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
