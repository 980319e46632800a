//! Bodies: the chunked coding byte by byte, and where it is refused.

use crate::check::{check, refused};
use ringway_protocols::Rule;
use ringway_protocols::script::Side::Request;

const HEAD: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: x-hop\r\n\r\n";
const SAYS: &str = "POST / @a 1.1 chunked keep";

fn reads(body: &str, expect: &str) {
    check(Request, format!("{HEAD}{body}").as_bytes(), &format!("{SAYS}{expect}"));
}

fn refuses(body: &[u8], rule: Rule) {
    let mut wire = HEAD.as_bytes().to_vec();
    wire.extend_from_slice(body);
    refused(Request, &wire, rule);
}

#[test]
fn chunks() {
    reads("5\r\nhello\r\n0\r\n\r\n", " \"hello\" · end");
    reads("5\r\nhello\r\nB\r\n wide world\r\n000\r\n\r\n", " \"hello wide world\" · end");
    reads("0\r\n\r\n", " · end");
    reads("00000000000000A\r\n0123456789\r\n0\r\n\r\n", " \"0123456789\" · end");
    reads("5\r\nhel", " \"hel\" … more");
    reads("5\r\nhello\r\n0\r\n", " \"hello\" … more");
    reads("ffffffffffffffff\r\nx", " \"x\" … more");
    reads("2\r\n\r\n\r\n0\r\n\r\n", " \"\\r\\n\" · end");
    reads("0\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n", " · GET / @b 1.1 none keep · end");
}

#[test]
fn chunk_extensions_are_checked_and_skipped() {
    for extension in [
        ";a",
        ";a=b",
        ";a=\"b\"",
        " ;a",
        "\t ; \ta\t = \t\"b c\\\" \\\\ ;=\u{e9}\" ;d=e",
        ";a;b;c=d",
        ";a=\"\"",
        ";a=b ;c",
        ";!#$%=&'*",
    ] {
        reads(&format!("5{extension}\r\nhello\r\n0{extension}\r\n\r\n"), " \"hello\" · end");
    }
    for (extension, rule) in [
        (";", Rule::ChunkExtension),
        ("; ", Rule::ChunkExtension),
        (";;a", Rule::ChunkExtension),
        (";a;", Rule::ChunkExtension),
        (";a=", Rule::ChunkExtension),
        (";a==b", Rule::ChunkExtension),
        (";=b", Rule::ChunkExtension),
        (";a=b=c", Rule::ChunkExtension),
        (";a b", Rule::ChunkExtension),
        (";a=b c", Rule::ChunkExtension),
        (";a ", Rule::ChunkExtension),
        (";a=b ", Rule::ChunkExtension),
        (";a=\"b\"c", Rule::ChunkExtension),
        (";a=\"b", Rule::ChunkExtension),
        (";a=\"b\\", Rule::ChunkExtension),
        (";a=\"\x01\"", Rule::ChunkExtension),
        (";a\0", Rule::ChunkExtension),
        (";a=\u{e9}", Rule::ChunkExtension),
        (";a=(b)", Rule::ChunkExtension),
        (";\n", Rule::ChunkExtension),
        (";a\n", Rule::ChunkExtension),
        (";a=b\n", Rule::ChunkExtension),
        (";\rX", Rule::ChunkExtension),
        (";a\rX", Rule::ChunkLine),
        (";a\r\r", Rule::ChunkLine),
        (" ", Rule::ChunkSize),
        ("\t", Rule::ChunkSize),
        (" a", Rule::ChunkSize),
    ] {
        refuses(format!("5{extension}\r\nhello\r\n0\r\n\r\n").as_bytes(), rule);
    }
}

#[test]
fn chunk_sizes_are_hexdig_alone() {
    for line in [
        "",
        " 5",
        "+5",
        "-5",
        "0x5",
        "5_0",
        "5.",
        "g",
        ";a",
        "5h",
        "\u{ff15}",
        "00000000000000005",
        "10000000000000000",
    ] {
        refuses(format!("{line}\r\nhello\r\n0\r\n\r\n").as_bytes(), Rule::ChunkSize);
    }
}

#[test]
fn chunk_lines_and_data_end_in_crlf() {
    refuses(b"5\nhello\r\n0\r\n\r\n", Rule::ChunkLine);
    refuses(b"5\rhello\r\n0\r\n\r\n", Rule::ChunkLine);
    refuses(b"5\r\rhello\r\n0\r\n\r\n", Rule::ChunkLine);
    refuses(b"5\r\nhello\n0\r\n\r\n", Rule::ChunkEnd);
    refuses(b"5\r\nhello\r0\r\n\r\n", Rule::ChunkEnd);
    refuses(b"5\r\nhello0\r\n\r\n", Rule::ChunkEnd);
    refuses(b"5\r\nhelloworld\r\n0\r\n\r\n", Rule::ChunkEnd);
    refuses(b"5\r\nhello \r\n0\r\n\r\n", Rule::ChunkEnd);
    refuses(b"5\r\nhello\r\n\r\n0\r\n\r\n", Rule::ChunkSize);
    refuses(b"0\n\r\n", Rule::ChunkLine);
    refuses(b"0\r\n\n", Rule::BareLf);
    refuses(b"0\r\n\r\r\n", Rule::BareCr);
}

#[test]
fn trailers_are_read_and_filtered() {
    reads("0\r\nX-Sum: 1\r\nY:\r\n\r\n", " trailers X-Sum=1|Y=| · end");
    reads("1\r\nx\r\n0;a=b\r\ngrpc-status: 0\r\n\r\n", " \"x\" trailers grpc-status=0| · end");
    // RFC 9110 §6.5.1: never what frames, routes, authenticates or says how to read the content.
    reads(
        "0\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\nHost: b\r\nAuthorization: x\r\nX-Forwarded-For: y\r\nSet-Cookie: z\r\n\r\n",
        " · end",
    );
    // RFC 9110 §7.6.1: what Connection names in the head is for one hop in the trailer section as well.
    reads("0\r\nX-Hop: 1\r\nX-End: 2\r\n\r\n", " trailers X-End=2| · end");
    reads("0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n", " trailers X=y| · GET / @b 1.1 none keep · end");
    reads("0\r\nX: y\r\n", " … more");
    refuses(b"0\r\nX : y\r\n\r\n", Rule::SpaceBeforeColon);
    refuses(b"0\r\n X: y\r\n\r\n", Rule::ObsFold);
    refuses(b"0\r\nX: y\r\n z\r\n\r\n", Rule::ObsFold);
    refuses(b"0\r\nX: a\0b\r\n\r\n", Rule::FieldValue);
    refuses(b"0\r\nX: a\rb\r\n\r\n", Rule::BareCr);
    refuses(b"0\r\nX: a\n\r\n", Rule::BareLf);
    refuses(b"0\r\nGET / HTTP/1.1\r\n\r\n", Rule::SpaceBeforeColon);
    refuses(b"0\r\nX\r\n\r\n", Rule::FieldName);
}
