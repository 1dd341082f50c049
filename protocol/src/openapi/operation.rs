//! One call of the API: a method of a path.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::errors;
use crate::error::ErrorCode;

/// One call of the API, under construction.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) errors: Vec<ErrorCode>,
    id: String,
    tag: &'static str,
    summary: &'static str,
    description: Option<&'static str>,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: BTreeMap<String, Value>,
    security: Option<Value>,
}

impl Operation {
    /// The call `method` of `path`, by a name for programs and one for people. It can fail as every call can.
    pub(super) fn new(
        method: &'static str,
        path: &'static str,
        id: impl Into<String>,
        summary: &'static str,
    ) -> Self {
        Self {
            method,
            path,
            errors: errors::OF_EVERY_CALL.to_vec(),
            id: id.into(),
            tag: "",
            summary,
            description: None,
            parameters: Vec::new(),
            body: None,
            answers: BTreeMap::new(),
            security: None,
        }
    }

    pub(super) fn tagged(mut self, tag: &'static str) -> Self {
        self.tag = tag;
        self
    }

    pub(super) fn described(mut self, description: &'static str) -> Self {
        self.description = Some(description);
        self
    }

    pub(super) fn parameter(mut self, parameter: Value) -> Self {
        self.parameters.push(parameter);
        self
    }

    pub(super) fn parameters(mut self, parameters: Vec<Value>) -> Self {
        self.parameters.extend(parameters);
        self
    }

    /// A header that the caller may send.
    pub(super) fn header(self, name: &str, description: &str, schema: &Value) -> Self {
        self.parameter(json!({
            "name": name, "in": "header", "description": description, "schema": schema,
        }))
    }

    /// A JSON body of this schema.
    pub(super) fn json_body(self, schema: &Value, required: bool) -> Self {
        self.body(&json!({"application/json": {"schema": schema}}), required)
            .fails(&[ErrorCode::PayloadTooLarge, ErrorCode::UnsupportedMediaType])
    }

    pub(super) fn body(mut self, content: &Value, required: bool) -> Self {
        self.body = Some(json!({"required": required, "content": content}));
        self
    }

    /// An answer with this content, by media type; null for an answer without.
    pub(super) fn answers(self, status: &str, description: &str, content: &Value) -> Self {
        self.answers_with(status, description, content, &json!({}))
    }

    /// The same with headers.
    pub(super) fn answers_with(
        mut self,
        status: &str,
        description: &str,
        content: &Value,
        headers: &Value,
    ) -> Self {
        let mut answer = json!({"description": description});
        if !content.is_null() {
            answer["content"] = content.clone();
        }
        if headers != &json!({}) {
            answer["headers"] = headers.clone();
        }
        self.answers.insert(status.to_owned(), answer);
        self
    }

    /// An answer of JSON of this schema.
    pub(super) fn json(self, status: &str, description: &str, schema: &Value) -> Self {
        self.answers(
            status,
            description,
            &json!({"application/json": {"schema": schema}}),
        )
    }

    /// What else it can fail with.
    pub(super) fn fails(mut self, codes: &[ErrorCode]) -> Self {
        self.errors.extend(codes);
        self
    }

    /// It needs no key, and so cannot fail for the want of one.
    pub(super) fn open_to_all(mut self) -> Self {
        self.errors = vec![ErrorCode::OriginNotAllowed];
        self.security = Some(json!([]));
        self
    }

    /// A ticket stands in for the key.
    pub(super) fn takes_ticket(mut self) -> Self {
        self.security = Some(json!([{"key": []}, {"ticket": []}]));
        self
    }

    pub(super) fn to_json(&self) -> Value {
        let mut answers: Map<String, Value> = self.answers.clone().into_iter().collect();
        for (status, codes) in errors::by_status(&self.errors) {
            let name = errors::name(&codes);
            let reference = json!({"$ref": format!("#/components/responses/{name}")});
            answers.entry(status.to_string()).or_insert(reference);
        }
        let mut operation = json!({
            "operationId": self.id,
            "tags": [self.tag],
            "summary": self.summary,
            "responses": answers,
        });
        if !self.parameters.is_empty() {
            operation["parameters"] = self.parameters.clone().into();
        }
        let optional = [
            ("description", self.description.map(Value::from)),
            ("requestBody", self.body.clone()),
            ("security", self.security.clone()),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                operation[name] = value;
            }
        }
        operation
    }
}
