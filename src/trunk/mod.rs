//! Trunks: which one a call goes over, how many it may carry, and where it is.
//!
//! It knows the operator's settings, limits and addresses. It refuses to know calls. Start at
//! [`route::order`].

pub mod health;
pub mod import;
pub mod limits;
pub mod probe;
pub mod qualify;
pub mod registrations;
pub mod route;
pub mod target;
pub mod traffic;
