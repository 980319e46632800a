//! What is counted of TLS: `listener.<address>.ssl.` and `cluster.<name>.ssl.`.
//!
//! It stands in the block of a listener or of a cluster and is allocated with the first handshake; ciphers, versions and curves are shown once
//! they were met, as Envoy makes each when it first counts.

use std::sync::OnceLock;

use crate::{Counter, Kind, Row, Shown};

/// The numbers of TLS of one block, if there ever was a handshake.
#[derive(Debug, Default)]
pub struct TlsPart(OnceLock<Box<TlsStats>>);

impl TlsPart {
    /// To write them; allocated at the first call. For the one writer.
    #[inline]
    pub fn write(&self) -> &TlsStats {
        self.0.get_or_init(Box::default)
    }

    /// To read them.
    #[inline]
    pub fn read(&self) -> Option<&TlsStats> {
        self.0.get().map(|stats| &**stats)
    }
}

/// A block that has such a part.
pub(crate) trait HasTls: 'static {
    fn part(&self) -> &TlsPart;
}

macro_rules! tls_stats {
    (
        $($(#[$doc:meta])* $field:ident,)*;
        $($(#[$list_doc:meta])* $list:ident $prefix:literal { $($at:literal $name:literal,)* })*
    ) => {
        /// `ssl.`: what one worker did in TLS on one side.
        #[derive(Debug, Default)]
        pub struct TlsStats {
            $($(#[$doc])* pub $field: Counter,)*
            $($(#[$list_doc])* $list: [Counter; [$($name),*].len()],)*
        }

        impl TlsStats {
            $(
                $(#[$list_doc])*
                pub fn $list(&self, name: &str) -> Option<&Counter> {
                    let at = [$($name),*].iter().position(|known| *known == name)?;
                    Some(&self.$list[at])
                }
            )*
        }

        /// The rows of a block that has them in a part.
        pub(crate) fn rows<B: HasTls>() -> Vec<Row<B>> {
            vec![
                $(Row {
                    name: concat!("ssl.", stringify!($field)),
                    kind: Kind::Counter,
                    value: |block: &B| block.part().read().map_or(0, |part| part.$field.value()),
                    shown: Shown::Once(|block: &B| block.part().read().is_some()),
                },)*
                $($(Row {
                    name: concat!("ssl.", $prefix, ".", $name),
                    kind: Kind::Counter,
                    value: |block: &B| block.part().read().map_or(0, |part| part.$list[$at].value()),
                    shown: Shown::Once(|block: &B| block.part().read().is_some_and(|part| part.$list[$at].value() > 0)),
                },)*)*
            ]
        }
    };
}

tls_stats! {
    /// Connections that ended for an error of TLS, those of certificates aside.
    connection_error,
    /// Handshakes that came to an end.
    handshake,
    /// Those that resumed a session.
    session_reused,
    /// Those in which the peer showed no certificate.
    no_certificate,
    /// Connections refused because a certificate was required and none came.
    fail_verify_no_cert,
    /// Connections refused for the peer's chain of certificates.
    fail_verify_error,
    /// Connections refused for the names in the peer's certificate.
    fail_verify_san,
    /// Connections refused for the hash of the peer's certificate.
    fail_verify_cert_hash,
    /// Handshakes that took longer than they may. Ringway's own: Envoy counts them as `downstream_cx_transport_socket_connect_timeout`.
    handshake_timeout,
    /// Handshakes refused because too many waited for their turn. Ringway's own.
    handshake_overflow,
    ;
    /// Handshakes by version.
    versions "versions" { 0 "TLSv1.2", 1 "TLSv1.3", }
    /// Handshakes by cipher.
    ciphers "ciphers" {
        0 "TLS_AES_128_GCM_SHA256",
        1 "TLS_AES_256_GCM_SHA384",
        2 "TLS_CHACHA20_POLY1305_SHA256",
        3 "ECDHE-ECDSA-AES128-GCM-SHA256",
        4 "ECDHE-ECDSA-AES256-GCM-SHA384",
        5 "ECDHE-ECDSA-CHACHA20-POLY1305",
        6 "ECDHE-RSA-AES128-GCM-SHA256",
        7 "ECDHE-RSA-AES256-GCM-SHA384",
        8 "ECDHE-RSA-CHACHA20-POLY1305",
    }
    /// Handshakes by the group of their key exchange.
    curves "curves" { 0 "X25519", 1 "P-256", 2 "P-384", 3 "X25519MLKEM768", }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Block, ListenerStats};

    #[test]
    fn nothing_is_there_before_it_is_written() {
        let listener = ListenerStats::default();
        let shown = |listener: &ListenerStats| {
            let rows = ListenerStats::table().iter().filter(|row| row.name.starts_with("ssl."));
            let rows = rows.filter(|row| matches!(row.shown, Shown::Once(is) if is(listener)));
            rows.map(|row| (row.name, (row.value)(listener))).collect::<Vec<_>>()
        };
        assert_eq!(shown(&listener), []);
        listener.tls.write().handshake.add(2);
        listener.tls.write().ciphers("TLS_AES_128_GCM_SHA256").expect("it is known").add(1);
        assert!(listener.tls.write().curves("P-521").is_none());
        let shown = shown(&listener);
        assert!(shown.contains(&("ssl.handshake", 2)) && shown.contains(&("ssl.fail_verify_san", 0)), "{shown:?}");
        assert!(shown.contains(&("ssl.ciphers.TLS_AES_128_GCM_SHA256", 1)), "{shown:?}");
        assert!(!shown.iter().any(|row| row.0.contains("curves")), "{shown:?}");
    }
}
