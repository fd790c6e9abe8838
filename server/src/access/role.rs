//! Roles, and the methods that each permits.

/// What a caller can ask for, as far as the policy tells such things apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Query,
    Count,
    Histogram,
    Flows,
    Info,
    State,
    Import,
    Flush,
    Seal,
    Check,
    Report,
    Cleanup,
    Scrub,
    AddHold,
    RemoveHold,
    ListHolds,
    AcceptHolds,
    Backup,
    /// Whether the server is well: for anyone who is connected.
    Health,
    /// What methods there are: for everyone who is known.
    Reflection,
}

impl Method {
    /// The method of a gRPC path; `None` when the policy does not know it, which nobody may call.
    pub(crate) fn of(path: &str) -> Option<Method> {
        match path {
            "/tapstone.v1.Tapstone/Query" => Some(Method::Query),
            "/tapstone.v1.Tapstone/Count" => Some(Method::Count),
            "/tapstone.v1.Tapstone/Histogram" => Some(Method::Histogram),
            "/tapstone.v1.Tapstone/Flows" => Some(Method::Flows),
            "/tapstone.v1.Tapstone/Info" => Some(Method::Info),
            "/tapstone.v1.Tapstone/State" => Some(Method::State),
            "/tapstone.v1.Tapstone/Import" => Some(Method::Import),
            "/tapstone.v1.Admin/Flush" => Some(Method::Flush),
            "/tapstone.v1.Admin/Seal" => Some(Method::Seal),
            "/tapstone.v1.Admin/Check" => Some(Method::Check),
            "/tapstone.v1.Admin/Report" => Some(Method::Report),
            "/tapstone.v1.Admin/Cleanup" => Some(Method::Cleanup),
            "/tapstone.v1.Admin/Scrub" => Some(Method::Scrub),
            "/tapstone.v1.Admin/AddHold" => Some(Method::AddHold),
            "/tapstone.v1.Admin/RemoveHold" => Some(Method::RemoveHold),
            "/tapstone.v1.Admin/ListHolds" => Some(Method::ListHolds),
            "/tapstone.v1.Admin/AcceptHolds" => Some(Method::AcceptHolds),
            "/tapstone.v1.Admin/Backup" => Some(Method::Backup),
            _ => Method::of_standard_service(path),
        }
    }

    fn of_standard_service(path: &str) -> Option<Method> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        if method.is_empty() || method.contains('/') {
            return None;
        }
        match service {
            "grpc.health.v1.Health" => Some(Method::Health),
            "grpc.reflection.v1.ServerReflection" => Some(Method::Reflection),
            _ => None,
        }
    }
}

/// What an identity is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Finds flows, counts packets, sees no packet.
    MetadataSearch,
    /// Takes packets out, too.
    PacketRetrieval,
    /// Runs the store: takes captures in, seals, checks, makes backups.
    Operator,
    /// Places and lifts holds.
    Custodian,
    /// Has reports made of what was done.
    Auditor,
}

impl Role {
    /// Every role.
    pub(crate) const ALL: [Role; 5] = [
        Role::MetadataSearch,
        Role::PacketRetrieval,
        Role::Operator,
        Role::Custodian,
        Role::Auditor,
    ];

    /// Its name in the configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::MetadataSearch => "metadata-search",
            Role::PacketRetrieval => "packet-retrieval",
            Role::Operator => "operator",
            Role::Custodian => "custodian",
            Role::Auditor => "auditor",
        }
    }

    /// The role of that name.
    pub(crate) fn parse(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Every name, for those who wrote another.
    pub(crate) fn names() -> String {
        Role::ALL.map(Role::name).join(", ")
    }

    /// Whether it permits a method.
    pub(crate) fn permits(self, method: Method) -> bool {
        if matches!(method, Method::Health | Method::Reflection) {
            return true;
        }
        match self {
            Role::MetadataSearch => {
                matches!(
                    method,
                    Method::Count
                        | Method::Histogram
                        | Method::Flows
                        | Method::Info
                        | Method::State
                )
            }
            Role::PacketRetrieval => {
                method == Method::Query || Role::MetadataSearch.permits(method)
            }
            Role::Operator => {
                matches!(
                    method,
                    Method::Import
                        | Method::Flush
                        | Method::Seal
                        | Method::Check
                        | Method::Backup
                        | Method::Cleanup
                        | Method::Scrub
                        | Method::ListHolds
                        | Method::Info
                        | Method::State
                )
            }
            Role::Custodian => {
                matches!(
                    method,
                    Method::AddHold | Method::RemoveHold | Method::ListHolds | Method::AcceptHolds
                )
            }
            Role::Auditor => {
                matches!(method, Method::Report | Method::ListHolds | Method::Info | Method::State)
            }
        }
    }
}
