//! `DownstreamTlsContext` and `UpstreamTlsContext`: contexts that exist are right, and what is wrong is said where it stands.

use std::sync::Arc;

use ringway_model::{DownstreamTls, TlsContext, UpstreamTls};
use ringway_tls::{
    Certificate, ClientContext, ClientOptions, ContextError, Identity, Parameters, Part, Secret, ServerContext,
    ServerOptions, Tickets, Validation, Version, check_server_name,
};

use super::config_source::config_source;
use super::secret::{self, CertificateSource, Data, DataSource, SecretDraft, ValidationSource};
use super::{Context, SecretUse};
use crate::compatibility::refuse_unsupported;
use crate::message::Message;
use crate::problem::{Origin, Place};
use crate::tls::{CertificateFacts, ContextCertificates, digest};

const COMMON: &str = "common_tls_context";

/// What HTTP says of the names of upstream connections: `UpstreamHttpProtocolOptions`.
#[derive(Clone, Copy, Default)]
pub(super) struct AutoSni {
    pub(super) sni: bool,
    pub(super) san_validation: bool,
}

/// `CommonTlsContext`.
struct Common {
    certificates: Vec<CertificateSource>,
    validation: Option<ValidationSource>,
    parameters: Parameters,
    alpn: Vec<Vec<u8>>,
}

/// A context that waits for a secret stands for one that cannot be used: see [`Waiting`].
pub(super) fn downstream(context: &mut Context<'_>, message: &Message) -> Option<DownstreamTls> {
    unless_lacking(
        context,
        |context| made_downstream(context, message),
        || DownstreamTls { context: Waiting::context(), requires_sni: false },
    )
}

/// Stands in a draft for a context whose secret is still to come. It is of no type that a connection could use, and nobody commits a draft with one
/// ([`SecretUses::lacks`](super::SecretUses)).
struct Waiting;

impl Waiting {
    fn context() -> TlsContext {
        TlsContext::new(Arc::new(Waiting), "")
    }
}

