//! What a certificate says: the fields that matching, headers, logs and metrics ask for.
//!
//! It never judges: whether a certificate is to be trusted is `verify.rs`' business. Names are written as RFC 2253 has
//! them, as Envoy writes them into x-forwarded-client-cert and access logs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aws_lc_rs::digest;

use crate::der::{self, Reader};

/// Subject alternative names of one certificate that are kept; a peer's handshake is bounded, this bounds the list.
/// Worst case: 1,024 names in a certificate of at most 64 KiB.
const NAMES_MAX: usize = 1024;

/// What one certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The subject, RFC 2253.
    pub subject: String,
    /// The issuer, RFC 2253.
    pub issuer: String,
    /// The serial number, lower-case hexadecimal, two digits a byte, without leading zero bytes.
    pub serial: String,
    /// The subject alternative names, in their order.
    pub names: Vec<AltName>,
    /// The first second of validity, since 1970-01-01 UTC.
    pub not_before: i64,
    /// The last second of validity, since 1970-01-01 UTC.
    pub not_after: i64,
}

/// One subject alternative name (RFC 5280 §4.2.1.6) of a kind that is matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AltName {
    /// dNSName.
    Dns(String),
    /// uniformResourceIdentifier.
    Uri(String),
    /// rfc822Name.
    Email(String),
    /// iPAddress.
    Ip(IpAddr),
}

impl AltName {
    /// Its text: what matchers are asked about.
    pub fn text(&self) -> String {
        match self {
            AltName::Dns(text) | AltName::Uri(text) | AltName::Email(text) => text.clone(),
            AltName::Ip(address) => address.to_string(),
        }
    }
}

/// The parts of a certificate by which others than names ask.
pub(crate) struct Parts<'a> {
    serial: &'a [u8],
    issuer: Reader<'a>,
    subject: Reader<'a>,
    not_before: i64,
    not_after: i64,
    /// SubjectPublicKeyInfo, whole.
    pub(crate) spki: &'a [u8],
    names: Option<&'a [u8]>,
}

impl Certificate {
    /// Reads a certificate's DER; `None` where it is none.
    pub fn read(der: &[u8]) -> Option<Certificate> {
        let parts = Parts::read(der)?;
        let mut names = Vec::new();
        let mut list = match parts.names {
            Some(extension) => Reader(extension).enter(der::SEQUENCE)?,
            None => Reader(&[]),
        };
        while names.len() < NAMES_MAX && !list.is_empty() {
            let value = list.value()?;
            names.extend(alt_name(value.tag, value.contents));
        }
        Some(Certificate {
            subject: name(parts.subject)?,
            issuer: name(parts.issuer)?,
            serial: serial(parts.serial),
            names,
            not_before: parts.not_before,
            not_after: parts.not_after,
        })
    }

    /// The URI names, as SPIFFE identities are.
    pub fn uris(&self) -> impl Iterator<Item = &str> {
        self.names.iter().filter_map(|name| match name {
            AltName::Uri(uri) => Some(uri.as_str()),
            _ => None,
        })
    }

