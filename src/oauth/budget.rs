//! How many tokens may still be minted. Pure.
//!
//! Zoho lets one refresh token mint ten access tokens in ten minutes, whoever asks (its accounts
//! documentation, "token limits"). The sidecar keeps to a part of that, so that people and other tools
//! sharing the refresh token have the rest.
//!
//! A mint is known by its wall time, because it outlives the process in the state file; within the process its
//! age is counted in boot time, so that no step of the wall clock forgives or prolongs it and a suspension counts.

use std::time::Duration;

use crate::clock::BootTime;

/// Zoho's window.
pub(super) const WINDOW: Duration = Duration::from_mins(10);

/// This moment, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// Unix milliseconds.
    pub(super) wall: u64,
    pub(super) at: BootTime,
}

/// The exchanges of one refresh token that minted or may have minted, those of other processes included.
#[derive(Debug, Clone, Default)]
pub(super) struct Mints {
    all: Vec<Mint>,
    notes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Mint {
    /// The note that it is, if it is this process's own.
    note: Option<Note>,
    /// When it was, in Unix milliseconds; by this it is known in the state file.
    wall: u64,
    at: BootTime,
}

/// A note that can be changed still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Note(u64);

impl Mint {
    fn counts(&self, now: BootTime) -> bool {
        now.saturating_duration_since(self.at) < WINDOW
    }
}

impl Mints {
    /// Adds what a state file tells of other processes, or of an earlier one. What the file does not know of yet
    /// stays. A time in the future, after the wall clock was set back, counts as now: it was lately, and must not
    /// count for longer than the window.
    pub(super) fn merge(&mut self, kept: &[u64], now: Now) {
        let mut known: Vec<u64> = self.all.iter().map(|mint| mint.wall).collect();
        for &wall in kept {
            if let Some(at) = known.iter().position(|time| *time == wall) {
                known.swap_remove(at);
                continue;
            }
            let age = Duration::from_millis(now.wall.saturating_sub(wall));
            self.all.push(Mint { note: None, wall, at: now.at - age.min(WINDOW) });
        }
        // One that is over but still in the file stays known, or it would be taken for another's.
        self.all.retain(|mint| mint.counts(now.at) || kept.contains(&mint.wall));
    }

    /// Notes an exchange that is about to be tried.
    pub(super) fn note(&mut self, now: Now) -> Note {
        self.notes += 1;
        let note = Note(self.notes);
        self.all.push(Mint { note: Some(note), wall: now.wall, at: now.at });
        note
    }

    /// Moves a note to the end of its exchange: Zoho may have minted at any moment until then.
    pub(super) fn settle(&mut self, note: Note, now: Now) {
        if let Some(mint) = self.all.iter_mut().find(|mint| mint.note == Some(note)) {
            (mint.wall, mint.at) = (now.wall, now.at);
        }
    }

    /// Takes back a note: the exchange certainly minted nothing.
    pub(super) fn take_back(&mut self, note: Note) {
        self.all.retain(|mint| mint.note != Some(note));
    }

    /// How long to wait until another mint is within `budget`; `None` if it is now.
    pub(super) fn wait(&self, budget: usize, now: BootTime) -> Option<Duration> {
        let counting = self.all.iter().filter(|mint| mint.counts(now));
        let mut ages: Vec<Duration> = counting.map(|mint| now.saturating_duration_since(mint.at)).collect();
        if ages.len() < budget {
            return None;
        }
        ages.sort_unstable();
        // When the oldest of the newest `budget` mints leaves the window, there is room for one.
        let leaving = ages[budget.saturating_sub(1)];
        Some(WINDOW.saturating_sub(leaving))
    }

    /// The times for the state file. None is in the future, where another process would have to guess.
    pub(super) fn times(&self, now: Now) -> Vec<u64> {
        let counting = self.all.iter().filter(|mint| mint.counts(now.at));
        counting.map(|mint| mint.wall.min(now.wall)).collect()
    }

    /// Notes that the state file holds these [`Self::times`] now.
    pub(super) fn stored(&mut self, now: Now) {
        self.all.retain(|mint| mint.counts(now.at));
        self.all.iter_mut().for_each(|mint| mint.wall = mint.wall.min(now.wall));
    }

