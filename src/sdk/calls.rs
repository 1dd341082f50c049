//! The calls that a handle makes on its object: the protocol, with typed bodies.

use sandbox_protocol::error::ErrorBody;
use sandbox_protocol::id::{PROCESS_ID_RULE, ProcessId, SandboxId};
use sandbox_protocol::request::invalid;
use sandbox_protocol::sandbox::Receipt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use worker::durable::Stub;
use worker::js_sys::Uint8Array;
use worker::wasm_bindgen::JsValue;
use worker::{Headers, Method, Request, RequestInit, Response, Url};

use super::Error;

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
        let mut answer = self
            .send(method, path, headers, body.map(JsValue::from))
            .await?;
        Ok(answer.json().await?)
    }

    /// Sends bytes.
    pub(super) async fn upload(
        &self,
        method: Method,
        path: &str,
        bytes: Vec<u8>,
    ) -> Result<(), Error> {
        let body = Uint8Array::from(bytes.as_slice()).into();
        self.send(method, path, Headers::new(), Some(body))
            .await
            .map(|_| ())
    }

    /// Reads bytes.
    pub(super) async fn download(&self, path: &str) -> Result<Vec<u8>, Error> {
        let mut answer = self.send(Method::Get, path, Headers::new(), None).await?;
        Ok(answer.bytes().await?)
    }

    /// Destroys the sandbox.
    pub(super) async fn destroy(&self) -> Result<Receipt, Error> {
        let headers = Headers::new();
        headers.set("Prefer", "return=representation")?;
        let mut answer = self.send(Method::Delete, "", headers, None).await?;
        Ok(answer.json().await?)
    }

    /// Sends a call to `path` below the sandbox; a refusal is an error.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: Headers,
        body: Option<JsValue>,
    ) -> Result<Response, Error> {
        let mut init = RequestInit::new();
        init.with_method(method)
            .with_headers(headers)
            .with_body(body);
        let url = format!("http://sandbox/v1/sandbox/{}{path}", self.id);
        let request = Request::new_with_init(&url, &init)?;
        let mut answer = self.stub.fetch_with_request(request).await?;
        if answer.status_code() < 400 {
            return Ok(answer);
        }
        let body: ErrorBody = answer.json().await?;
        Err(body.into())
    }
}

/// The path of the process `id`, or what is wrong with it.
pub(super) fn process_path(id: &str) -> Result<String, Error> {
    let id = ProcessId::parse(id).ok_or_else(|| invalid("id", PROCESS_ID_RULE))?;
    Ok(format!("/processes/{id}"))
}

/// The route of the file at the absolute `path`, percent-encoded.
pub(super) fn file_path(path: &str) -> Result<String, Error> {
    let mut url = Url::parse("http://sandbox/file").map_err(worker::Error::from)?;
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.extend(path.trim_start_matches('/').split('/'));
    }
    Ok(url.path().to_owned())
}

#[cfg(test)]
mod tests {
    use super::{file_path, process_path};

    #[test]
    fn a_path_is_percent_encoded_but_for_its_slashes() {
        assert_eq!(
            file_path("/workspace/a b/ü?#%").unwrap(),
            "/file/workspace/a%20b/%C3%BC%3F%23%25"
        );
    }

    #[test]
    fn a_process_id_cannot_leave_its_place_in_the_path() {
        assert!(process_path("../builds").is_err());
        assert_eq!(process_path("api").unwrap(), "/processes/api");
    }
}
