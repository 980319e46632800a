//! A second, independent HTTP/2 for judges: frames by hand, a plain HPACK, one blocking session for either role.
//!
//! Slow and easy to trust; sends wrong bytes as readily as right ones, because that is what a judge is for. Never used in
//! the product.

pub(crate) mod frame;
pub(crate) mod hpack;
pub(crate) mod origin;
pub(crate) mod session;