    /// The DNS names.
    pub fn dns_names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().filter_map(|name| match name {
            AltName::Dns(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Whole days from `now` (seconds since 1970) to the end of validity; 0 once it is over (Envoy:
    /// `days_until_expiration`).
    pub fn days_until_expiration(&self, now: i64) -> u32 {
        u32::try_from((self.not_after - now) / 86_400).unwrap_or(0)
    }
}

impl<'a> Parts<'a> {
    /// RFC 5280 §4.1.
    pub(crate) fn read(der: &'a [u8]) -> Option<Parts<'a>> {
        let mut certificate = Reader(der).enter(der::SEQUENCE)?;
        let mut fields = certificate.enter(der::SEQUENCE)?;
        fields.expect(0xA0); // the version
        let serial = fields.expect(der::INTEGER)?.contents;
        fields.expect(der::SEQUENCE)?; // the signature's algorithm
        let issuer = fields.enter(der::SEQUENCE)?;
        let mut validity = fields.enter(der::SEQUENCE)?;
        let not_before = time(&mut validity)?;
        let not_after = time(&mut validity)?;
        let subject = fields.enter(der::SEQUENCE)?;
        let spki = fields.expect(der::SEQUENCE)?.whole;
        fields.expect(0x81); // issuerUniqueID
        fields.expect(0x82); // subjectUniqueID
        let mut names = None;
        if let Some(mut outer) = fields.enter(0xA3) {
            let mut extensions = outer.enter(der::SEQUENCE)?;
            while !extensions.is_empty() {
                let mut extension = extensions.enter(der::SEQUENCE)?;
                let oid = extension.expect(der::OID)?.contents;
                extension.expect(der::BOOLEAN);
                let value = extension.expect(der::OCTET_STRING)?.contents;
                if oid == SUBJECT_ALT_NAME {
                    names = Some(value);
                }
            }
        }
        Some(Parts { serial, issuer, subject, not_before, not_after, spki, names })
    }

    /// The seconds in which the certificate is valid.
    pub(crate) fn validity(&self) -> (i64, i64) {
        (self.not_before, self.not_after)
    }
}

const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1D, 0x11];

fn alt_name(tag: u8, contents: &[u8]) -> Option<AltName> {
    let text = || std::str::from_utf8(contents).ok().map(str::to_owned);
    match tag {
        0x81 => text().map(AltName::Email),
        0x82 => text().map(AltName::Dns),
        0x86 => text().map(AltName::Uri),
        0x87 => match contents.len() {
            4 => <[u8; 4]>::try_from(contents).ok().map(|octets| AltName::Ip(Ipv4Addr::from(octets).into())),
            16 => <[u8; 16]>::try_from(contents).ok().map(|octets| AltName::Ip(Ipv6Addr::from(octets).into())),
            _ => None,
        },
        _ => None,
    }
}

fn serial(contents: &[u8]) -> String {
    match contents.iter().position(|&byte| byte != 0) {
        Some(first) => hex(&contents[first..]),
        None => "0".to_owned(),
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// SHA-256, as fingerprints and `verify_certificate_hash` have it.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().expect("SHA-256 is 32 bytes")
}

/// UTCTime or GeneralizedTime as RFC 5280 §4.1.2.5 has them, to seconds since 1970.
pub(crate) fn time(reader: &mut Reader<'_>) -> Option<i64> {
    let value = reader.value()?;
    let (year, rest) = match (value.tag, value.contents.len()) {
        (der::UTC_TIME, 13) => {
            let year = digits(&value.contents[..2])?;
            (if year < 50 { 2000 + year } else { 1900 + year }, &value.contents[2..])
        }
        (der::GENERALIZED_TIME, 15) => (digits(&value.contents[..4])?, &value.contents[4..]),
        _ => return None,
    };
    if rest[10] != b'Z' {
        return None;
    }
    let [month, day, hour, minute, second] =
        [0, 2, 4, 6, 8].map(|at| digits(&rest[at..at + 2])).map(|number| number.unwrap_or(-1));
    let plausible = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    plausible.then(|| days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

/// Days since 1970-01-01 of a date of the Gregorian calendar: years begin in March, so that the leap day is the last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// A Name as RFC 2253 §2 writes it: the last relative name first.
fn name(mut sequence: Reader<'_>) -> Option<String> {
    let mut relative = Vec::new();
    while !sequence.is_empty() {
        let mut set = sequence.enter(der::SET)?;
        let mut parts = Vec::new();
        while !set.is_empty() {
            let mut attribute = set.enter(der::SEQUENCE)?;
            let oid = attribute.expect(der::OID)?.contents;
            let value = attribute.value()?;
            parts.push(format!("{}={}", attribute_name(oid), attribute_value(value)));
        }
        relative.push(parts.join("+"));
    }
    relative.reverse();
    Some(relative.join(","))
}

/// The short names that OpenSSL has; others as dotted numbers.
fn attribute_name(oid: &[u8]) -> String {
    let known = match oid {
        [0x55, 0x04, last] => match last {
            3 => "CN",
            4 => "SN",
            5 => "serialNumber",
            6 => "C",
            7 => "L",
            8 => "ST",
            9 => "street",
            10 => "O",
            11 => "OU",
            12 => "title",
            42 => "GN",
            _ => "",
        },
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 0x01, 1] => "UID",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 0x01, 25] => "DC",
        [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x01] => "emailAddress",
        _ => "",
    };
    if !known.is_empty() {
        return known.to_owned();
    }
    let mut text = String::new();
    let mut number = 0_u64;
    for &octet in oid {
        number = (number & (u64::MAX >> 7)) << 7 | u64::from(octet & 0x7F);
        if octet & 0x80 == 0 {
            if text.is_empty() {
                let first = (number / 40).min(2);
                text = format!("{first}.{}", number - first * 40);
            } else {
                text.push_str(&format!(".{number}"));
            }
            number = 0;
        }
    }
    text
}

/// An attribute's value with RFC 2253 §2.4's escapes; what is no UTF-8 or ASCII text is escaped byte by byte.
fn attribute_value(value: der::Value<'_>) -> String {
    const BMP_STRING: u8 = 0x1E;
    let units: String = match value.tag {
        BMP_STRING => {
            let units = value.contents.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        _ => match std::str::from_utf8(value.contents) {
            Ok(text) => text.to_owned(),
            Err(_) => value.contents.iter().map(|&byte| char::from(byte)).collect(), // T61String: Latin 1
        },
    };
    let mut text = String::with_capacity(units.len());
    let last = units.chars().count().wrapping_sub(1);
    for (index, unit) in units.chars().enumerate() {
        let edge = (unit == ' ' && (index == 0 || index == last)) || (unit == '#' && index == 0);
        if edge || matches!(unit, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            text.push('\\');
            text.push(unit);
        } else if unit.is_control() || !unit.is_ascii() {
            let mut utf8 = [0; 4];
            for byte in unit.encode_utf8(&mut utf8).bytes() {
                text.push_str(&format!("\\{byte:02X}"));
            }
        } else {
            text.push(unit);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_time(tag: u8, text: &str, expect: Option<i64>) {
        let mut bytes = vec![tag, text.len() as u8];
        bytes.extend_from_slice(text.as_bytes());
        assert_eq!(time(&mut Reader(&bytes)), expect, "{text}");
    }

    #[test]
    fn times() {
        check_time(der::UTC_TIME, "700101000000Z", Some(0));
        check_time(der::UTC_TIME, "491231235959Z", Some(2_524_607_999));
        check_time(der::UTC_TIME, "500101000000Z", Some(-631_152_000));
        check_time(der::GENERALIZED_TIME, "20240229120000Z", Some(1_709_208_000));
        check_time(der::GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799));
        check_time(der::GENERALIZED_TIME, "20241301000000Z", None);
        check_time(der::UTC_TIME, "7001010000000", None);
        check_time(der::UTC_TIME, "7001x1000000Z", None);
        check_time(der::INTEGER, "700101000000Z", None);
    }

    #[track_caller]
    fn check_value(tag: u8, contents: &[u8], expect: &str) {
        assert_eq!(attribute_value(der::Value { tag, contents, whole: &[] }), expect);
    }

    #[test]
    fn values_are_escaped() {
        check_value(0x0C, b"Acme, Inc.", "Acme\\, Inc.");
        check_value(0x0C, b" a ", "\\ a\\ ");
        check_value(0x0C, b"#1#", "\\#1#");
        check_value(0x0C, "Zürich".as_bytes(), "Z\\C3\\BCrich");
        check_value(0x14, b"Z\xFCrich", "Z\\C3\\BCrich");
        check_value(0x1E, &[0, b'a', 0, b'b'], "ab");
        check_value(0x0C, b"a\nb", "a\\0Ab");
        check_value(0x0C, b"", "");
    }

    #[test]
    fn unknown_attributes_are_dotted() {
        assert_eq!(attribute_name(&[0x55, 0x04, 0x0D]), "2.5.4.13");
        assert_eq!(attribute_name(&[0x2A, 0x03, 0x04]), "1.2.3.4");
        assert_eq!(attribute_name(&[0x88, 0x37, 0x03]), "2.999.3");
    }

    #[test]
    fn serials() {
        assert_eq!(serial(&[0x00, 0xAB, 0x01]), "ab01");
        assert_eq!(serial(&[0, 0x0F]), "0f");
        assert_eq!(serial(&[0]), "0");
    }
}
