//! The values of the shipped file, one by one, for keys that a file leaves out.

use std::sync::LazyLock;
use std::time::Duration;

use super::{CountAs, Expiry, Language, Limits, ModuleSeed, Quirks, Scenario, Seed};

/// The shipped scenario.
const SHIPPED: &str = include_str!("../../../config/emulator.toml");

/// Parsing it asks for none of the functions below, because it has every key; a test says so.
pub(super) fn scenario() -> &'static Scenario {
    static PARSED: LazyLock<Scenario> =
        LazyLock::new(|| Scenario::parse(SHIPPED).expect("the shipped scenario is complete and correct"));
    &PARSED
}

macro_rules! from_shipped {
    ($($name:ident: $type:ty = $($path:ident).+;)*) => {
        $(pub(super) fn $name() -> $type { scenario().$($path).+.clone() })*
    };
}

from_shipped! {
    count_as: CountAs = count_as;
    list_empty_territories: bool = list_empty_territories;
    deletion_takes: Duration = deletion_takes;
    bulk_job_takes: Duration = bulk_job_takes;
    limits: Limits = limits;
    quirks: Quirks = quirks;
    modules: Vec<ModuleSeed> = modules;
    organisations: Vec<Seed> = organisations;
    mints_per_window: usize = limits.mints_per_window;
    window: Duration = limits.window;
    live_tokens: usize = limits.live_tokens;
    token_lifetime: Duration = limits.token_lifetime;
    refresh_tokens: usize = limits.refresh_tokens;
    concurrency: bool = limits.concurrency;
    credits: bool = limits.credits;
    expiry: Expiry = quirks.expiry;
    throttle_status: u16 = quirks.throttle_status;
    throttle_text: Language = quirks.throttle_text;
    omit_scope: bool = quirks.omit_scope;
}