    /// Whether none of them counts any more.
    pub(super) fn is_over(&self, now: BootTime) -> bool {
        !self.all.iter().any(|mint| mint.counts(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const WALL: u64 = 1_800_000_000_000;

    /// A beginning, and moments so many seconds after it.
    struct Time(BootTime);

    impl Time {
        fn new() -> Self {
            Self(Clock::system().boot_time() + Duration::from_hours(1))
        }

        fn at(&self, seconds: u64) -> Now {
            Now { wall: WALL + seconds * 1000, at: self.0 + Duration::from_secs(seconds) }
        }

        /// The same where the wall clock is wrong by this many seconds.
        fn off_by(&self, seconds: u64, wrong: i64) -> Now {
            let now = self.at(seconds);
            Now { wall: now.wall.saturating_add_signed(wrong * 1000), ..now }
        }
    }

    #[tokio::test]
    async fn within_the_budget_there_is_no_wait() {
        let (time, mut mints) = (Time::new(), Mints::default());
        for _ in 0..6 {
            assert_eq!(mints.wait(6, time.at(0).at), None);
            mints.note(time.at(0));
        }
        assert_eq!(mints.wait(6, time.at(0).at), Some(WINDOW));
    }

    #[tokio::test]
    async fn room_comes_back_as_mints_leave_the_window() {
        let (time, mut mints) = (Time::new(), Mints::default());
        mints.note(time.at(0));
        mints.note(time.at(60));
        assert_eq!(mints.wait(2, time.at(90).at), Some(Duration::from_secs(600 - 90)));
        assert_eq!(mints.wait(2, time.at(600).at), None);
    }

    #[tokio::test]
    async fn more_mints_than_the_budget_wait_for_the_right_one_to_leave() {
        // Three noted under a larger budget; with a budget of one, the newest has to leave.
        let (time, mut mints) = (Time::new(), Mints::default());
        (0..3).for_each(|second| _ = mints.note(time.at(second)));
        assert_eq!(mints.wait(1, time.at(2).at), Some(WINDOW));
    }

    #[tokio::test]
    async fn an_exchange_counts_from_its_end() {
        let (time, mut mints) = (Time::new(), Mints::default());
        let noted = mints.note(time.at(0));
        mints.settle(noted, time.at(9));
        assert_eq!(mints.wait(1, time.at(600).at), Some(Duration::from_secs(9)));
        assert_eq!(mints.times(time.at(600)), [time.at(9).wall]);
    }

    #[tokio::test]
    async fn an_exchange_that_minted_nothing_is_taken_back() {
        let (time, mut mints) = (Time::new(), Mints::default());
        let first = mints.note(time.at(0));
        mints.note(time.at(0));
        mints.take_back(first);
        assert_eq!(mints.times(time.at(0)), [WALL]);
    }

    #[tokio::test]
    async fn an_older_file_takes_nothing_away_and_counts_nothing_twice() {
        let (time, mut mints) = (Time::new(), Mints::default());
        mints.note(time.at(10));
        mints.note(time.at(20));
        let ours = time.at(10).wall;
        mints.merge(&[ours, time.at(5).wall], time.at(30));
        mints.merge(&[ours, time.at(5).wall], time.at(31));
        mints.merge(&[], time.at(32));
        assert_eq!(mints.times(time.at(40)).len(), 3);
        assert_eq!(mints.wait(3, time.at(40).at), Some(Duration::from_secs(600 - 35)));
    }

    #[tokio::test]
    async fn steps_of_the_wall_clock_neither_forgive_nor_lock_out() {
        for wrong in [-3_600, 3_600] {
            let (time, mut mints) = (Time::new(), Mints::default());
            mints.note(time.at(0));
            let kept = mints.times(time.at(0));
            // Its own mint, and the file that tells of it.
            mints.merge(&kept, time.off_by(1, wrong));
            assert_eq!(mints.wait(1, time.at(1).at), Some(Duration::from_secs(599)), "{wrong}");
            // The file cannot be replaced.
            mints.merge(&kept, time.off_by(600, wrong));
            assert_eq!(mints.wait(1, time.at(600).at), None, "{wrong}");
        }
        // Another's mint, an hour ahead: it was lately.
        let (time, mut mints) = (Time::new(), Mints::default());
        mints.merge(&[time.at(3_600).wall], time.at(0));
        assert_eq!(mints.wait(1, time.at(0).at), Some(WINDOW));
        assert_eq!(mints.times(time.at(1)), [time.at(1).wall]);
        mints.stored(time.at(1));
        mints.merge(&[time.at(1).wall], time.at(2));
        assert_eq!(mints.times(time.at(2)).len(), 1);
        assert_eq!(mints.wait(1, time.at(600).at), None);
    }
}
