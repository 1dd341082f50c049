//! Writes the `OpenAPI` document to standard output; `make openapi` puts it where the Worker finds it.

fn main() {
    print!("{}", sandbox_protocol::openapi::text());
}
