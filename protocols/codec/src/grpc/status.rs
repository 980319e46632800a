//! How a call ended: gRPC's statuses, and what stands for them where nobody said one.

use crate::http2::Code;

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// gRPC's statuses ("Status codes and their use in gRPC").
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Status { $($(#[$doc])* $name = $number,)* }

        impl Status {
            /// All of them, each at its number.
            pub const ALL: [Status; 17] = [$(Status::$name,)*];
        }
    };
}

statuses! {
    /// It went well.
    Ok = 0,
    /// The caller no longer wants it.
    Cancelled = 1,
    /// Nobody knows.
    Unknown = 2,
    /// The caller said what can never be.
    InvalidArgument = 3,
    /// It took too long.
    DeadlineExceeded = 4,
    /// What was asked for is not there.
    NotFound = 5,
    /// What was to be made is there.
    AlreadyExists = 6,
    /// The caller may not.
    PermissionDenied = 7,
    /// Something is used up.
    ResourceExhausted = 8,
    /// The system is not in the state for it.
    FailedPrecondition = 9,
    /// Others were in the way.
    Aborted = 10,
    /// Past the end.
    OutOfRange = 11,
    /// There is no such method.
    Unimplemented = 12,
    /// Something is broken.
    Internal = 13,
    /// Nobody is there; trying again may help.
    Unavailable = 14,
    /// Data are lost.
    DataLoss = 15,
    /// Nobody knows who the caller is.
    Unauthenticated = 16,
}

impl Status {
    /// Its number in `grpc-status`.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The status of a number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// Of a value of `grpc-status`: decimal digits. `None` also for a number that no status has.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        Self::from_number(parse_number(value)?)
    }

    /// What a response of this HTTP status, without a `grpc-status`, stands for (doc/http-grpc-status-mapping.md).
    #[must_use]
    pub const fn from_http(status: u16) -> Self {
        match status {
            400 => Self::Internal,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::Unimplemented,
            429 | 502 | 503 | 504 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }

    /// What a stream that was reset stands for (doc/PROTOCOL-HTTP2.md, "HTTP2 Transport Mapping").
    #[must_use]
    pub fn from_reset(code: Code) -> Self {
        match code {
            Code::REFUSED_STREAM => Self::Unavailable,
            Code::CANCEL => Self::Cancelled,
            Code::ENHANCE_YOUR_CALM => Self::ResourceExhausted,
            Code::INADEQUATE_SECURITY => Self::PermissionDenied,
            _ => Self::Internal,
        }
    }
}

/// 1*DIGIT within 32 bits.
fn parse_number(value: &[u8]) -> Option<u32> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u32, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 { None } else { number.checked_mul(10)?.checked_add(u32::from(digit)) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_places() {
        for (number, status) in Status::ALL.iter().enumerate() {
            assert_eq!(usize::from(status.number()), number);
            assert_eq!(Status::parse(number.to_string().as_bytes()), Some(*status));
        }
        for none in ["", "17", "-1", "+1", " 1", "1 ", "x", "4294967296", "99999999999"] {
            assert_eq!(Status::parse(none.as_bytes()), None, "{none}");
        }
        assert_eq!(Status::parse(b"007"), Some(Status::PermissionDenied));
    }

    #[test]
    fn http_statuses_and_resets_stand_for_statuses() {
        for (http, status) in [
            (400, Status::Internal),
            (401, Status::Unauthenticated),
            (403, Status::PermissionDenied),
            (404, Status::Unimplemented),
            (429, Status::Unavailable),
            (502, Status::Unavailable),
            (503, Status::Unavailable),
            (504, Status::Unavailable),
            (200, Status::Unknown),
            (500, Status::Unknown),
            (418, Status::Unknown),
        ] {
            assert_eq!(Status::from_http(http), status, "{http}");
        }
        for (code, status) in [
            (Code::NO_ERROR, Status::Internal),
            (Code::PROTOCOL_ERROR, Status::Internal),
            (Code::INTERNAL_ERROR, Status::Internal),
            (Code::FLOW_CONTROL_ERROR, Status::Internal),
            (Code::FRAME_SIZE_ERROR, Status::Internal),
            (Code::REFUSED_STREAM, Status::Unavailable),
            (Code::CANCEL, Status::Cancelled),
            (Code::COMPRESSION_ERROR, Status::Internal),
            (Code::CONNECT_ERROR, Status::Internal),
            (Code::ENHANCE_YOUR_CALM, Status::ResourceExhausted),
            (Code::INADEQUATE_SECURITY, Status::PermissionDenied),
        ] {
            assert_eq!(Status::from_reset(code), status, "{code:?}");
        }
    }
}
