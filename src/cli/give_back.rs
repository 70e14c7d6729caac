//! Has the allocator give memory back that was freed.
//!
//! mimalloc keeps what is freed for a second, so that it can be used again, and looks for what is due only when some
//! thread allocates or frees. When a crowd of callers leaves an idle sidecar nobody does, and all of it would stay.

use std::hint::black_box;
use std::time::Duration;

/// How often the allocator is made to look.
const EVERY: Duration = Duration::from_secs(5);

/// More than the allocator hands out without a look at its arenas. The pages are never touched, so that it costs nothing.
const PIECE: usize = 4 << 20;

/// Makes the allocator look again and again, until dropped.
pub(super) async fn keep_giving_back() {
    loop {
        tokio::time::sleep(EVERY).await;
        drop(black_box(Vec::<u8>::with_capacity(PIECE)));
    }
}
