//! How long the parts of a call took, as `Server-Timing` says it.

use std::cell::RefCell;
use std::time::Duration;

use http::HeaderValue;

/// How long the parts of a call took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timing {
    /// Waiting for leave to call.
    pub queue: Duration,
    /// Waiting for an access token.
    pub token: Duration,
    /// From sending the request to the head of Zoho's answer.
    pub upstream: Duration,
}

impl Timing {
    pub(super) fn header(&self) -> HeaderValue {
        thread_local! {
            static TEXT: RefCell<String> = const { RefCell::new(String::new()) };
        }
        TEXT.with_borrow_mut(|text| {
            text.clear();
            for (name, time) in
                [("queue", self.queue), (", token", self.token), (", upstream", self.upstream)]
            {
                text.push_str(name);
                text.push_str(";dur=");
                push_milliseconds(text, time);
            }
            HeaderValue::from_str(text).expect("words and numbers are a header's value")
        })
    }
}

/// Milliseconds with one decimal, without the way over floats: every passed-on answer has three of them.
fn push_milliseconds(text: &mut String, time: Duration) {
    let tenths = time.as_secs().saturating_mul(10_000) + u64::from((time.subsec_micros() + 50) / 100);
    text.push_str(itoa::Buffer::new().format(tenths / 10));
    text.push('.');
    text.push(char::from(b'0' + u8::try_from(tenths % 10).expect("less than ten")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_milliseconds_to_a_tenth() {
        let timing = Timing {
            queue: Duration::ZERO,
            token: Duration::from_micros(49),
            upstream: Duration::from_micros(1_234_950),
        };
        assert_eq!(timing.header(), "queue;dur=0.0, token;dur=0.0, upstream;dur=1235.0");
        let longer = Timing { queue: Duration::from_micros(10_050), ..Timing::default() };
        assert_eq!(longer.header(), "queue;dur=10.1, token;dur=0.0, upstream;dur=0.0");
    }
}
