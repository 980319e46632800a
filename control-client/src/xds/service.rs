//! The methods of the discovery services, and the types of resources as the protocol names them.

use crate::cache::{Kind, Names};
use crate::discovery::{Interest, ResourceType, Variant};

/// In the order in which Envoy asks for them: what is named comes behind what names it, and clusters first, but for the values that all
/// of them may take.
pub(super) const ORDER: [Kind; 7] =
    [Kind::Runtime, Kind::Cluster, Kind::Assignment, Kind::Listener, Kind::Routes, Kind::Secret, Kind::Extension];

/// The method of ADS.
pub(super) fn aggregated(variant: Variant) -> &'static str {
    match variant {
        Variant::StateOfTheWorld => "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
        Variant::Delta => "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
    }
}

/// The method for one kind.
pub(super) fn method(kind: Kind, variant: Variant) -> &'static str {
    match (kind, variant) {
        (Kind::Cluster, Variant::StateOfTheWorld) => "/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters",
        (Kind::Cluster, Variant::Delta) => "/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters",
        (Kind::Assignment, Variant::StateOfTheWorld) => {
            "/envoy.service.endpoint.v3.EndpointDiscoveryService/StreamEndpoints"
        }
        (Kind::Assignment, Variant::Delta) => "/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints",
        (Kind::Listener, Variant::StateOfTheWorld) => {
            "/envoy.service.listener.v3.ListenerDiscoveryService/StreamListeners"
        }
        (Kind::Listener, Variant::Delta) => "/envoy.service.listener.v3.ListenerDiscoveryService/DeltaListeners",
        (Kind::Routes, Variant::StateOfTheWorld) => "/envoy.service.route.v3.RouteDiscoveryService/StreamRoutes",
        (Kind::Routes, Variant::Delta) => "/envoy.service.route.v3.RouteDiscoveryService/DeltaRoutes",
        (Kind::Secret, Variant::StateOfTheWorld) => "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets",
        (Kind::Secret, Variant::Delta) => "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets",
        (Kind::Runtime, Variant::StateOfTheWorld) => "/envoy.service.runtime.v3.RuntimeDiscoveryService/StreamRuntime",
        (Kind::Runtime, Variant::Delta) => "/envoy.service.runtime.v3.RuntimeDiscoveryService/DeltaRuntime",
        (Kind::Extension, Variant::StateOfTheWorld) => {
            "/envoy.service.extension.v3.ExtensionConfigDiscoveryService/StreamExtensionConfigs"
        }
        (Kind::Extension, Variant::Delta) => {
            "/envoy.service.extension.v3.ExtensionConfigDiscoveryService/DeltaExtensionConfigs"
        }
    }
}

/// As the protocol names it.
pub(super) fn resource_type(kind: Kind) -> ResourceType {
    ResourceType { name: kind.type_name(), is_whole: kind.is_whole() }
}

/// The kind of a type that [`resource_type`] gave.
pub(super) fn kind(of: ResourceType) -> Kind {
    Kind::of_type(of.name).expect("only kinds are asked for")
}

/// As the protocol says it.
pub(super) fn interest(names: &Names) -> Interest {
    match names {
        Names::All => Interest::all(),
        Names::These(names) => Interest::these(names.iter().cloned()),
    }
}
