//! PEM (RFC 7468) to certificates, keys and revocation lists, with errors that say which block is wrong.
//!
//! It never shows what is inside a block.

use rustls_pki_types::pem::{self, PemObject, SectionKind};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::certificate::Certificate;
use crate::error::{ContextError, Part};
use crate::options::Secret;

/// Blocks of one PEM text. The largest bundles of CAs in use have some 150; worst case 4,096 certificates of 2 KiB.
pub(crate) const BLOCKS_MAX: usize = 4096;

fn blocks(text: &[u8], part: Part) -> Result<Vec<(SectionKind, Vec<u8>)>, ContextError> {
    let mut found = Vec::new();
    for block in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
        let number = found.len() + 1;
        let block = block.map_err(|error| ContextError::new(part, format!("block {number}: {}", reason(&error))))?;
        if found.len() == BLOCKS_MAX {
            return Err(ContextError::new(part, format!("more than {BLOCKS_MAX} PEM blocks")));
        }
        found.push(block);
    }
    Ok(found)
}

/// The library's own text may quote the line, which may be part of a key.
fn reason(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "it has no END line",
        pem::Error::IllegalSectionStart { .. } => "its BEGIN line is not closed by dashes",
        pem::Error::Base64Decode(_) => "it is not base64",
        pem::Error::SectionTooLarge => "it is too large",
        _ => "it cannot be read",
    }
}

/// The certificates in their order: at least one.
pub(crate) fn certificates(
    text: &[u8],
    part: Part,
) -> Result<Vec<(CertificateDer<'static>, Certificate)>, ContextError> {
    let mut found = Vec::new();
    for (index, (kind, der)) in blocks(text, part)?.into_iter().enumerate() {
        if kind != SectionKind::Certificate {
            continue; // a key beside its chain in one file is usual
        }
        let read = Certificate::read(&der)
            .ok_or_else(|| ContextError::new(part, format!("block {}: it is no X.509 certificate", index + 1)))?;
        found.push((CertificateDer::from(der), read));
    }
    if found.is_empty() {
        return Err(ContextError::new(part, "there is no certificate in the PEM text"));
    }
    Ok(found)
}

/// The first private key.
pub(crate) fn private_key(text: &Secret, part: Part) -> Result<PrivateKeyDer<'static>, ContextError> {
    for (kind, der) in blocks(text.bytes(), part)? {
        if let Some(key) = PrivateKeyDer::from_pem(kind, der) {
            return Ok(key);
        }
    }
    let encrypted = text.bytes().windows(9).any(|window| window == b"ENCRYPTED");
    Err(ContextError::new(
        part,
        match encrypted {
            true => "the private key is encrypted, which is not supported",
            false => "there is no private key in the PEM text",
        },
    ))
}

/// The revocation lists: at least one.
pub(crate) fn revocation_lists(text: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, ContextError> {
    let lists: Vec<_> = blocks(text, Part::Crl)?
        .into_iter()
        .filter(|(kind, _)| *kind == SectionKind::Crl)
        .map(|(_, der)| CertificateRevocationListDer::from(der))
        .collect();
    match lists.is_empty() {
        true => Err(ContextError::new(Part::Crl, "there is no X509 CRL in the PEM text")),
        false => Ok(lists),
    }
}