/// What `make` makes; where it makes nothing for want of a secret, `waiting` in its place.
fn unless_lacking<T>(
    context: &mut Context<'_>,
    make: impl FnOnce(&mut Context<'_>) -> Option<T>,
    waiting: impl FnOnce() -> T,
) -> Option<T> {
    let others = std::mem::take(&mut context.secrets.lacks);
    let made = make(context);
    let lacks = context.secrets.lacks;
    context.secrets.lacks |= others;
    if lacks { made.or_else(|| Some(waiting())) } else { made }
}

fn made_downstream(context: &mut Context<'_>, message: &Message) -> Option<DownstreamTls> {
    refuse_unsupported(message, context.report);
    let common = common(context, message, Version::Tls13);
    let keys = match message.get("session_ticket_keys") {
        Some(_) => context.inside(message, "session_ticket_keys", secret::ticket_keys).map(Some),
        None => match message.message("session_ticket_keys_sds_secret_config") {
            Some(_) => context
                .inside(message, "session_ticket_keys_sds_secret_config", |context, message| {
                    let of_file = |secrets: &secret::Secrets, name: &str| secrets.ticket_keys.get(name).cloned();
                    named_secret(context, message, ("secret", "session_ticket_keys"), of_file, SecretDraft::ticket_keys)
                })
                .map(Some),
            None => Some(None),
        },
    };
    let common = common?;
    if common.certificates.is_empty() {
        // Envoy's words.
        context.problem(message, COMMON, "No TLS certificates found for server context");
    }
    let identities: Option<Vec<Identity>> = collect(&common.certificates, |source| identity(context, source));
    let validation = validation(context, common.validation.as_ref());
    let keys = keys?;
    let tickets = match &keys {
        Some(keys) => collect(keys, |key| Some(Secret::new(&*bytes(context, key)?))).map(Tickets::Keys),
        None if message.boolean("disable_stateless_session_resumption").unwrap_or(false) => Some(Tickets::Off),
        None => Some(Tickets::Generated),
    };
    let options = ServerOptions {
        certificates: identities?,
        parameters: common.parameters,
        alpn: common.alpn,
        validation: validation?,
        require_client_certificate: message.boolean("require_client_certificate").unwrap_or(false),
        tickets: tickets?,
        session_timeout_s: message.duration("session_timeout").and_then(|time| u32::try_from(time.as_secs()).ok()),
        full_scan_certs_on_sni_mismatch: message.boolean("full_scan_certs_on_sni_mismatch").unwrap_or(false),
        ..ServerOptions::default()
    };
    if options.certificates.is_empty() {
        return None; // said above
    }
    let identity = format!("server {:?}", ServerOptions { tickets: without_keys(&options.tickets), ..blank(&options) });
    let digest = {
        let mut data = pairs(&options.certificates);
        data.extend(of_validation(options.validation.as_ref()));
        if let Tickets::Keys(keys) = &options.tickets {
            data.extend(keys.iter().map(|key| Some(key.bytes())));
        }
        digest(&identity, data.into_iter())
    };
    let built = context.tls.server(digest, || ServerContext::new(&options));
    let sources = Sources { certificates: &common.certificates, validation: common.validation.as_ref() };
    let identity = identity + &sources.identity();
    let built = match built {
        Ok(built) => built,
        Err(error) => {
            refuse(context, message, &sources, keys.as_deref().unwrap_or_default(), &error);
            return None;
        }
    };
    note(context, &sources, built.authorities(), built.certificates());
    let requires_sni = message.boolean("require_sni").unwrap_or(false);
    Some(DownstreamTls { context: TlsContext::new(built, &identity), requires_sni })
}

/// As [`downstream`].
pub(super) fn upstream(context: &mut Context<'_>, message: &Message, auto: AutoSni) -> Option<UpstreamTls> {
    unless_lacking(
        context,
        |context| made_upstream(context, message, auto),
        || UpstreamTls {
            context: Waiting::context(),
            sni: Arc::from(""),
            auto_sni: false,
            auto_san_validation: false,
            auto_host_sni: false,
        },
    )
}

fn made_upstream(context: &mut Context<'_>, message: &Message, auto: AutoSni) -> Option<UpstreamTls> {
    refuse_unsupported(message, context.report);
    let sni = message.text("sni");
    if !sni.is_empty()
        && let Err(reason) = check_server_name(sni)
    {
        // Said of the cluster, not of the secrets that may come for it later.
        context.problem(message, "sni", reason);
        return None;
    }
    let common = common(context, message, Version::Tls12)?;
    if common.certificates.len() > 1 {
        // Envoy's words.
        context.problem(message, COMMON, "Multiple TLS certificates are not supported for client contexts");
        return None;
    }
    let auto_sni_san_validation = message.boolean("auto_sni_san_validation").unwrap_or(false);
    if auto_sni_san_validation && common.validation.as_ref().is_none_or(|validation| validation.trusted_ca.is_none()) {
        // Envoy's words.
        let rule = "'auto_sni_san_validation' was configured without a validation context";
        context.problem(message, "auto_sni_san_validation", rule);
        return None;
    }
    let identities: Option<Vec<Identity>> = collect(&common.certificates, |source| identity(context, source));
    let validation = validation(context, common.validation.as_ref());
    let options = ClientOptions {
        certificate: identities?.pop(),
        parameters: common.parameters,
        alpn: common.alpn,
        validation: validation?,
        sni: (!sni.is_empty()).then(|| sni.to_owned()),
        auto_sni_san_validation,
        max_session_keys: message.uint("max_session_keys").unwrap_or(1),
        ..ClientOptions::default()
    };
    let identity = {
        let certificate = options.certificate.as_ref().map(blank_identity);
        let validation = options.validation.as_ref().map(blank_validation);
        format!("client {:?}", ClientOptions { certificate, validation, ..options.clone() })
    };
    let digest = {
        let mut data = pairs(options.certificate.as_slice());
        data.extend(of_validation(options.validation.as_ref()));
        digest(&identity, data.into_iter())
    };
    let built = context.tls.client(digest, || ClientContext::new(&options));
    let sources = Sources { certificates: &common.certificates, validation: common.validation.as_ref() };
    let built = match built {
        Ok(built) => built,
        Err(error) => {
            refuse(context, message, &sources, &[], &error);
            return None;
        }
    };
    note(context, &sources, built.authorities(), built.certificate().into_iter());
    Some(UpstreamTls {
        context: TlsContext::new(built, &identity),
        sni: Arc::from(sni),
        auto_sni: auto.sni,
        auto_san_validation: auto.san_validation,
        auto_host_sni: message.boolean("auto_host_sni").unwrap_or(false),
    })
}

/// Whoever agrees on it sends who it is before anything else (Istio's filter `istio.metadata_exchange`), and expects the same. It is never
/// agreed on, on either side: Istio's proxies offer other names beside it, and speak plainly where one of those is chosen.
pub(super) const PEER_EXCHANGE: &str = "istio-peer-exchange";

/// `common_tls_context`; `None` where it has a problem. `version_max` is what TLS_AUTO stands for.
fn common(context: &mut Context<'_>, message: &Message, version_max: Version) -> Option<Common> {
    let defaults = Parameters { version_max, ..Parameters::default() };
    if message.get(COMMON).is_none() {
        return Some(Common { certificates: Vec::new(), validation: None, parameters: defaults, alpn: Vec::new() });
    }
    context.inside(message, COMMON, |context, message| {
        refuse_unsupported(message, context.report);
        let parameters = match message.get("tls_params") {
            Some(_) => context.inside(message, "tls_params", |context, message| {
                refuse_unsupported(message, context.report);
                let version = |name, auto| match message.number(name) {
                    TLS_1_2 => Version::Tls12,
                    TLS_1_3 => Version::Tls13,
                    _ => auto, // any other is refused
                };
                Some(Parameters {
                    version_min: version("tls_minimum_protocol_version", defaults.version_min),
                    version_max: version("tls_maximum_protocol_version", defaults.version_max),
                    ciphers: message.texts("cipher_suites").map(str::to_owned).collect(),
                    curves: message.texts("ecdh_curves").map(str::to_owned).collect(),
                })
            }),
            None => Some(defaults),
        };
        let inline = context.each(message, "tls_certificates", secret::certificate);
        let named = context.each(message, "tls_certificate_sds_secret_configs", |context, message| {
            let of_file = |secrets: &secret::Secrets, name: &str| secrets.certificates.get(name).cloned();
            named_secret(context, message, ("secret", "tls_certificate"), of_file, SecretDraft::certificate)
        });
        if !inline.is_empty() && !named.is_empty() {
            // Envoy's words, nearly.
            let rule = "SDS and non-SDS TLS certificates may not be mixed";
            context.problem(message, "tls_certificate_sds_secret_configs", rule);
        }
        let certificates: Option<Vec<_>> = inline.into_iter().chain(named).collect();
        let validation = validation_context(context, message);
        Some(Common {
            certificates: certificates?,
            validation: validation?,
            parameters: parameters?,
            alpn: offered(message).map(|(_, name)| name.as_bytes().to_vec()).collect(),
        })
    })
}

/// Which of `alpn_protocols` of a `CommonTlsContext` are offered and chosen, and where they stand there.
fn offered(common: &Message) -> impl Iterator<Item = (usize, &str)> {
    common.texts("alpn_protocols").enumerate().filter(|(_, name)| *name != PEER_EXCHANGE)
}

/// `TlsParameters.TlsProtocol`.
const TLS_1_2: i32 = 3;
const TLS_1_3: i32 = 4;

/// Whichever of the three is set; `Some(None)`: none is.
fn validation_context(context: &mut Context<'_>, message: &Message) -> Option<Option<ValidationSource>> {
    const SECRET: &str = "validation_context_sds_secret_config";
    let by_name = |context: &mut Context<'_>, message: &Message| {
        let what = ("certificate validation context", "validation_context");
        let of_file = |secrets: &secret::Secrets, name: &str| secrets.validations.get(name).cloned();
        named_secret(context, message, what, of_file, SecretDraft::validation)
    };
    if message.get("validation_context").is_some() {
        return context.inside(message, "validation_context", secret::validation).map(Some);
    }
    if message.get(SECRET).is_some() {
        return context.inside(message, SECRET, by_name).map(Some);
    }
    if message.get("combined_validation_context").is_some() {
        return context.inside(message, "combined_validation_context", |context, message| {
            refuse_unsupported(message, context.report);
            let default = context.inside(message, "default_validation_context", secret::validation);
            let secret = context.inside(message, SECRET, by_name);
            Some(Some(default?.overlaid(secret?)))
        });
    }
    Some(None)
}

