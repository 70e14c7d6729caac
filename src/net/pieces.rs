//! The pieces of a body that wait for their reader.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Shorter pieces are copied together. Each would take many times its bytes: a place in the queue, and the buffer of a
/// connection that it is a slice of.
const SHORT: usize = 1024;

/// How long a piece gets that short ones are copied into.
const TOGETHER: usize = 4 * SHORT;

/// A queue of pieces, in the order in which they came.
#[derive(Debug, Default)]
pub struct Pieces {
    queue: VecDeque<Bytes>,
    /// What comes after all in the queue.
    short: BytesMut,
    bytes: usize,
}

impl Pieces {
    /// How many bytes wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Whether all that waits is one piece.
    pub fn is_one(&self) -> bool {
        self.queue.len() + usize::from(!self.short.is_empty()) == 1
    }

    /// Adds a piece. An only one is never copied.
    pub fn push(&mut self, data: Bytes) {
        let is_first = self.is_empty();
        self.bytes += data.len();
        if data.is_empty() {
            return;
        }
        if is_first || data.len() >= SHORT {
            self.close_short();
            self.queue.push_back(data);
            return;
        }
        if self.short.len() + data.len() > TOGETHER {
            self.close_short();
        }
        if self.short.is_empty() {
            self.short.reserve(TOGETHER);
        }
        self.short.extend_from_slice(&data);
    }

    fn close_short(&mut self) {
        if !self.short.is_empty() {
            self.queue.push_back(self.short.split().freeze());
        }
    }

    /// Takes the first piece, or `most` bytes of it: copied then, so that they keep nothing else alive.
    pub fn pop(&mut self, most: usize) -> Option<Bytes> {
        self.close_short();
        let first = self.queue.front_mut()?;
        let piece = if first.len() > most {
            Bytes::copy_from_slice(&first.split_to(most))
        } else {
            self.queue.pop_front()?
        };
        self.bytes -= piece.len();
        Some(piece)
    }

    /// All that waits, in one piece.
    pub fn join(mut self) -> Bytes {
        self.close_short();
        if self.queue.len() <= 1 {
            return self.queue.pop_front().unwrap_or_default();
        }
        let mut joined = BytesMut::with_capacity(self.bytes);
        self.queue.iter().for_each(|piece| joined.extend_from_slice(piece));
        joined.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lengths: &[usize]) -> (Pieces, Vec<u8>) {
        let (mut pieces, mut all) = (Pieces::default(), Vec::new());
        for (n, length) in lengths.iter().enumerate() {
            let piece = vec![u8::try_from(n % 251).unwrap(); *length];
            all.extend_from_slice(&piece);
            pieces.push(piece.into());
        }
        (pieces, all)
    }

    #[test]
    fn whatever_comes_in_pieces_leaves_in_the_same_order() {
        for lengths in [&[][..], &[1], &[0, 0], &[1, 2, 3000, 4, 5], &[5000, 1, 1, 5000], &[1000; 20]] {
            for most in [1, 700, usize::MAX] {
                let (mut pieces, all) = of(lengths);
                assert_eq!((pieces.bytes(), pieces.is_empty()), (all.len(), all.is_empty()));
                let mut left = Vec::new();
                while let Some(piece) = pieces.pop(most) {
                    assert!(!piece.is_empty() && piece.len() <= most);
                    left.extend_from_slice(&piece);
                }
                assert_eq!((left, pieces.bytes()), (all.clone(), 0), "{lengths:?} by {most}");
                assert_eq!(of(lengths).0.join(), all, "{lengths:?}");
            }
        }
    }

    #[test]
    fn short_pieces_are_copied_together_and_an_only_one_is_not() {
        let (mut pieces, _) = of(&vec![1; 8 * TOGETHER]);
        pieces.close_short();
        assert!(pieces.queue.len() <= 10, "{}", pieces.queue.len());

        let only = Bytes::from_static(b"only");
        let mut pieces = Pieces::default();
        pieces.push(only.clone());
        assert!(pieces.is_one());
        assert_eq!(pieces.pop(usize::MAX).unwrap().as_ptr(), only.as_ptr());
    }

    #[test]
    fn a_part_of_a_piece_keeps_nothing_else_alive() {
        let long = Bytes::from(vec![7; 100]);
        let mut pieces = Pieces::default();
        pieces.push(long.clone());
        let part = pieces.pop(10).unwrap();
        drop(pieces);
        assert!(long.is_unique());
        drop(part);
    }
}
