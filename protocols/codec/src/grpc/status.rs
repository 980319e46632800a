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

/// What is known of the end of a call, from what was seen of its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A `grpc-status`, in trailers or in a head that was all (Trailers-Only).
    Said(Status),
    /// A `grpc-status` that is none.
    Invalid,
    /// None: what stands for it is taken from the HTTP status, or is `Unknown` after a 200.
    Missing(Status),
}

impl Outcome {
    /// Of `grpc-status` in the trailers, else of that in the head, else of the HTTP status.
    #[must_use]
    pub fn of(http_status: u16, in_head: Option<&[u8]>, in_trailers: Option<&[u8]>) -> Self {
        match in_trailers.or(in_head) {
            Some(value) => Status::parse(value).map_or(Self::Invalid, Self::Said),
            None => Self::Missing(Status::from_http(http_status)),
        }
    }

    /// The status, `Unknown` for what is none.
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            Self::Said(status) | Self::Missing(status) => status,
            Self::Invalid => Status::Unknown,
        }
    }
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

    #[test]
    fn the_end_is_said_in_trailers_or_the_head_or_by_http() {
        for (http, head, trailers, expect) in [
            (200, None, Some("0"), Outcome::Said(Status::Ok)),
            (200, Some("0"), Some("5"), Outcome::Said(Status::NotFound)),
            (200, Some("14"), None, Outcome::Said(Status::Unavailable)),
            (503, None, None, Outcome::Missing(Status::Unavailable)),
            (200, None, None, Outcome::Missing(Status::Unknown)),
            (200, None, Some("x"), Outcome::Invalid),
        ] {
            let outcome = Outcome::of(http, head.map(str::as_bytes), trailers.map(str::as_bytes));
            assert_eq!(outcome, expect);
        }
        assert_eq!(Outcome::Invalid.status(), Status::Unknown);
    }
}
