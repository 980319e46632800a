//! A received head as the routes of the configuration look at it.
//!
//! It never decides: the look-up is the model's.

use ringway_model::RequestView;
use ringway_protocols::{Known, Request};

/// A decoded request, for the model's look-ups.
#[derive(Clone, Copy)]
pub(crate) struct Routed<'a>(pub(crate) Request<'a>);

impl RequestView for Routed<'_> {
    fn method(&self) -> &[u8] {
        self.0.method_str()
    }

    fn authority(&self) -> &[u8] {
        self.0.authority()
    }

    fn path(&self) -> &[u8] {
        self.0.path()
    }

    /// The target's own; else what a proxy before us says; else that of the connection. (Envoy, `:scheme`.)
    fn scheme(&self) -> &[u8] {
        let target = self.0.target();
        let begins =
            |scheme: &str| target.get(..scheme.len()).is_some_and(|t| t.eq_ignore_ascii_case(scheme.as_bytes()));
        match self.0.field(Known::XForwardedProto) {
            _ if begins("https://") => b"https",
            _ if begins("http://") => b"http",
            Some(b"https") => b"https",
            _ => b"http",
        }
    }

    fn values<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r [u8]> {
        let fields = self.0.fields();
        fields.filter(move |field| field.name.eq_ignore_ascii_case(name.as_bytes())).map(|field| field.value)
    }
}
