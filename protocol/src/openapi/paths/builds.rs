//! Builds.

use serde_json::json;

use super::super::operation::Operation;
use super::super::schemas::Schemas;
use super::logs::{log, streams};
use super::{REACHES, SPAWNS};
use crate::build::{Build, BuildList, BuildRequest};
use crate::error::ErrorCode;
use crate::routes::BUILD_ID_HEADER;

const ALL: &str = "/v1/sandbox/{sandbox}/builds";
const ONE: &str = "/v1/sandbox/{sandbox}/builds/{build}";
const LOGS: &str = "/v1/sandbox/{sandbox}/builds/{build}/logs";

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let build = schemas.answer::<Build>();
    vec![
        start(schemas),
        Operation::new(
            "get",
            ALL,
            "listBuilds",
            "What was built; kept after the destroy",
        )
        .json("200", "Newest first.", &schemas.answer::<BuildList>()),
        Operation::new("get", ONE, "getBuild", "The record of a build")
            .json("200", "The record.", &build)
            .fails(&[ErrorCode::BuildNotFound]),
        Operation::new(
            "delete",
            ONE,
            "cancelBuild",
            "End a build, and destroy its sandbox",
        )
        .json(
            "200",
            "The final record; of one that has ended, the one it has.",
            &build,
        )
        .fails(&[ErrorCode::BuildNotFound])
        .fails(REACHES),
        log(
            Operation::new(
                "get",
                LOGS,
                "getBuildLogs",
                "What a build printed, and prints",
            )
            .fails(&[ErrorCode::BuildNotFound]),
            schemas,
        ),
    ]
}

fn start(schemas: &mut Schemas) -> Operation {
    let build = schemas.answer::<Build>();
    let named =
        json!({BUILD_ID_HEADER: {"$ref": format!("#/components/headers/{BUILD_ID_HEADER}")}});
    let mut forms = streams(schemas);
    forms["application/json"] = json!({"schema": build});
    Operation::new("post", ALL, "startBuild", "Run a command, stream its output, destroy the sandbox")
        .described(
            "The events of the log, then one of type `build`, sent only after the sandbox is destroyed. With \
             `Accept: application/json` the final record instead, when it is there; with `Prefer: respond-async` \
             202 and the record at once.",
        )
        .header("Prefer", "`respond-async` answers at once.", &json!({"type": "string"}))
        .json_body(&schemas.request::<BuildRequest>(), true)
        .answers_with("200", "The log as it is printed, or the final record.", &forms, &named)
        .answers_with(
            "202",
            "It was written down; it goes on by itself.",
            &json!({"application/json": {"schema": build}}),
            &named,
        )
        .fails(&[ErrorCode::BuildInProgress, ErrorCode::ProcessAlreadyExists])
        .fails(SPAWNS)
        .fails(REACHES)
}
