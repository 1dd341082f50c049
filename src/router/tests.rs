//! The routes and the document of them.

use std::collections::BTreeSet;

use proptest::prelude::*;
use sandbox_protocol::error::ErrorCode;
use serde_json::Value;

use super::{Call, Route, route, supervisor_path};

fn code(method: &str, path: &str) -> ErrorCode {
    route(method, path).unwrap_err().code
}

/// The document's operations: method and path, with names that are good in the places of its parameters.
fn documented() -> BTreeSet<(String, String)> {
    let document: Value =
        serde_json::from_str(include_str!("../../protocol/openapi.json")).unwrap();
    let mut operations = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let methods = item.as_object().unwrap().keys();
        for method in methods.filter(|key| *key != "parameters") {
            operations.insert((method.to_uppercase(), path.clone()));
        }
    }
    operations
}

#[test]
fn every_operation_of_the_document_has_its_route() {
    for (method, path) in documented() {
        let port = path.replace("{port}", "8080");
        let named = port.replace(['{', '}'], "");
        assert!(route(&method, &named).is_ok(), "{method} {path}");
    }
}

#[test]
fn every_route_is_in_the_document() {
    let documented = documented();
    for (template, methods) in super::table::CALLS {
        let slash = if template.is_empty() { "" } else { "/" };
        let of_build = template.starts_with("builds");
        let of_scope = template.starts_with("scope");
        let id = match (of_build, of_scope) {
            (true, _) => "{build}",
            (_, true) => "{scope}",
            _ => "{process}",
        };
        let path = format!(
            "/v1/sandbox/{{sandbox}}{slash}{}",
            template.replace("{id}", id)
        );
        for (method, _) in *methods {
            let operation = ((*method).to_owned(), path.clone());
            assert!(documented.contains(&operation), "{method} {path}");
        }
    }
    for (method, path) in [
        ("GET", "/health"),
        ("GET", "/v1/openapi.json"),
        ("POST", "/v1/sandbox"),
        ("GET", "/v1/sandbox"),
        ("GET", "/v1/sandbox/{sandbox}/ports/{port}"),
        ("PUT", "/v1/sandbox/{sandbox}/ports/{port}/{path}"),
    ] {
        let operation = (method.to_owned(), path.to_owned());
        assert!(documented.contains(&operation), "{method} {path}");
    }
}

#[test]
fn what_is_wrong_is_told_apart() {
    assert_eq!(code("GET", "/nope"), ErrorCode::RouteNotFound);
    assert_eq!(code("GET", "/v1/sandbox/a/nope"), ErrorCode::RouteNotFound);
    assert_eq!(code("GET", "/v1/sandbox/A"), ErrorCode::ValidationFailed);
    assert_eq!(
        code("GET", "/v1/sandbox/a/processes/b.c"),
        ErrorCode::ValidationFailed
    );
    assert_eq!(
        code("GET", "/v1/sandbox/a/ports/9711/"),
        ErrorCode::InvalidPort
    );
    let put = route("PUT", "/v1/sandbox/a/builds").unwrap_err();
    assert_eq!(put.code, ErrorCode::MethodNotAllowed);
    assert_eq!(put.context.allow.unwrap(), ["POST", "GET"]);
}

#[test]
fn a_build_is_named_by_its_path() {
    let Ok(Route::Sandbox(id, Call::GetBuild(build))) = route("GET", "/v1/sandbox/s/builds/b")
    else {
        panic!("not the route of a build");
    };
    assert_eq!((id.as_str(), build.as_str()), ("s", "b"));
}

#[test]
fn the_supervisor_gets_the_path_after_the_id() {
    assert_eq!(
        supervisor_path("/v1/sandbox/a/processes/p/logs"),
        "/processes/p/logs"
    );
    assert_eq!(
        supervisor_path("/v1/sandbox/a/file/workspace/b%2Fc"),
        "/file/workspace/b%2Fc"
    );
}

proptest! {
    #[test]
    fn no_path_makes_the_router_panic(method in "[A-Z]{0,7}", path in "/.{0,60}") {
        let _ = route(&method, &path);
        let _ = supervisor_path(&path);
    }
}
