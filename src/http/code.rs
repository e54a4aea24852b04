//! The `code` of an error, and the status that goes with it: the one list of them.

use axum::http::StatusCode;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident $text:literal $status:ident,)+) => {
        /// What went wrong, for a program.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(super) enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// Every code.
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$name,)+];

            /// As the envelope has it.
            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The status that it comes with.
            pub(super) const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)+ }
            }

            /// What it means.
            pub(super) fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_start(),)+ }
            }
        }
    };
}

codes! {
    /// A field is missing, of the wrong type or out of range; the message names it.
    InvalidRequest "INVALID_REQUEST" BAD_REQUEST,
    /// The call has not been answered yet.
    CallNotAnswered "CALL_NOT_ANSWERED" BAD_REQUEST,
    /// There is nothing to answer.
    CallNotRinging "CALL_NOT_RINGING" BAD_REQUEST,
    /// A gather runs already on this call.
    GatherInProgress "GATHER_IN_PROGRESS" BAD_REQUEST,
    /// No key, or one that is not valid.
    Unauthorized "UNAUTHORIZED" UNAUTHORIZED,
    /// Less than one credit is free.
    InsufficientCredits "INSUFFICIENT_CREDITS" PAYMENT_REQUIRED,
    /// The key may not show this caller id.
    CallerIdDenied "CALLER_ID_DENIED" FORBIDDEN,
    /// The key, its trunks or the server do not call this number.
    DestinationDenied "DESTINATION_DENIED" FORBIDDEN,
    /// No such path.
    NotFound "NOT_FOUND" NOT_FOUND,
    /// No such call of this key is live.
    CallNotFound "CALL_NOT_FOUND" NOT_FOUND,
    /// No such recording of this key.
    RecordingNotFound "RECORDING_NOT_FOUND" NOT_FOUND,
    /// No such sound file.
    SoundNotFound "SOUND_NOT_FOUND" NOT_FOUND,
    /// The path has other methods: see Allow.
    MethodNotAllowed "METHOD_NOT_ALLOWED" METHOD_NOT_ALLOWED,
    /// The body did not arrive in time.
    BodyTimeout "BODY_TIMEOUT" REQUEST_TIMEOUT,
    /// The Idempotency-Key was sent with another request.
    IdempotencyConflict "IDEMPOTENCY_CONFLICT" CONFLICT,
    /// The body is too large.
    BodyTooLarge "BODY_TOO_LARGE" PAYLOAD_TOO_LARGE,
    /// The body is compressed.
    UnsupportedEncoding "UNSUPPORTED_ENCODING" UNSUPPORTED_MEDIA_TYPE,
    /// The range lies outside of the file.
    RangeNotSatisfiable "RANGE_NOT_SATISFIABLE" RANGE_NOT_SATISFIABLE,
    /// The key has made as many requests as it may in an hour.
    RateLimit "RATE_LIMIT" TOO_MANY_REQUESTS,
    /// The key has as many calls up as it may.
    ConcurrentCalls "CONCURRENT_CALLS" TOO_MANY_REQUESTS,
    /// The key has placed as many calls this second as it may.
    CallsPerSecond "CALLS_PER_SECOND" TOO_MANY_REQUESTS,
    /// The call has as much queued as it may.
    QueueFull "QUEUE_FULL" TOO_MANY_REQUESTS,
    /// A fault of ours.
    InternalError "INTERNAL_ERROR" INTERNAL_SERVER_ERROR,
    /// Speech or a sound could not be prepared.
    PromptFailed "PROMPT_FAILED" INTERNAL_SERVER_ERROR,
    /// Every trunk was tried, and none took the call.
    OriginationFailed "ORIGINATION_FAILED" INTERNAL_SERVER_ERROR,
    /// The key has no trunk that is dialled.
    NoTrunks "NO_TRUNKS" SERVICE_UNAVAILABLE,
    /// The server carries as many calls as it can.
    AtCapacity "AT_CAPACITY" SERVICE_UNAVAILABLE,
    /// The trunks carry as many calls as they may.
    TrunkLimit "TRUNK_LIMIT" SERVICE_UNAVAILABLE,
    /// The server is about to stop and takes no new calls.
    Draining "DRAINING" SERVICE_UNAVAILABLE,
    /// The database is away; live calls go on.
    DatabaseUnavailable "DATABASE_UNAVAILABLE" SERVICE_UNAVAILABLE,
}
