//! The one error body, and the one table from code to HTTP status.

use serde::{Deserialize, Serialize};

use crate::process::Member;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $wire:literal => $status:literal,)*) => {
        /// What went wrong, for a program. The HTTP status follows from it ([`ErrorCode::status`]).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
        pub enum ErrorCode {
            $($(#[doc = $doc])* #[serde(rename = $wire)] $name,)*
        }

        impl ErrorCode {
            /// Every code there is, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The HTTP status that goes with this code.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// The code as it is written on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $wire,)* }
            }
        }
    };
}

codes! {
    /// The request is malformed; the message names the field or the rule.
    ValidationFailed = "VALIDATION_FAILED" => 400,
    /// The command is empty, or its executable cannot be found.
    InvalidCommand = "INVALID_COMMAND" => 400,
    /// The working directory does not exist or is none.
    InvalidCwd = "INVALID_CWD" => 400,
    /// The cursor cannot be read.
    InvalidCursor = "INVALID_CURSOR" => 400,
    /// The port is out of range or the supervisor's own.
    InvalidPort = "INVALID_PORT" => 400,
    /// No key, or a wrong one.
    Unauthorized = "UNAUTHORIZED" => 401,
    /// The path leaves the workspace, or the kernel refused.
    PermissionDenied = "PERMISSION_DENIED" => 403,
    /// A browser page of another origin asked.
    OriginNotAllowed = "ORIGIN_NOT_ALLOWED" => 403,
    /// No process of this id is known.
    ProcessNotFound = "PROCESS_NOT_FOUND" => 404,
    /// No build of this id is known.
    BuildNotFound = "BUILD_NOT_FOUND" => 404,
    /// No such file.
    FileNotFound = "FILE_NOT_FOUND" => 404,
    /// No such route.
    RouteNotFound = "ROUTE_NOT_FOUND" => 404,
    /// The route exists, the method does not; `Allow` lists those that do.
    MethodNotAllowed = "METHOD_NOT_ALLOWED" => 405,
    /// The time to wait passed; the process is untouched.
    ProcessReadyTimeout = "PROCESS_READY_TIMEOUT" => 408,
    /// A process of this id runs, started by another request.
    ProcessAlreadyExists = "PROCESS_ALREADY_EXISTS" => 409,
    /// This sandbox runs a build already.
    BuildInProgress = "BUILD_IN_PROGRESS" => 409,
    /// The process ended before it was ready.
    ProcessExitedBeforeReady = "PROCESS_EXITED_BEFORE_READY" => 409,
    /// The cursor belongs to another boot or an earlier run.
    StaleCursor = "STALE_CURSOR" => 409,
    /// The process takes no input, or no more.
    StdinClosed = "STDIN_CLOSED" => 409,
    /// The sandbox sleeps, and this call may not wake it.
    SandboxNotRunning = "SANDBOX_NOT_RUNNING" => 409,
    /// A destroy came in between.
    OperationInterrupted = "OPERATION_INTERRUPTED" => 409,
    /// The body is larger than the limit in the context.
    PayloadTooLarge = "PAYLOAD_TOO_LARGE" => 413,
    /// The body is not of the type that this route reads.
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE" => 415,
    /// The route speaks WebSocket only.
    UpgradeRequired = "UPGRADE_REQUIRED" => 426,
    /// The limit of processes is reached.
    TooManyProcesses = "TOO_MANY_PROCESSES" => 429,
    /// The limit of followers is reached.
    TooManySubscribers = "TOO_MANY_SUBSCRIBERS" => 429,
    /// The kernel could not start the process.
    SpawnFailed = "SPAWN_FAILED" => 500,
    /// Processes survived SIGKILL; the receipt is in the context.
    KillIncomplete = "KILL_INCOMPLETE" => 500,
    /// A defect on our side; the log has the detail.
    InternalError = "INTERNAL_ERROR" => 500,
    /// Nobody listens on the service's port.
    ServiceNotResponding = "SERVICE_NOT_RESPONDING" => 502,
    /// The container cannot be had now; `Retry-After` says when to ask again.
    ContainerUnavailable = "CONTAINER_UNAVAILABLE" => 503,
    /// The Worker has no key configured and therefore serves nobody.
    ApiKeyMissing = "API_KEY_MISSING" => 503,
}

impl ErrorCode {
    /// The code written as `text`, if there is one.
    #[must_use]
    pub fn from_wire(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// A sentence for a person.
    pub error: String,
    /// The same for a program.
    pub code: ErrorCode,
    /// The facts behind it.
    #[serde(default)]
    pub context: Box<ErrorContext>,
    /// What the caller could do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
}

impl ErrorBody {
    /// An error with nothing in its context.
    #[must_use]
    pub fn new(code: ErrorCode, error: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            code,
            context: Box::default(),
            suggestion: None,
        }
    }

    /// The same error with the facts that `fill` writes into its context.
    #[must_use]
    pub fn with(mut self, fill: impl FnOnce(&mut ErrorContext)) -> Self {
        fill(&mut self.context);
        self
    }

    /// The same error with advice.
    #[must_use]
    pub fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }
}

impl std::fmt::Display for ErrorBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.error, self.code.as_str())
    }
}

impl std::error::Error for ErrorBody {}

/// The facts behind an error; each is there only where it applies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ErrorContext {
    /// The field of the request that was refused, as a path (`limits.logBytes`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The process that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_id: Option<String>,
    /// The build that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// The name of the limit that was reached, as in `GET …/limits`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// The value of that limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_value: Option<u64>,
    /// Why, in one word, where one code has several reasons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether the same request may succeed when it is sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    /// The path of the file, folder or archive member that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How many archive members had been written when it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_members: Option<u64>,
    /// The error of the kernel, by name (`ENOENT`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    /// The condition that was waited for, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// The error of the last probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// The last lines that the process printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_tail: Option<Vec<String>>,
    /// The exit code of the process that ended too early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Milliseconds that were waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Who got the signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signalled: Option<Vec<Member>>,
    /// Who had to be killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub killed: Option<Vec<Member>>,
    /// Who lives on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub survivors: Option<Vec<Member>>,
    /// The methods that the route has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
}
