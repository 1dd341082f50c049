//! Files, and the workspace as an archive.

use serde_json::Value;

use super::super::operation::Operation;
use super::super::schemas::Schemas;
use super::content::bytes;
use super::{AWAKE, REACHES};
use crate::error::ErrorCode;
use crate::file::{Listing, PersistQuery};
use crate::sandbox::Done;

const FILE: &str = "/v1/sandbox/{sandbox}/file/{path}";
const FILES: &str = "/v1/sandbox/{sandbox}/files/{path}";

/// What a call fails with that names a path.
const PATHS: &[ErrorCode] = &[ErrorCode::PermissionDenied, ErrorCode::FileNotFound];

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let done = schemas.answer::<Done>();
    vec![
        Operation::new("get", FILE, "readFile", "Download a file")
            .answers("200", "Its bytes.", &bytes("application/octet-stream"))
            .fails(PATHS)
            .fails(AWAKE),
        Operation::new("put", FILE, "writeFile", "Upload a file")
            .described("Makes the folders above it; replaces it whole or not at all.")
            .body(&bytes("application/octet-stream"), false)
            .json("200", "It is written.", &done)
            .fails(PATHS)
            .fails(&[ErrorCode::PayloadTooLarge])
            .fails(REACHES),
        Operation::new("delete", FILE, "deleteFile", "Remove a file or a folder")
            .answers("204", "It is gone.", &Value::Null)
            .fails(PATHS)
            .fails(AWAKE),
        Operation::new("get", FILES, "listFiles", "What is in a folder")
            .json("200", "By name.", &schemas.answer::<Listing>())
            .fails(PATHS)
            .fails(AWAKE),
        Operation::new("post", "/v1/sandbox/{sandbox}/persist", "persist", "The workspace as a tar archive")
            .parameters(schemas.query::<PersistQuery>())
            .answers("200", "The archive.", &bytes("application/x-tar"))
            .fails(AWAKE),
        Operation::new("post", "/v1/sandbox/{sandbox}/hydrate", "hydrate", "Unpack a tar archive into the workspace")
            .described(
                "A member that would leave the workspace, a device, or a link that leads out is refused by name, \
                 with how many members had been written before it.",
            )
            .body(&bytes("application/x-tar"), true)
            .json("200", "It is unpacked.", &done)
            .fails(PATHS)
            .fails(&[ErrorCode::PayloadTooLarge])
            .fails(REACHES),
    ]
}
