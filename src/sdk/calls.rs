//! The calls that a handle makes on its object: the protocol, with typed bodies.

use sandbox_protocol::error::ErrorBody;
use sandbox_protocol::id::{PROCESS_ID_RULE, ProcessId, SandboxId};
use sandbox_protocol::request::invalid;
use sandbox_protocol::sandbox::Receipt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use worker::durable::Stub;
use worker::wasm_bindgen::JsValue;
use worker::{Headers, Method, Response};

use super::{Content, Error};
use crate::platform;

/// The object of one sandbox.
pub(super) struct Calls {
    stub: Stub,
    id: SandboxId,
}

impl Calls {
    pub(super) fn new(stub: Stub, id: SandboxId) -> Self {
        Self { stub, id }
    }

    /// Asks for something that is there.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.json(Method::Get, path, None::<&()>).await
    }

    /// Sends `body` as JSON and reads JSON.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, Error> {
        let body = body.map(serde_json::to_string).transpose();
        let body = body.map_err(worker::Error::from)?;
        let headers = Headers::new();
        headers.set("Accept", "application/json")?;
        if body.is_some() {
            headers.set("Content-Type", "application/json")?;
        }
        let answer = self
            .send(method, path, headers, body.map(JsValue::from))
            .await?;
        read(answer).await
    }

    /// Sends bytes, with no more to be said about them.
    pub(super) async fn upload(
        &self,
        method: Method,
        path: &str,
        content: Content,
    ) -> Result<Response, Error> {
        self.send(method, path, Headers::new(), content.into_body())
            .await
    }

    /// Asks for bytes.
    pub(super) async fn download(&self, method: Method, path: &str) -> Result<Response, Error> {
        self.send(method, path, Headers::new(), None).await
    }

    /// Destroys the sandbox.
    pub(super) async fn destroy(&self) -> Result<Receipt, Error> {
        let headers = Headers::new();
        headers.set("Prefer", "return=representation")?;
        read(self.send(Method::Delete, "", headers, None).await?).await
    }

    /// Sends a call to `path` below the sandbox; a refusal is an error.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: Headers,
        body: Option<JsValue>,
    ) -> Result<Response, Error> {
        let mut answer = self.pass(method.as_ref(), path, &headers, body).await?;
        if answer.status_code() < 400 {
            return Ok(answer);
        }
        let (status, text) = (answer.status_code(), answer.text().await?);
        let body: ErrorBody = serde_json::from_str(&text).map_err(|_| Error::Unexpected {
            status,
            detail: text.trim().to_owned(),
        })?;
        Err(body.into())
    }

    /// Sends a call of any method to `path` below the sandbox, and hands its answer back whatever it says.
    pub(super) async fn pass(
        &self,
        method: &str,
        path: &str,
        headers: &Headers,
        body: Option<JsValue>,
    ) -> Result<Response, Error> {
        let url = format!("http://sandbox/v1/sandbox/{}{path}", self.id);
        let request = platform::request(method, &url, headers, body.as_ref())?;
        Ok(self.stub.fetch_with_request(request).await?)
    }
}

/// The JSON of an answer.
pub(super) async fn read<T: DeserializeOwned>(mut answer: Response) -> Result<T, Error> {
    let (status, text) = (answer.status_code(), answer.text().await?);
    serde_json::from_str(&text).map_err(|error| Error::Unexpected {
        status,
        detail: format!("{error}: {text}"),
    })
}

/// The path of the process `id`, or what is wrong with it.
pub(super) fn process_path(id: &str) -> Result<String, Error> {
    let id = ProcessId::parse(id).ok_or_else(|| invalid("id", PROCESS_ID_RULE))?;
    Ok(format!("/processes/{id}"))
}

#[cfg(test)]
mod tests {
    use super::process_path;

    #[test]
    fn a_process_id_cannot_leave_its_place_in_the_path() {
        assert!(process_path("../builds").is_err());
        assert_eq!(process_path("api").unwrap(), "/processes/api");
    }
}
