//! The service itself.

use serde_json::json;

use super::super::operation::Operation;
use super::super::schemas::Schemas;
use crate::service::ServiceHealth;

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    vec![
        Operation::new("get", "/health", "health", "Whether the service is up")
            .open_to_all()
            .json("200", "It is.", &schemas.answer::<ServiceHealth>()),
        Operation::new("get", "/v1/openapi.json", "openapi", "This document").json(
            "200",
            "OpenAPI 3.1.",
            &json!({"type": "object"}),
        ),
    ]
}
