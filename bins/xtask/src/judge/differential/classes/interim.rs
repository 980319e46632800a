//! 1xx: which interim responses pass, and who answers Expect.

use super::Class;

/// None so far.
pub(super) const CLASS: Class = Class { name: "1xx", ..Class::PLAIN };
