//! Retry policies: which attempts an origin sees, and what the client gets.

use super::Class;

/// None so far.
pub(super) const CLASS: Class = Class { name: "retries", ..Class::PLAIN };