/// A secret by its name, in a `SdsSecretConfig`: of the file, or of a source. `None` without a problem: it is still to come.
fn named_secret<T>(
    context: &mut Context<'_>,
    message: &Message,
    (what, field): (&str, &str),
    of_file: impl FnOnce(&secret::Secrets, &str) -> Option<T>,
    of_source: impl FnOnce(&SecretDraft) -> Option<T>,
) -> Option<T> {
    refuse_unsupported(message, context.report);
    let name = message.text("name");
    if message.get("sds_config").is_some() {
        let source = context.inside(message, "sds_config", config_source)?;
        let came = context.around.came.get(&(source.source.clone(), name.to_owned())).cloned();
        context.secrets.uses.push(SecretUse { source, name: name.to_owned() });
        let Some(came) = came else {
            context.secrets.lacks = true;
            return None;
        };
        let found = of_source(&came);
        if found.is_none() {
            context.problem(message, "name", format!("the secret {name:?} that came is no {field}"));
        }
        return found;
    }
    let found = of_file(&context.around.secrets, name);
    if found.is_none() && !name.is_empty() {
        // Envoy's words.
        context.problem(message, "name", format!("Unknown static {what}: {name}"));
    }
    found
}

/// All of them, so that each problem is said; `None` if one has one.
fn collect<S, T>(sources: &[S], read: impl FnMut(&S) -> Option<T>) -> Option<Vec<T>> {
    let read: Vec<Option<T>> = sources.iter().map(read).collect();
    read.into_iter().collect()
}

