//! Conditions that a process can be waited for.

mod condition;
mod met;
mod pattern;
mod request;
mod validate;

pub use condition::{Condition, ExecCheck, FileCheck, PortCheck};
pub use met::Met;
pub use pattern::{Needle, Pattern, PatternRequest};
pub use request::{ConditionRequest, PortMode, StatusRange};
