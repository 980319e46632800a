//! `/certs`, Envoy's `Certificates`: what the certificates in force say, and when they end. Never a key: none is known here.

use std::time::{SystemTime, UNIX_EPOCH};

use ringway_control_client::{CertificateFacts, ContextCertificates};
use ringway_tls::AltName;
use serde_json::{Value, json};

use super::Context;
use super::http::{Request, Response};

/// Each TLS context with its certificates.
pub(crate) fn certs(context: &Context, _: &Request) -> Response {
    let now = seconds(SystemTime::now());
    let list = |all: &[CertificateFacts]| all.iter().map(|facts| certificate(facts, now)).collect::<Vec<Value>>();
    let of_context = |context: &ContextCertificates| json!({ "ca_cert": list(&context.authorities), "cert_chain": list(&context.own) });
    let certificates: Vec<Value> = context.state.view().certificates.iter().map(of_context).collect();
    Response::json(&json!({ "certificates": certificates }))
}

/// Envoy's `CertificateDetails`.
fn certificate(facts: &CertificateFacts, now: i64) -> Value {
    let CertificateFacts { path, certificate } = facts;
    let names = certificate.names.iter().map(|name| match name {
        AltName::Dns(name) => json!({ "dns": name }),
        AltName::Uri(name) => json!({ "uri": name }),
        AltName::Email(name) => json!({ "email": name }),
        AltName::Ip(address) => json!({ "ip_address": address.to_string() }),
    });
    json!({
        "path": path,
        "serial_number": certificate.serial,
        "subject_alt_names": names.collect::<Vec<Value>>(),
        "days_until_expiration": certificate.days_until_expiration(now).to_string(),
        "valid_from": instant(certificate.not_before),
        "expiration_time": instant(certificate.not_after),
    })
}

/// Whole days until the first of all certificates ends: 0 when it is over, [`u32::MAX`] where there is none.
pub(crate) fn days_until_first(contexts: &[ContextCertificates], now: SystemTime) -> u64 {
    let first = contexts.iter().filter_map(ContextCertificates::first_expiration).min();
    let left = |end: i64| u64::try_from((end - seconds(now)) / SECONDS_OF_DAY).unwrap_or(0);
    first.map_or(u64::from(u32::MAX), left)
}

const SECONDS_OF_DAY: i64 = 86_400;

/// Since 1970; negative before.
fn seconds(now: SystemTime) -> i64 {
    match now.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(error) => -i64::try_from(error.duration().as_secs()).unwrap_or(i64::MAX),
    }
}

/// RFC 3339, whole seconds; certificates may end when a `SystemTime` of nanoseconds has long done so.
fn instant(seconds: i64) -> String {
    let (days, of_day) = (seconds.div_euclid(SECONDS_OF_DAY), seconds.rem_euclid(SECONDS_OF_DAY));
    // Years begin in March, so that the leap day is the last; an era is 400 of them.
    let since = days + 719_468;
    let (era, of_era) = (since.div_euclid(146_097), since.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = era * 400 + year + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_whole_seconds() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_821_226_575, "2027-09-18T00:16:15Z"),
            (67_090_118_400, "4096-01-01T00:00:00Z"),
        ] {
            assert_eq!(instant(seconds), text);
        }
    }

    #[test]
    fn without_certificates_there_is_no_end() {
        assert_eq!(days_until_first(&[], UNIX_EPOCH), 4_294_967_295);
    }
}