fn identity(context: &mut Context<'_>, source: &CertificateSource) -> Option<Identity> {
    let mut part = |data: &Option<Data>, name: &str| match data {
        Some(data) => bytes(context, data),
        None => {
            // Envoy: "Failed to load incomplete certificate", "... private key".
            context.report.problem_at(&source.origin, format!("{name} is required"));
            None
        }
    };
    let chain = part(&source.chain, "certificate_chain");
    let key = part(&source.key, "private_key");
    Some(Identity { certificate_chain: chain?.to_vec(), private_key: Secret::new(&*key?) })
}

/// `Some(None)`: nobody is verified.
fn validation(context: &mut Context<'_>, source: Option<&ValidationSource>) -> Option<Option<Validation>> {
    let Some(source) = source else { return Some(None) };
    if source.trusted_ca.is_none() {
        // Envoy's words.
        if source.rules.allow_expired_certificate {
            let rule = "Certificate validity period is always ignored without trusted CA";
            context.report.problem_at(&source.origin, rule);
            return None;
        }
        if let Some(crl) = &source.crl {
            context.report.problem_at(&crl.origin, "Failed to load CRL without trusted CA");
            return None;
        }
    }
    let mut part = |data: &Option<Data>| match data {
        Some(data) => bytes(context, data).map(|bytes| Some(bytes.to_vec())),
        None => Some(None),
    };
    let (trusted_ca, crl) = (part(&source.trusted_ca), part(&source.crl));
    Some(Some(Validation { trusted_ca: trusted_ca?, crl: crl?, ..source.rules.clone() }))
}

