//! What the platform says when it cannot give a container, and what that is for the client; pure.
//!
//! The texts are those of Cloudflare's runtime, of workerd and of Docker. None of them is an interface, so that
//! what is not known here counts as worth another try.

use sandbox_protocol::error::{ErrorBody, ErrorCode};

use crate::error::{UNKNOWN, unavailable};

/// What a refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is none to be had for now: trying again at once makes it worse.
    Full(&'static str),
    /// Something went wrong on the way that need not go wrong again.
    Passing(&'static str),
    /// It will be so every time.
    Lasting,
    /// Nothing that is known here.
    Unknown,
}

/// Parts of the platform's messages, in lower case, and what each means; the first that is found counts.
const KNOWN: [(&str, Refusal); 26] = [
    ("no container instance", Refusal::Full("noInstance")),
    (
        "maximum number of running container instances",
        Refusal::Full("maxInstances"),
    ),
    (
        "requesting too many containers",
        Refusal::Full("rateLimited"),
    ),
    ("no such image", Refusal::Lasting),
    ("ran out of memory", Refusal::Lasting),
    ("too many subprocesses", Refusal::Lasting),
    ("no application that matches", Refusal::Lasting),
    ("no container application assigned", Refusal::Lasting),
    ("did not call start", Refusal::Lasting),
    ("reset because its code was updated", CODE_UPDATED),
    ("this script has been upgraded", CODE_UPDATED),
    ("container port not found", NOT_LISTENING),
    ("not listening", NOT_LISTENING),
    ("failed to verify port", NOT_LISTENING),
    ("checking for ports", EXITED),
    ("exited with unexpected exit code", EXITED),
    ("signalled the container to exit", EXITED),
    ("container did not start", START_FAILED),
    ("container failed to start", START_FAILED),
    ("already running", START_FAILED),
    ("monitor failed to find container", START_FAILED),
    ("network connection lost", CONNECTION_LOST),
    ("container suddenly disconnected", CONNECTION_LOST),
    ("timed out", TIMED_OUT),
    ("timeout", TIMED_OUT),
    ("aborted", TIMED_OUT),
];

const CODE_UPDATED: Refusal = Refusal::Passing("codeUpdated");
const NOT_LISTENING: Refusal = Refusal::Passing("notListening");
const EXITED: Refusal = Refusal::Passing("exited");
const START_FAILED: Refusal = Refusal::Passing("startFailed");
const CONNECTION_LOST: Refusal = Refusal::Passing("connectionLost");
const TIMED_OUT: Refusal = Refusal::Passing("timedOut");

impl Refusal {
    /// What `message` of the platform means.
    pub(crate) fn of(message: &str) -> Self {
        let said = message.to_ascii_lowercase();
        let known = KNOWN.iter().find(|(text, _)| said.contains(text));
        known.map_or(Self::Unknown, |(_, refusal)| *refusal)
    }

    /// Whether going on to ask for the same container is of no use.
    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Full(_) | Self::Lasting)
    }

    /// The error for the client: 503 with a reason, or 500 where another try is of no use.
    pub(crate) fn error(self) -> ErrorBody {
        match self {
            Self::Full("maxInstances") => unavailable(
                "maxInstances",
                "as many containers run as this deployment may have",
            )
            .suggest("destroy a sandbox, or raise max_instances in wrangler.toml"),
            Self::Full("rateLimited") => unavailable(
                "rateLimited",
                "containers are asked for faster than the platform gives them",
            ),
            Self::Full(reason) => {
                unavailable(reason, "the platform has no container to give right now")
            }
            Self::Passing(reason) => unavailable(reason, "the container did not start"),
            Self::Unknown => unavailable(UNKNOWN, "the container did not start"),
            Self::Lasting => ErrorBody::new(
                ErrorCode::InternalError,
                "the container cannot start, and trying again will not help; the Worker's log has the detail",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use sandbox_protocol::error::ErrorCode;

    use super::Refusal;
    use crate::error::retry_after_s;

    /// Whole messages, as the platform has been seen to send them or as its sources have them.
    const RETRIED: [(&str, &str, u32); 23] = [
        (
            "there is no container instance that can be provided to this durable object",
            "noInstance",
            10,
        ),
        (
            "Error: There is no Container instance available at this time.",
            "noInstance",
            10,
        ),
        (
            "Maximum number of running container instances exceeded. Try again later, or try configuring a higher value for max_instances",
            "maxInstances",
            10,
        ),
        (
            "you are requesting too many containers per second, please backoff",
            "rateLimited",
            10,
        ),
        (
            "Durable Object reset because its code was updated.",
            "codeUpdated",
            3,
        ),
        (
            "This script has been upgraded. Please send a new request to connect to the new version.",
            "codeUpdated",
            3,
        ),
        ("container port not found", "notListening", 3),
        (
            "the container is not listening in the TCP address 10.0.0.1:9711",
            "notListening",
            3,
        ),
        ("Container is not listening to port 9711", "notListening", 3),
        (
            "Failed to verify port 9711 is available after 20000ms, last error: x",
            "notListening",
            3,
        ),
        (
            "Container crashed while checking for ports, did you start the container and setup the entrypoint correctly?",
            "exited",
            3,
        ),
        (
            "Error: Container exited with unexpected exit code: 137",
            "exited",
            3,
        ),
        ("runtime signalled the container to exit: 143", "exited", 3),
        ("container did not start after 8000ms", "startFailed", 3),
        ("Container failed to start", "startFailed", 3),
        (
            "start() cannot be called on a container that is already running.",
            "startFailed",
            3,
        ),
        ("Monitor failed to find container", "startFailed", 3),
        ("Network connection lost.", "connectionLost", 3),
        (
            "Container suddenly disconnected, try again",
            "connectionLost",
            3,
        ),
        ("The operation timed out", "timedOut", 3),
        ("no answer: timeout", "timedOut", 3),
        ("The operation was aborted", "timedOut", 3),
        ("something that nobody has seen", "unknown", 5),
    ];

    #[test]
    fn what_may_go_better_next_time_is_unavailable_with_its_reason() {
        for (message, reason, seconds) in RETRIED {
            let error = Refusal::of(message).error();
            assert_eq!(error.code, ErrorCode::ContainerUnavailable, "{message}");
            assert_eq!(error.context.reason.as_deref(), Some(reason), "{message}");
            assert_eq!(error.context.retryable, Some(true), "{message}");
            assert_eq!(retry_after_s(reason), seconds, "{message}");
            let shown = serde_json::to_string(&error).unwrap();
            assert!(!shown.contains(message), "the detail is for the log");
        }
    }

    #[test]
    fn what_will_go_wrong_every_time_is_an_error_of_ours() {
        for message in [
            "No such image: cloudflare-dev/sandbox:1",
            "Container ran out of memory",
            "too many subprocesses",
            "there is no application that matches the durable object",
            "no container application assigned to this namespace",
            "the durable object did not call start",
        ] {
            let refusal = Refusal::of(message);
            assert!(refusal.is_final(), "{message}");
            assert_eq!(refusal.error().code, ErrorCode::InternalError, "{message}");
        }
    }

    #[test]
    fn only_what_is_full_or_lasting_ends_a_start_at_once() {
        for (message, reason, seconds) in RETRIED {
            assert_eq!(
                Refusal::of(message).is_final(),
                seconds == 10,
                "{reason}: {message}"
            );
        }
    }
}
