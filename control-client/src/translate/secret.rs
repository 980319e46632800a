//! What TLS contexts are made of: certificates and keys, who is believed, ticket keys; where they stand in the context itself, and in
//! `static_resources.secrets`.
//!
//! Files are not read here: a secret that nobody uses is not looked into, as in Envoy.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use ringway_tls::{SanMatcher, SanPattern, SanRegex, SanType, Validation};

use super::Context;
use crate::compatibility::refuse_unsupported;
use crate::message::{Message, Value};
use crate::problem::Origin;

/// The static secrets by name; each kind has names of its own.
#[derive(Default)]
pub(super) struct Secrets {
    pub(super) certificates: HashMap<String, CertificateSource>,
    pub(super) validations: HashMap<String, ValidationSource>,
    pub(super) ticket_keys: HashMap<String, Vec<Data>>,
}

/// A `DataSource` and where it stands.
#[derive(Clone)]
pub(super) struct Data {
    pub(super) source: DataSource,
    pub(super) origin: Origin,
    /// The secret of a source that it came with: what that holds may change, and it stays the same secret.
    pub(super) secret: Option<Arc<str>>,
}

/// `envoy.config.core.v3.DataSource`.
#[derive(Clone)]
pub(super) enum DataSource {
    /// `filename`, and the `watched_directory` of whom it belongs to.
    File(String, Option<String>),
    /// The others.
    Here(Vec<u8>),
}

/// `TlsCertificate`.
#[derive(Clone)]
pub(super) struct CertificateSource {
    pub(super) chain: Option<Data>,
    pub(super) key: Option<Data>,
    pub(super) origin: Origin,
}

/// `CertificateValidationContext`. Two are combined field by field.
#[derive(Clone)]
pub(super) struct ValidationSource {
    /// But for what stands in the next two.
    pub(super) rules: Validation,
    pub(super) trusted_ca: Option<Data>,
    pub(super) crl: Option<Data>,
    /// Where each of the names in `rules` stands.
    pub(super) name_origins: Vec<Origin>,
    pub(super) origin: Origin,
}

impl ValidationSource {
    /// `CombinedCertificateValidationContext`: what the secret sets is laid over the default, lists one behind the other.
    pub(super) fn overlaid(mut self, over: ValidationSource) -> Self {
        let (own, rules) = (&mut self.rules, over.rules);
        own.only_verify_leaf_cert_crl |= rules.only_verify_leaf_cert_crl;
        own.allow_expired_certificate |= rules.allow_expired_certificate;
        own.accept_untrusted |= rules.accept_untrusted;
        own.subject_alt_names.extend(rules.subject_alt_names);
        self.name_origins.extend(over.name_origins);
        own.certificate_hashes.extend(rules.certificate_hashes);
        own.spki_hashes.extend(rules.spki_hashes);
        own.max_verify_depth = rules.max_verify_depth.or(own.max_verify_depth);
        self.trusted_ca = over.trusted_ca.or(self.trusted_ca);
        self.crl = over.crl.or(self.crl);
        self
    }
}

/// `static_resources.secrets`.
pub(super) fn secrets(context: &mut Context<'_>, message: &Message) -> Secrets {
    let mut secrets = Secrets::default();
    context.each(message, "secrets", |context, message| {
        refuse_unsupported(message, context.report);
        let name = message.text("name").to_owned();
        let is_new = if let Some(found) = context.inside(message, "tls_certificate", certificate) {
            secrets.certificates.insert(name, found).is_none()
        } else if let Some(found) = context.inside(message, "validation_context", validation) {
            secrets.validations.insert(name, found).is_none()
        } else if let Some(found) = context.inside(message, "session_ticket_keys", ticket_keys) {
            secrets.ticket_keys.insert(name, found).is_none()
        } else {
            true
        };
        if !is_new {
            // Envoy: "Duplicate static TlsCertificate secret name".
            context.problem(message, "name", format!("a second secret {:?} of its kind", message.text("name")));
        }
    });
    secrets
}

/// A secret that came by itself.
pub(crate) struct SecretDraft(Secret);

enum Secret {
    Certificate(CertificateSource),
    Validation(Box<ValidationSource>),
    TicketKeys(Vec<Data>),
    /// Of a type that nobody asks for.
    Other,
}

/// Without what it holds.
impl fmt::Debug for SecretDraft {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretDraft")
    }
}

