//! What is decided by configuration and asked by every request: tenants and routes, checked against each
//! other, exchanged as a whole.

use crate::routes::Routes;
use crate::tenants::Tenants;

/// One consistent set of rules.
#[derive(Debug, Default)]
pub struct Rulebook {
    /// Who there is.
    pub tenants: Tenants,
    /// What is cached, and what forgets it.
    pub routes: Routes,
}