fn bytes(context: &mut Context<'_>, data: &Data) -> Option<Arc<[u8]>> {
    let read = match &data.source {
        DataSource::Here(bytes) => Ok(Arc::from(bytes.as_slice())),
        DataSource::File(path, directory) => context.tls.file(path, directory.as_deref()),
    };
    match read {
        Ok(bytes) if bytes.is_empty() => {
            let rule = match &data.source {
                DataSource::File(path, _) => format!("{path} is empty"),
                DataSource::Here(_) => "DataSource cannot be empty".to_owned(), // Envoy's words
            };
            context.report.problem_at(&data.origin, rule);
            None
        }
        Ok(bytes) => Some(bytes),
        Err(rule) => {
            context.report.problem_at(&data.origin, rule);
            None
        }
    }
}

/// Where the parts of a context stand.
struct Sources<'s> {
    certificates: &'s [CertificateSource],
    validation: Option<&'s ValidationSource>,
}

impl Sources<'_> {
    /// Where certificates and trust come from: of secrets of a source their names, of files the paths, of others what they hold. A key comes with its
    /// certificate.
    fn identity(&self) -> String {
        let certificates = self.certificates.iter().map(|source| source.chain.as_ref());
        let trust = self.validation.iter().flat_map(|source| [source.trusted_ca.as_ref(), source.crl.as_ref()]);
        let source = |data: Option<&Data>| match data.map(|data| (&data.secret, &data.source)) {
            None => " -".to_owned(),
            Some((Some(name), _)) => format!(" secret {name:?}"),
            Some((None, DataSource::File(path, _))) => format!(" {path:?}"),
            Some((None, DataSource::Here(bytes))) => {
                format!(" {:02x?}", digest("", std::iter::once(Some(bytes.as_slice()))))
            }
        };
        certificates.chain(trust).map(source).collect()
    }
}

/// Notes why there is no context, at the part that is wrong.
fn refuse(context: &mut Context<'_>, message: &Message, sources: &Sources<'_>, keys: &[Data], error: &ContextError) {
    let chain = |index: usize| sources.certificates.get(index).and_then(|source| source.chain.as_ref());
    let key = |index: usize| sources.certificates.get(index).and_then(|source| source.key.as_ref());
    let data = match error.part {
        Part::CertificateChain(index) => chain(index),
        Part::PrivateKey(index) => key(index),
        Part::TrustedCa => sources.validation.and_then(|validation| validation.trusted_ca.as_ref()),
        Part::Crl => sources.validation.and_then(|validation| validation.crl.as_ref()),
        Part::TicketKey(index) => keys.get(index),
        _ => None,
    };
    let reason = &error.reason;
    if let Some(data) = data {
        let rule = match (&data.source, error.part) {
            // Which of the two is the wrong one cannot be told.
            (DataSource::File(path, _), Part::PrivateKey(index)) => match chain(index).map(|chain| &chain.source) {
                Some(DataSource::File(other, _)) => format!("{path}: {reason} (of {other})"),
                _ => format!("{path}: {reason}"),
            },
            (DataSource::File(path, _), _) => format!("{path}: {reason}"),
            (DataSource::Here(_), _) => reason.clone(),
        };
        context.report.problem_at(&data.origin, rule);
        return;
    }
    let origin = match (error.part, sources.validation) {
        (Part::SubjectAltName(index), Some(validation)) => {
            validation.name_origins.get(index).unwrap_or(&validation.origin).clone()
        }
        (Part::CertificateHash(index), Some(validation)) => {
            below(&validation.origin, &format!("verify_certificate_hash[{index}]"))
        }
        (Part::SpkiHash(index), Some(validation)) => {
            below(&validation.origin, &format!("verify_certificate_spki[{index}]"))
        }
        (Part::Validation, Some(validation)) => validation.origin.clone(),
        (Part::Sni, _) => context.report.origin("sni", message.place_of("sni")),
        (Part::SessionTimeout, _) => context.report.origin("session_timeout", message.place_of("session_timeout")),
        (part, _) => in_common(context, message, part),
    };
    context.report.problem_at(&origin, reason.clone());
}

