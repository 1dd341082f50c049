//! What the platform has and the `worker` crate does not bind, or binds with a defect.

use std::time::Duration;

use futures::future::{Either, LocalBoxFuture, Shared, select};
use worker::js_sys::{self, Date, Promise, Uint8Array};
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::wasm_bindgen_futures::JsFuture;
use worker::{Delay, Fetcher, Headers, Request, web_sys};

use sandbox_protocol::time::Timestamp;
use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen]
extern "C" {
    /// `ctx.container`. The crate's own binding loses `env` on the way in.
    pub(crate) type Container;

    #[wasm_bindgen(method, getter)]
    pub(crate) fn running(this: &Container) -> bool;

    #[wasm_bindgen(method, catch)]
    pub(crate) fn start(this: &Container, options: &js_sys::Object) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch)]
    pub(crate) fn destroy(this: &Container) -> Result<Promise, JsValue>;

    #[wasm_bindgen(method, catch)]
    pub(crate) fn monitor(this: &Container) -> Result<Promise, JsValue>;

    #[wasm_bindgen(method, catch, js_name = getTcpPort)]
    fn tcp_port(this: &Container, port: u16) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = setInactivityTimeout)]
    pub(crate) fn set_inactivity_timeout(this: &Container, ms: f64) -> Result<Promise, JsValue>;

    /// A pair of streams whose bytes never enter the script.
    type IdentityTransformStream;

    #[wasm_bindgen(constructor)]
    fn new() -> IdentityTransformStream;

    #[wasm_bindgen(method, getter)]
    fn readable(this: &IdentityTransformStream) -> Readable;

    #[wasm_bindgen(method, getter)]
    fn writable(this: &IdentityTransformStream) -> Writable;

    /// `ReadableStream`.
    #[derive(Clone)]
    pub(crate) type Readable;

    #[wasm_bindgen(method, catch, js_name = pipeTo)]
    fn pipe_to(
        this: &Readable,
        into: &Writable,
        options: &js_sys::Object,
    ) -> Result<Promise, JsValue>;

    #[wasm_bindgen(method, catch, js_name = pipeThrough)]
    fn pipe_through(this: &Readable, through: &JsValue) -> Result<Readable, JsValue>;

    /// `WritableStream`.
    #[derive(Clone)]
    pub(crate) type Writable;

    #[wasm_bindgen(method, catch, js_name = getWriter)]
    fn writer(this: &Writable) -> Result<StreamWriter, JsValue>;

    #[wasm_bindgen(method, catch, js_name = abort)]
    fn abort_stream(this: &Writable, reason: &JsValue) -> Result<Promise, JsValue>;

    /// `WritableStreamDefaultWriter`.
    type StreamWriter;

    #[wasm_bindgen(method)]
    fn write(this: &StreamWriter, chunk: &Uint8Array) -> Promise;

    #[wasm_bindgen(method)]
    fn close(this: &StreamWriter) -> Promise;

    #[wasm_bindgen(method, js_name = releaseLock)]
    fn release_lock(this: &StreamWriter);

    #[wasm_bindgen(js_name = DecompressionStream)]
    type DecompressionStream;

    #[wasm_bindgen(constructor, js_class = "DecompressionStream")]
    fn new(format: &str) -> DecompressionStream;

    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues)]
    fn random_values(array: &Uint8Array) -> Uint8Array;
}

impl Container {
    /// What reaches `port` in the container.
    pub(crate) fn fetcher(&self, port: u16) -> Result<Fetcher, JsValue> {
        let port = self.tcp_port(port)?;
        Ok(Fetcher::from(
            port.unchecked_into::<worker::worker_sys::Fetcher>(),
        ))
    }
}

/// The writing end of a response's body.
#[derive(Clone)]
pub(crate) struct Sink {
    writable: Writable,
}

/// The client is gone, or the stream was ended already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// A body to answer with, and the end to write it at.
pub(crate) fn channel() -> (web_sys::ReadableStream, Sink) {
    let pair = IdentityTransformStream::new();
    let sink = Sink {
        writable: pair.writable(),
    };
    (pair.readable().unchecked_into(), sink)
}

