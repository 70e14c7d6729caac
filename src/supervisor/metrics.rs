//! What is counted of tasks. `telemetry::metrics` registers it.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Stalled;

type Labels = Vec<(&'static str, String)>;

/// The metrics of tasks, by task.
#[derive(Clone, Default)]
pub struct TaskMetrics {
    panics: Family<Labels, Counter>,
    restarts: Family<Labels, Counter>,
    last_beat: Family<Labels, Gauge<f64, AtomicU64>>,
    stalled: Family<Labels, Gauge>,
}

impl TaskMetrics {
    /// Makes them part of all metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("task_panics", "Panics of background tasks, by task", self.panics.clone());
        registry.register(
            "task_restarts",
            "Background tasks and threads started again after a panic, by task",
            self.restarts.clone(),
        );
        registry.register(
            "task_last_beat_seconds",
            "Time since a task last made progress, by task; 0 while it has nothing to do",
            self.last_beat.clone(),
        );
        registry.register(
            "task_stalled",
            "1 for a task that has made no progress for 30 seconds, else 0",
            self.stalled.clone(),
        );
    }

    pub(super) fn count_panic(&self, task: &str) {
        self.panics.get_or_create(&label(task)).inc();
    }

    pub(super) fn count_restart(&self, task: &str) {
        self.restarts.get_or_create(&label(task)).inc();
    }

    pub(super) fn observe(&self, ages: &[Stalled], limit: Duration) {
        // A task that is gone leaves no series behind.
        self.last_beat.clear();
        self.stalled.clear();
        for Stalled { task, age, .. } in ages {
            // Several may share a name, as one of each worker: the oldest counts.
            let last_beat = self.last_beat.get_or_create(&label(task)).clone();
            last_beat.set(last_beat.get().max(age.as_secs_f64()));
            let stalled = self.stalled.get_or_create(&label(task)).clone();
            stalled.set(stalled.get().max(i64::from(*age >= limit)));
        }
    }
}

fn label(task: &str) -> Labels {
    vec![("task", task.to_owned())]
}

#[cfg(test)]
impl TaskMetrics {
    pub(crate) fn panics(&self, task: &str) -> u64 {
        self.panics.get_or_create(&label(task)).get()
    }

    pub(crate) fn restarts(&self, task: &str) -> u64 {
        self.restarts.get_or_create(&label(task)).get()
    }

    pub(super) fn last_beat(&self, task: &str) -> (f64, i64) {
        let labels = label(task);
        (self.last_beat.get_or_create(&labels).get(), self.stalled.get_or_create(&labels).get())
    }
}
