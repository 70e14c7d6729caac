//! Zoho's vocabulary. Pure: no input, no output, no time.
//!
//! - [`composite`]: what a composite request does
//! - [`data_center`]: which accounts, API and upload hosts belong together
//! - [`edition`]: what an edition of the CRM allows
//! - [`effect`]: which requests change nothing
//! - [`fault`]: the error codes in Zoho's JSON
//! - [`lenient`]: how the most lenient of servers reads a path
//! - [`path`]: what a request path says about where it goes
//! - [`scopes`]: which scopes a call needs

pub mod composite;
pub mod data_center;
pub mod edition;
pub mod effect;
pub mod fault;
pub mod lenient;
pub mod path;
pub mod scopes;
