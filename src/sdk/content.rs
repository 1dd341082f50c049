//! What is sent as a body.

use worker::js_sys::Uint8Array;
use worker::wasm_bindgen::JsValue;
use worker::{Request, Response, web_sys};

/// The body of a call: bytes or text, or the body of a request or response, which the platform moves without a
/// byte of it entering the script.
#[derive(Debug)]
pub struct Content(Option<JsValue>);

impl Content {
    pub(super) fn into_body(self) -> Option<JsValue> {
        self.0
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        Self(Some(Uint8Array::from(bytes).into()))
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(bytes.as_slice())
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::from(text.as_bytes())
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::from(text.as_bytes())
    }
}

impl From<Request> for Content {
    fn from(request: Request) -> Self {
        Self(request.inner().body().map(JsValue::from))
    }
}

impl From<Response> for Content {
    fn from(response: Response) -> Self {
        Self(web_sys::Response::from(response).body().map(JsValue::from))
    }
}