/// Where a part of `common_tls_context` stands that is no secret.
fn in_common(context: &mut Context<'_>, message: &Message, part: Part) -> Origin {
    let common = message.message(COMMON);
    let parameters = common.and_then(|common| common.message("tls_params"));
    let here = context.report.origin(COMMON, message.place_of(COMMON));
    let item = |of: Option<&Message>, field: &str, name: &str, index: usize| {
        let place: Option<Place> = of.and_then(|of| of.items(name).get(index)).map(|item| item.place);
        let path = format!("{}.{field}[{index}]", here.path);
        Origin { path, place: place.unwrap_or(here.place) }
    };
    match part {
        Part::Cipher(index) => item(parameters, "tls_params.cipher_suites", "cipher_suites", index),
        Part::Curve(index) => item(parameters, "tls_params.ecdh_curves", "ecdh_curves", index),
        Part::Alpn(index) => {
            let at = common.and_then(|common| offered(common).nth(index)).map_or(index, |(at, _)| at);
            item(common, "alpn_protocols", "alpn_protocols", at)
        }
        Part::Versions => {
            let place = parameters.map_or(here.place, |parameters| parameters.place);
            Origin { path: format!("{}.tls_params", here.path), place }
        }
        _ => here,
    }
}

fn below(origin: &Origin, field: &str) -> Origin {
    Origin { path: format!("{}.{field}", origin.path), place: origin.place }
}

/// Keeps for `/certs` what the certificates of a context say.
fn note<'c>(
    context: &mut Context<'_>,
    sources: &Sources<'_>,
    authorities: &[Certificate],
    own: impl Iterator<Item = &'c Certificate>,
) {
    let path = |data: Option<&Data>| match data.map(|data| &data.source) {
        Some(DataSource::File(path, _)) => path.clone(),
        _ => "<inline>".to_owned(),
    };
    let authority = path(sources.validation.and_then(|validation| validation.trusted_ca.as_ref()));
    let facts = |path: String, certificate: &Certificate| CertificateFacts { path, certificate: certificate.clone() };
    let own =
        own.zip(sources.certificates).map(|(certificate, source)| facts(path(source.chain.as_ref()), certificate));
    context.certificates.push(ContextCertificates {
        authorities: authorities.iter().map(|certificate| facts(authority.clone(), certificate)).collect(),
        own: own.collect(),
    });
}

/// The options without what files and secrets held.
fn blank(options: &ServerOptions) -> ServerOptions {
    ServerOptions {
        certificates: options.certificates.iter().map(blank_identity).collect(),
        validation: options.validation.as_ref().map(blank_validation),
        ..options.clone()
    }
}

fn blank_identity(_: &Identity) -> Identity {
    Identity { certificate_chain: Vec::new(), private_key: Secret::new([]) }
}

fn blank_validation(validation: &Validation) -> Validation {
    let blank = |data: &Option<Vec<u8>>| data.as_ref().map(|_| Vec::new());
    Validation { trusted_ca: blank(&validation.trusted_ca), crl: blank(&validation.crl), ..validation.clone() }
}

fn without_keys(tickets: &Tickets) -> Tickets {
    match tickets {
        Tickets::Keys(_) => Tickets::Keys(Vec::new()),
        other => other.clone(),
    }
}

fn pairs(identities: &[Identity]) -> Vec<Option<&[u8]>> {
    let chains = identities.iter().map(|identity| Some(identity.certificate_chain.as_slice()));
    chains.chain(identities.iter().map(|identity| Some(identity.private_key.bytes()))).collect()
}

fn of_validation(validation: Option<&Validation>) -> [Option<&[u8]>; 2] {
    let part = |data: fn(&Validation) -> &Option<Vec<u8>>| validation.and_then(|of| data(of).as_deref());
    [part(|of| &of.trusted_ca), part(|of| &of.crl)]
}