impl SecretDraft {
    pub(super) fn certificate(&self) -> Option<CertificateSource> {
        match &self.0 {
            Secret::Certificate(found) => Some(found.clone()),
            _ => None,
        }
    }

    pub(super) fn validation(&self) -> Option<ValidationSource> {
        match &self.0 {
            Secret::Validation(found) => Some((**found).clone()),
            _ => None,
        }
    }

    pub(super) fn ticket_keys(&self) -> Option<Vec<Data>> {
        match &self.0 {
            Secret::TicketKeys(found) => Some(found.clone()),
            _ => None,
        }
    }

    /// All that it holds: whatever that is, it is this secret.
    fn data(&mut self) -> impl Iterator<Item = &mut Data> {
        let (some, keys) = match &mut self.0 {
            Secret::Certificate(found) => ([found.chain.as_mut(), found.key.as_mut()], &mut [][..]),
            Secret::Validation(found) => ([found.trusted_ca.as_mut(), found.crl.as_mut()], &mut [][..]),
            Secret::TicketKeys(keys) => ([None, None], &mut keys[..]),
            Secret::Other => ([None, None], &mut [][..]),
        };
        some.into_iter().flatten().chain(keys)
    }
}

/// `Secret`, as it comes by SDS; `None` where it has a problem.
pub(super) fn secret(context: &mut Context<'_>, message: &Message) -> Option<SecretDraft> {
    refuse_unsupported(message, context.report);
    let name = message.text("name");
    let field = context.report.enter_field(&format!("secret {name:?}"));
    let secret = if message.get("tls_certificate").is_some() {
        context.inside(message, "tls_certificate", certificate).map(Secret::Certificate)
    } else if message.get("validation_context").is_some() {
        context.inside(message, "validation_context", validation).map(|found| Secret::Validation(Box::new(found)))
    } else if message.get("session_ticket_keys").is_some() {
        context.inside(message, "session_ticket_keys", ticket_keys).map(Secret::TicketKeys)
    } else {
        Some(Secret::Other)
    };
    context.report.leave(field);
    let mut draft = SecretDraft(secret?);
    let name: Arc<str> = name.into();
    draft.data().for_each(|data| data.secret = Some(name.clone()));
    Some(draft)
}

pub(super) fn certificate(context: &mut Context<'_>, message: &Message) -> Option<CertificateSource> {
    refuse_unsupported(message, context.report);
    let directory = watched_directory(context, message);
    let origin = origin(context, message);
    let chain = data(context, message, "certificate_chain", directory.as_deref());
    let key = data(context, message, "private_key", directory.as_deref());
    Some(CertificateSource { chain, key, origin })
}

pub(super) fn validation(context: &mut Context<'_>, message: &Message) -> Option<ValidationSource> {
    refuse_unsupported(message, context.report);
    let directory = watched_directory(context, message);
    let origin = origin(context, message);
    let trusted_ca = data(context, message, "trusted_ca", directory.as_deref());
    let crl = data(context, message, "crl", directory.as_deref());
    let typed = context.each(message, "match_typed_subject_alt_names", |context, message| {
        Some(vec![(subject_alt_name(context, message)?, self::origin(context, message))])
    });
    let untyped = context.each(message, UNTYPED, |context, message| {
        let (pattern, origin) = (san_pattern(context, message)?, self::origin(context, message));
        let any = [SanType::Dns, SanType::Uri, SanType::Email, SanType::IpAddress];
        Some(any.map(|san_type| (SanMatcher { san_type, ..pattern.clone() }, origin.clone())).to_vec())
    });
    if !typed.is_empty() && !untyped.is_empty() {
        // Envoy refuses both, too: who fits either list would be let in.
        context.problem(message, UNTYPED, "not beside match_typed_subject_alt_names");
    }
    let (names, name_origins) = typed.into_iter().chain(untyped).flatten().flatten().unzip();
    let flag = |name| message.boolean(name).unwrap_or(false);
    let rules = Validation {
        trusted_ca: None,
        crl: None,
        only_verify_leaf_cert_crl: flag("only_verify_leaf_cert_crl"),
        subject_alt_names: names,
        certificate_hashes: message.texts("verify_certificate_hash").map(str::to_owned).collect(),
        spki_hashes: message.texts("verify_certificate_spki").map(str::to_owned).collect(),
        allow_expired_certificate: flag("allow_expired_certificate"),
        accept_untrusted: message.number("trust_chain_verification") == ACCEPT_UNTRUSTED,
        max_verify_depth: message.uint("max_verify_depth"),
    };
    Some(ValidationSource { rules, trusted_ca, crl, name_origins, origin })
}

