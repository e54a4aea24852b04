//! Methods, and the token they and other names are made of.
#![warn(clippy::indexing_slicing)]

use super::lex;
use crate::error::ParseError;
use std::fmt;

/// A `token` of RFC 3261 §25.1: at least one character, none of them a separator, white space or
/// control character.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token(Box<str>);

impl Token {
    /// Reads a token.
    ///
    /// # Errors
    /// If `text` is empty or has a character that no token has.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if lex::is_token(text) { Ok(Self(text.into())) } else { Err(ParseError("no token")) }
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! methods {
    ($($name:ident $text:literal $doc:literal,)*) => {
        /// A request's method; case matters (RFC 3261 §7.1).
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Method {
            $(#[doc = $doc] $name,)*
            /// Any other method: to be answered with 501, or 405.
            Other(Token),
        }

        impl Method {
            /// Reads a method.
            ///
            /// # Errors
            /// If `text` is no token.
            pub fn parse(text: &str) -> Result<Self, ParseError> {
                match text {
                    $($text => Ok(Self::$name),)*
                    text => Token::parse(text).map(Self::Other),
                }
            }

            /// Its text as on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Other(token) => token.as_str(),
                }
            }
        }
    };
}

methods! {
    Invite "INVITE" "RFC 3261 §13.",
    Ack "ACK" "RFC 3261 §13, §17.1.1.3.",
    Bye "BYE" "RFC 3261 §15.",
    Cancel "CANCEL" "RFC 3261 §9.",
    Options "OPTIONS" "RFC 3261 §11.",
    Register "REGISTER" "RFC 3261 §10.",
    Info "INFO" "RFC 6086.",
    Prack "PRACK" "RFC 3262.",
    Update "UPDATE" "RFC 3311.",
    Subscribe "SUBSCRIBE" "RFC 6665.",
    Notify "NOTIFY" "RFC 6665.",
    Refer "REFER" "RFC 3515.",
    Message "MESSAGE" "RFC 3428.",
    Publish "PUBLISH" "RFC 3903.",
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
