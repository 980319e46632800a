//! What a look-up asks of a request, and what it keeps between two.

use super::regex::RegexCaches;

/// A request's head, as far as routes look at it. The data side implements it over the bytes received.
pub trait RequestView {
    /// The method.
    fn method(&self) -> &[u8];
    /// Host and port.
    fn authority(&self) -> &[u8];
    /// Path and query.
    fn path(&self) -> &[u8];
    /// `http` or `https`.
    fn scheme(&self) -> &[u8];
    /// Whether the client is one of ours (Envoy, `x-envoy-internal`).
    fn is_internal(&self) -> bool {
        false
    }
    /// The values of the fields of this name (in lower case), in order.
    fn values<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r [u8]>;
}

/// One worker's working memory for one route configuration. Once warm, a look-up allocates nothing.
#[derive(Debug, Default)]
pub struct Caches {
    /// For expressions.
    pub regexes: RegexCaches,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A request of constants.
    #[derive(Clone, Copy)]
    pub(crate) struct Sample {
        pub(crate) method: &'static str,
        pub(crate) authority: &'static str,
        pub(crate) path: &'static str,
        pub(crate) fields: &'static [(&'static str, &'static str)],
    }

    impl Default for Sample {
        fn default() -> Self {
            Self { method: "GET", authority: "a.test", path: "/", fields: &[] }
        }
    }

    impl RequestView for Sample {
        fn method(&self) -> &[u8] {
            self.method.as_bytes()
        }

        fn authority(&self) -> &[u8] {
            self.authority.as_bytes()
        }

        fn path(&self) -> &[u8] {
            self.path.as_bytes()
        }

        fn scheme(&self) -> &[u8] {
            b"http"
        }

        fn values<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r [u8]> {
            self.fields.iter().filter(move |(field, _)| *field == name).map(|(_, value)| value.as_bytes())
        }
    }
}
