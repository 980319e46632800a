//! The filter `envoy.filters.http.grpc_stats`: what calls are counted by.

/// Methods of one cluster that one worker counts apart; further ones count without their name (`grpc.methods_overflow`). Clients may invent methods,
/// and honest systems have some hundreds. Worst case, with names of [`METHOD_BYTES_MAX`]: 0.6 MiB for each cluster and worker, and with
/// times over five decades 4.5 MiB.
pub const METHODS_MAX: usize = 1_000;

/// Bytes of the names of a service and a method together; a call of a longer one counts without.
pub const METHOD_BYTES_MAX: usize = 256;

/// What is counted of calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcStatsRules {
    /// By which names.
    pub methods: CountedMethods,
    /// `enable_upstream_stats`: how long calls take is recorded.
    pub times: bool,
}

/// Which methods are counted under their own names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CountedMethods {
    /// None: a cluster's calls are counted together.
    None,
    /// All (`stats_for_all_methods`).
    All {
        /// Dots of a service's name are written `_` (`replace_dots_in_grpc_service_name`).
        replaces_dots: bool,
    },
    /// These (`individual_method_stats_allowlist`).
    Listed(MethodList),
}

/// Some methods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MethodList(Vec<(Box<str>, Box<str>)>);

impl MethodList {
    /// Of services and methods, in any order.
    pub fn new(methods: impl IntoIterator<Item = (Box<str>, Box<str>)>) -> Self {
        let mut methods: Vec<_> = methods.into_iter().collect();
        methods.sort_unstable();
        methods.dedup();
        Self(methods)
    }

    /// Whether this one is among them.
    #[must_use]
    pub fn has(&self, service: &[u8], method: &[u8]) -> bool {
        self.0.binary_search_by(|(s, m)| (s.as_bytes(), m.as_bytes()).cmp(&(service, method))).is_ok()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_of_its_service() {
        let names = [("b", "x"), ("a.b", "c"), ("a", "b"), ("a", "b")];
        let list = MethodList::new(names.map(|(service, method)| (service.into(), method.into())));
        assert_eq!(list.count(), 3);
        for (service, method, expect) in
            [("a.b", "c", true), ("a", "b", true), ("b", "x", true), ("a", "x", false), ("a", "b.c", false)]
        {
            assert_eq!(list.has(service.as_bytes(), method.as_bytes()), expect, "{service}/{method}");
        }
    }
}
