//! What a configuration changes in heads: fields that are removed and fields that are added, at each level.
//!
//! It says what is wanted; the data side carries it out, since only it knows the head.

use crate::format::Format;

/// `request_headers_to_*` and `response_headers_to_*` of one level.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeaderMutations {
    /// Of the request, before it goes up.
    pub request: HeaderMutation,
    /// Of the response, before it goes to the client.
    pub response: HeaderMutation,
}

/// One head's part of [`HeaderMutations`]: what is removed goes first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeaderMutation {
    /// `headers_to_remove`: names in lower case.
    pub remove: Vec<String>,
    /// `headers_to_add`, in the order of the file.
    pub add: Vec<HeaderAddition>,
}

/// `HeaderValueOption`.
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderAddition {
    /// `header.key`, in lower case as Envoy sends it.
    pub name: String,
    /// `header.value`.
    pub value: Format,
    /// `append_action`.
    pub action: AppendAction,
    /// `keep_empty_value`: also where the value comes out empty.
    pub keep_empty: bool,
}

/// `HeaderValueOption.HeaderAppendAction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendAction {
    /// Always: another value beside those that are there.
    AppendIfExistsOrAdd,
    /// Only where there is none.
    AddIfAbsent,
    /// In the place of those that are there, if any.
    OverwriteIfExistsOrAdd,
    /// Only in the place of those that are there.
    OverwriteIfExists,
}