impl Sink {
    /// Writes `bytes` and waits until they are taken.
    pub(crate) async fn write(&self, bytes: &[u8]) -> Result<(), Refused> {
        let writer = self.writable.writer().map_err(|_| Refused)?;
        let written = JsFuture::from(writer.write(&Uint8Array::from(bytes))).await;
        writer.release_lock();
        written.map(|_| ()).map_err(|_| Refused)
    }

    /// Ends the body in good order.
    pub(crate) async fn close(&self) -> Result<(), Refused> {
        let writer = self.writable.writer().map_err(|_| Refused)?;
        let closed = JsFuture::from(writer.close()).await;
        closed.map(|_| ()).map_err(|_| Refused)
    }

    /// Breaks the body off, so that the client knows that something is missing.
    pub(crate) fn abort(&self, why: &str) {
        // A stream that is over already cannot be broken off, and needs not to be.
        if let Ok(aborted) = self.writable.abort_stream(&JsValue::from_str(why)) {
            worker::wasm_bindgen_futures::spawn_local(async move {
                let _ = JsFuture::from(aborted).await;
            });
        }
    }

    /// Lets the platform move `body` here, without a byte of it entering the script, and leaves the sink
    /// open. Ends when either end does; what the end means must be found out elsewhere.
    pub(crate) async fn pipe(&self, body: web_sys::ReadableStream) -> Result<(), JsValue> {
        let options = js_sys::Object::new();
        for option in ["preventClose", "preventAbort"] {
            js_sys::Reflect::set(&options, &option.into(), &JsValue::TRUE)?;
        }
        let body: Readable = body.unchecked_into();
        JsFuture::from(body.pipe_to(&self.writable, &options)?).await?;
        Ok(())
    }
}

/// A request of any method that the platform knows, answered with what comes, redirects included. `body` is text
/// or a native stream. (`worker::Method` makes a `GET` of what it does not know.)
pub(crate) fn request(
    method: &str,
    url: &str,
    headers: &Headers,
    body: Option<&JsValue>,
) -> worker::Result<Request> {
    let init = web_sys::RequestInit::new();
    init.set_method(method);
    init.set_headers(&headers.0);
    init.set_redirect(web_sys::RequestRedirect::Manual);
    if let Some(body) = body {
        init.set_body(body);
    }
    Ok(web_sys::Request::new_with_str_and_init(url, &init)?.into())
}

/// Unpacks one gzip member.
pub(crate) async fn gunzip(packed: &[u8]) -> worker::Result<Vec<u8>> {
    let body = worker::Response::from_bytes(packed.to_vec())?;
    let body: web_sys::Response = body.into();
    let stream: Readable = body
        .body()
        .ok_or("a response of bytes has a body")?
        .unchecked_into();
    let unpacked = stream.pipe_through(&DecompressionStream::new("gzip"))?;
    let body = worker::ResponseBody::Stream(unpacked.unchecked_into());
    let response: web_sys::Response = worker::Response::from_body(body)?.into();
    let buffer = JsFuture::from(response.array_buffer()?).await?;
    Ok(Uint8Array::new(&buffer).to_vec())
}

/// The present moment; on this platform it stands still between two waits.
pub(crate) fn now() -> Timestamp {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a date is a whole number below 2^53"
    )]
    Timestamp(Date::now() as i64)
}

/// `count` characters of base32 (`a-z2-7`) that nobody can guess: five bits each.
pub(crate) fn random_name(count: usize) -> String {
    let array = Uint8Array::new_with_length(u32::try_from(count).unwrap_or(u32::MAX));
    let letter = |byte: u8| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[usize::from(byte & 31)]);
    random_values(&array)
        .to_vec()
        .into_iter()
        .map(letter)
        .collect()
}

/// Work of this isolate that several callers wait for.
pub(crate) type Task<T> = Shared<LocalBoxFuture<'static, T>>;

/// What `future` yields, or `None` after `ms` milliseconds.
pub(crate) async fn within<T>(ms: u64, future: impl Future<Output = T>) -> Option<T> {
    let delay = Delay::from(Duration::from_millis(ms));
    match select(std::pin::pin!(future), delay).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}

/// Passes after `ms` milliseconds.
pub(crate) async fn sleep(ms: u64) {
    Delay::from(Duration::from_millis(ms)).await;
}
