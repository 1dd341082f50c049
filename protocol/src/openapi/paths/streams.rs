//! Terminals and the ports of services.

use serde_json::{Value, json};

use super::super::operation::Operation;
use super::super::schemas::Schemas;
use super::REACHES;
use crate::error::ErrorCode;
use crate::terminal::{TerminalEvent, TerminalQuery, TerminalRequest};

const PTY: &str = "/v1/sandbox/{sandbox}/pty";
const PORT: &str = "/v1/sandbox/{sandbox}/ports/{port}";
const PORT_PATH: &str = "/v1/sandbox/{sandbox}/ports/{port}/{path}";

/// The methods that the document has names for. A service gets every other one too.
const METHODS: [&str; 8] = [
    "get", "head", "post", "put", "patch", "delete", "options", "trace",
];

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let mut operations = vec![terminal(schemas)];
    for method in METHODS {
        let mut letters = method.chars();
        let capital = letters.next().map(|letter| letter.to_ascii_uppercase());
        let name: String = capital.into_iter().chain(letters).collect();
        operations.push(port(method, PORT, format!("call{name}OfPort")));
        operations.push(port(method, PORT_PATH, format!("call{name}OfPortPath")));
    }
    operations
}

fn terminal(schemas: &mut Schemas) -> Operation {
    let messages = json!({
        "application/json": {
            "schema": {"oneOf": [schemas.request::<TerminalRequest>(), schemas.answer::<TerminalEvent>()]},
        },
    });
    Operation::new("get", PTY, "openTerminal", "A terminal, over WebSocket")
        .described(
            "Binary messages are what is typed and what is shown, text messages are JSON. What was shown before \
             comes first, then `ready`, then what is shown, then `exit` or `error`. Without `session` a new \
             shell that ends with its socket; with it, one that lasts and is joined again.",
        )
        .takes_ticket()
        .parameters(schemas.query::<TerminalQuery>())
        .answers("101", "The WebSocket. Its text messages:", &messages)
        .fails(&[ErrorCode::UpgradeRequired])
        .fails(REACHES)
}

fn port(method: &'static str, path: &'static str, id: String) -> Operation {
    let any = json!({"*/*": {"schema": {}}});
    let operation = Operation::new(method, path, id, "A request to a service in the sandbox")
        .described(
            "Method, path, query, headers and body reach the service as they are, but for `Authorization`, \
             `Cookie` and `cf-*`. Its answer comes back as it is, but for `Set-Cookie` and \
             `Service-Worker-Allowed`, and in an origin of its own.",
        )
        .takes_ticket()
        .fails(&[ErrorCode::InvalidPort, ErrorCode::ServiceNotResponding])
        .fails(REACHES);
    let operation = match method {
        "get" => operation.answers("101", "The service's WebSocket.", &Value::Null),
        "head" | "options" | "trace" => operation,
        _ => operation.body(&any, false),
    };
    operation.answers(
        "default",
        "What the service answers, with the service's status.",
        &any,
    )
}
