//! Sandboxes: state, options, destroy, scopes, tickets.

use serde_json::{Value, json};

use super::super::operation::Operation;
use super::super::schemas::Schemas;
use super::content::events;
use super::{AWAKE, REACHES};
use crate::error::ErrorCode;
use crate::limit::LimitList;
use crate::sandbox::{
    Created, EventList, OptionsRequest, Receipt, Running, Sandbox, SandboxList, SandboxQuery,
    ScopeEvent,
};
use crate::ticket::Ticket;

const ALL: &str = "/v1/sandbox";
const ONE: &str = "/v1/sandbox/{sandbox}";

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let mut operations = whole(schemas);
    operations.extend(parts(schemas));
    operations
}

fn whole(schemas: &mut Schemas) -> Vec<Operation> {
    let sandbox = schemas.answer::<Sandbox>();
    vec![
        Operation::new("post", ALL, "createSandbox", "A new name, with options if there are any")
            .described("Fields that are not known are ignored, as Cloudflare's bridge does.")
            .json_body(&bridge_options(schemas), false)
            .json("200", "The name.", &schemas.answer::<Created>())
            .fails(REACHES),
        Operation::new("get", ALL, "listSandboxes", "Those that run or have a record")
            .parameters(schemas.query::<SandboxQuery>())
            .json("200", "A page of them.", &schemas.answer::<SandboxList>())
            .fails(&[ErrorCode::InvalidCursor])
            .fails(REACHES),
        Operation::new("get", ONE, "getSandbox", "Its state; looking writes nothing")
            .json("200", "As of now; an id that was never used is `stopped`.", &sandbox)
            .fails(REACHES),
        Operation::new("patch", ONE, "setOptions", "Change its options")
            .described("What is absent stays as it is. Options outlive the container.")
            .json_body(&schemas.request::<OptionsRequest>(), false)
            .json("200", "Its state after it.", &sandbox)
            .fails(REACHES),
        Operation::new("delete", ONE, "destroySandbox", "End everything in it, and its container")
            .described("Idempotent, also for an id that was never used. Records, logs of builds and options stay.")
            .header(
                "Prefer",
                "`return=representation` asks for the receipt.",
                &json!({"type": "string"}),
            )
            .answers("204", "It is destroyed.", &Value::Null)
            .json("200", "It is destroyed; the receipt.", &schemas.answer::<Receipt>())
            .fails(REACHES),
    ]
}

fn parts(schemas: &mut Schemas) -> Vec<Operation> {
    let scope = schemas.answer::<ScopeEvent>();
    vec![
        Operation::new("get", "/v1/sandbox/{sandbox}/running", "isRunning", "Whether its container runs")
            .json("200", "Whether it does.", &schemas.answer::<Running>())
            .fails(REACHES),
        Operation::new("get", "/v1/sandbox/{sandbox}/events", "listEvents", "What happened to it, and why")
            .json("200", "Newest last.", &schemas.answer::<EventList>()),
        Operation::new("get", "/v1/sandbox/{sandbox}/limits", "listLimits", "The limits in force")
            .json("200", "Each by its name.", &schemas.answer::<LimitList>())
            .fails(AWAKE),
        Operation::new("post", "/v1/sandbox/{sandbox}/tickets", "createTicket", "A ticket for one stream")
            .json("200", "The ticket.", &schemas.answer::<Ticket>()),
        Operation::new("post", "/v1/sandbox/{sandbox}/scope", "openScope", "Tie it to its caller")
            .described(
                "A stream: the event, then comments for as long as the caller holds it. When it ends before the \
                 scope is deleted, the sandbox is destroyed 30 s later.",
            )
            .answers("200", "The scope.", &json!({"text/event-stream": events(&scope)}))
            .fails(REACHES),
        Operation::new("delete", "/v1/sandbox/{sandbox}/scope/{scope}", "closeScope", "Untie it from its caller")
            .answers("204", "It is closed; idempotent.", &Value::Null)
            .fails(&[ErrorCode::ContainerUnavailable]),
    ]
}

/// The options as the bridge reads them: with fields that it does not know.
fn bridge_options(schemas: &mut Schemas) -> Value {
    let options = schemas.request::<OptionsRequest>();
    schemas.derive("BridgeOptionsRequest", &options, |schema| {
        schema.remove("additionalProperties");
    })
}
