//! What matches strings, fields and chances, wherever it stands.

use super::Covered;

pub(super) static TABLE: &[Covered] = &[
    Covered {
        message: "envoy.type.matcher.v3.RegexMatcher",
        done: "regex google_re2",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.type.matcher.v3.RegexMatcher.GoogleRE2",
        done: "",
        only: &[],
        ignored: &[(
            "max_program_size",
            "a compiled expression has a limit of its own (docs/LIMITS.md); Envoy's counts RE2's instructions",
        )],
        refused: "",
    },
    Covered {
        message: "envoy.type.matcher.v3.StringMatcher",
        done: "exact prefix suffix safe_regex contains ignore_case",
        only: &[],
        ignored: &[],
        refused: "custom",
    },
    Covered {
        message: "envoy.config.route.v3.HeaderMatcher",
        done: "name exact_match safe_regex_match range_match present_match prefix_match suffix_match contains_match \
               string_match invert_match treat_missing_header_as_empty",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered { message: "envoy.type.v3.Int64Range", done: "start end", only: &[], ignored: &[], refused: "" },
    Covered {
        message: "envoy.config.route.v3.QueryParameterMatcher",
        done: "name string_match present_match",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.core.v3.RuntimeFractionalPercent",
        done: "default_value runtime_key",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered { message: "envoy.type.v3.Percent", done: "value", only: &[], ignored: &[], refused: "" },
    Covered {
        message: "envoy.type.v3.FractionalPercent",
        done: "numerator denominator",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.type.matcher.v3.RegexMatchAndSubstitute",
        done: "pattern substitution",
        only: &[],
        ignored: &[],
        refused: "",
    },
];
