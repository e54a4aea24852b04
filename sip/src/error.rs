//! Errors of this crate, sorted by whom to blame.
//!
//! *The far end*: a value that does not parse ([`ParseError`]), a header that is missing, repeated
//! or bad ([`FieldError`]), bytes that are no message ([`wire::Error`](crate::wire::Error)). These
//! end in a counter and an answer, never in an `Err` up the stack. *The caller*: text that must
//! not get into a header ([`ForbiddenText`]). Start at [`FieldError`], which wraps the first.

/// A value that does not follow its grammar; the text says which rule was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(pub &'static str);

/// A header field that was asked for and cannot be had. Blame: who sent the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// There is no such header field.
    #[error("no {0} header field")]
    Missing(&'static str),
    /// A header field that may stand once stands more than once (RFC 3261 §7.3.1).
    #[error("more than one {0} header field")]
    Repeated(&'static str),
    /// The value does not parse.
    #[error("bad {name} header field: {problem}")]
    Bad {
        /// The header's canonical name.
        name: &'static str,
        /// What is wrong with its value.
        problem: ParseError,
    },
}

/// Text with CR, LF or NUL in it, or a name that is no token: it could end a header field and
/// begin another. Blame: our own caller, who passed on unchecked input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("text that cannot stand in a header field: {0}")]
pub struct ForbiddenText(pub &'static str);