const UNTYPED: &str = "match_subject_alt_names";

/// `CertificateValidationContext.TrustChainVerification`.
const ACCEPT_UNTRUSTED: i32 = 1;

/// `TlsSessionTicketKeys`.
pub(super) fn ticket_keys(context: &mut Context<'_>, message: &Message) -> Option<Vec<Data>> {
    refuse_unsupported(message, context.report);
    let field = context.report.enter_field("keys");
    let mut keys = Vec::new();
    for (index, source) in message.messages("keys").enumerate() {
        let size = context.report.enter_item(index);
        keys.extend(data_source(context, source, None));
        context.report.leave(size);
    }
    context.report.leave(field);
    Some(keys)
}

/// `SubjectAltNameMatcher`.
fn subject_alt_name(context: &mut Context<'_>, message: &Message) -> Option<SanMatcher> {
    refuse_unsupported(message, context.report);
    let pattern = context.inside(message, "matcher", san_pattern)?;
    let san_type = match message.number("san_type") {
        1 => SanType::Email,
        2 => SanType::Dns,
        3 => SanType::Uri,
        4 => SanType::IpAddress,
        _ => return None, // refused above
    };
    Some(SanMatcher { san_type, ..pattern })
}

/// `StringMatcher`; the type of the name is set by the caller.
fn san_pattern(context: &mut Context<'_>, message: &Message) -> Option<SanMatcher> {
    refuse_unsupported(message, context.report);
    let text = |name| message.get(name).map(|_| message.text(name).to_owned());
    let pattern = match message.get("safe_regex") {
        Some(_) => SanPattern::Regex(context.inside(message, "safe_regex", |context, message| {
            let pattern = super::matcher::pattern(context, message);
            let cannot = |reason| format!("not a regular expression that can be used: {reason}");
            SanRegex::new(pattern).map_err(|reason| context.problem(message, "regex", cannot(reason))).ok()
        })?),
        None => text("exact")
            .map(SanPattern::Exact)
            .or_else(|| text("prefix").map(SanPattern::Prefix))
            .or_else(|| text("suffix").map(SanPattern::Suffix))
            .or_else(|| text("contains").map(SanPattern::Contains))?,
    };
    let ignore_case = message.boolean("ignore_case").unwrap_or(false);
    Some(SanMatcher { san_type: SanType::Dns, pattern, ignore_case })
}

/// The field `name`, a `DataSource`.
fn data(context: &mut Context<'_>, message: &Message, name: &str, directory: Option<&str>) -> Option<Data> {
    context.inside(message, name, |context, source| data_source(context, source, directory))
}

fn data_source(context: &mut Context<'_>, message: &Message, directory: Option<&str>) -> Option<Data> {
    refuse_unsupported(message, context.report);
    const KINDS: [&str; 4] = ["filename", "inline_bytes", "inline_string", "environment_variable"];
    let set = message.fields.iter().find(|set| KINDS.contains(&set.field.name()));
    let Some(set) = set else {
        // Envoy's words.
        context.report.problem(message.place, "DataSource cannot be empty");
        return None;
    };
    let name = set.field.name();
    let origin = context.report.origin(name, set.place);
    let source = match &set.value {
        Value::Text(path) if name == "filename" => DataSource::File(path.clone(), directory.map(str::to_owned)),
        Value::Text(variable) if name == "environment_variable" => match std::env::var_os(variable) {
            Some(value) => DataSource::Here(value.into_encoded_bytes()),
            None => {
                // Envoy's words.
                let rule = format!("Environment variable doesn't exist: {variable}");
                context.report.problem_at(&origin, rule);
                return None;
            }
        },
        Value::Text(text) => DataSource::Here(text.clone().into_bytes()),
        Value::Bytes(bytes) => DataSource::Here(bytes.clone()),
        other => unreachable!("a data source holds no {other:?}"),
    };
    Some(Data { source, origin, secret: None })
}

fn watched_directory(context: &mut Context<'_>, message: &Message) -> Option<String> {
    context.inside(message, "watched_directory", |context, message| {
        refuse_unsupported(message, context.report);
        Some(message.text("path").to_owned())
    })
}

/// Where a message stands.
fn origin(context: &mut Context<'_>, message: &Message) -> Origin {
    context.report.here(message.place)
}
