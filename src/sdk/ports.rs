//! Services in a sandbox by the library.

use worker::wasm_bindgen::JsValue;
use worker::{Request, Response, Url};

use super::{Error, SandboxHandle};
use crate::tickets;

impl SandboxHandle {
    /// Hands `request` to the service that listens on `port` in the sandbox, and gives back its answer: any method,
    /// bodies streamed both ways, and upgrades to WebSocket. The path and the query of the request's URL are what the service
    /// sees. `Authorization` and `Cookie` do not go in, `Set-Cookie` does not come out.
    ///
    /// Starts the sandbox if need be. When nobody listens, the answer is a 502 whose body is that of
    /// `SERVICE_NOT_RESPONDING`; as with `fetch`, no status is an error.
    ///
    /// ```no_run
    /// use worker::{Env, Request, Response};
    /// use workers_sandbox::{SandboxOptions, get_sandbox};
    ///
    /// async fn fetch(request: Request, env: Env) -> worker::Result<Response> {
    ///     let sandbox = get_sandbox(&env, "SANDBOX", "my-sandbox", SandboxOptions::new())?;
    ///     Ok(sandbox.fetch_port(8080, request).await?)
    /// }
    /// ```
    pub async fn fetch_port(&self, port: u16, request: Request) -> Result<Response, Error> {
        let path = path_and_query(&request.url()?);
        self.fetch_port_at(port, &path, request).await
    }

    /// The same at another path: `path` and query, percent-encoded, from the first `/` on. For a Worker that has its
    /// services below paths of its own.
    pub async fn fetch_port_at(
        &self,
        port: u16,
        path: &str,
        request: Request,
    ) -> Result<Response, Error> {
        let calls = self.ready().await?;
        let headers = request.headers().clone();
        // Between the project's own Worker and the object; from anybody else it would only be refused.
        headers.delete(tickets::HEADER)?;
        let slash = if path.starts_with('/') { "" } else { "/" };
        let path = format!("/ports/{port}{slash}{path}");
        let body = request.inner().body().map(JsValue::from);
        let method = request.inner().method();
        calls.pass(&method, &path, &headers, body).await
    }
}

/// What `url` names on a service, as it is: a service may read it in its own way.
fn path_and_query(url: &Url) -> String {
    let query = url.query().map(|query| format!("?{query}"));
    format!("{}{}", url.path(), query.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::path_and_query;

    #[test]
    fn a_service_sees_the_path_and_the_query_as_they_are() {
        let url = "https://example.com/a%2Fb//c?x=%20y&z".parse().unwrap();
        assert_eq!(path_and_query(&url), "/a%2Fb//c?x=%20y&z");
    }
}
