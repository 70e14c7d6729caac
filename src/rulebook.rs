//! What is decided by configuration and asked by every request: callers, tenants and routes, checked against each
//! other, exchanged as a whole.

use crate::callers::Callers;
use crate::routes::Routes;
use crate::tenants::Tenants;

/// One consistent set of rules.
#[derive(Debug, Default)]
pub struct Rulebook {
    /// Who may ask, and for what.
    pub callers: Callers,
    /// Whose requests there are.
    pub tenants: Tenants,
    /// What is cached, and what forgets it.
    pub routes: Routes,
}
