//! Bodies of requests: read or refused, never a panic; and what was read is written as it would be read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sandbox_protocol::exec::ExecRequest;
use sandbox_protocol::process::{KillRequest, ProcessRequest};
use sandbox_protocol::ready::ConditionRequest;
use sandbox_protocol::request::parse;
use serde_json::Deserializer;

fuzz_target!(|body: &[u8]| {
    if let Ok(request) = parse::<ProcessRequest, _>(&mut Deserializer::from_slice(body)) {
        let text = serde_json::to_string(&request).expect("a request can be written");
        let again = parse::<ProcessRequest, _>(&mut Deserializer::from_str(&text));
        assert_eq!(again.expect("and read again"), request);
        if let Ok(spec) = request.validate() {
            assert!(spec.same_process(&spec));
            assert!(!spec.command.argv().is_empty());
        }
    }
    if let Ok(request) = parse::<ExecRequest, _>(&mut Deserializer::from_slice(body)) {
        drop(request.validate());
    }
    if let Ok(request) = parse::<KillRequest, _>(&mut Deserializer::from_slice(body)) {
        drop(request.validate());
    }
    if let Ok(request) = parse::<ConditionRequest, _>(&mut Deserializer::from_slice(body)) {
        drop(request.validate_wait());
    }
});
