//! Listeners and endpoints of each family of addresses.

use super::Class;

/// None so far.
pub(super) const CLASS: Class = Class { name: "addresses", ..Class::PLAIN };
