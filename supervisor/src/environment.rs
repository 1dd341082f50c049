//! The variables under everything that is started: the container's, then the sandbox's options.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::sync::{Arc, Mutex, PoisonError};

use sandbox_protocol::process::Environment;

/// The variables that a process begins with. A cheap clone; all clones see what [`Variables::replace`] sets.
#[derive(Clone, Debug)]
pub struct Variables {
    container: Arc<BTreeMap<OsString, OsString>>,
    sandbox: Arc<Mutex<Environment>>,
}

impl Variables {
    /// The container's variables, without any of the sandbox's yet. What a login sets is left out: it is of
    /// the user that the container was started as.
    #[must_use]
    pub fn new(mut container: BTreeMap<OsString, OsString>) -> Self {
        for name in ["HOME", "USER", "LOGNAME", "SHELL"] {
            container.remove(OsStr::new(name));
        }
        Self {
            container: Arc::new(container),
            sandbox: Arc::default(),
        }
    }

    /// Puts `environment` in the place of the sandbox's variables, for what is started from now on.
    pub fn replace(&self, environment: Environment) {
        *self.sandbox.lock().unwrap_or_else(PoisonError::into_inner) = environment;
    }

    /// `defaults` (of the user), then the container's, the sandbox's, and `request` on top; a `null` in one
    /// takes away what those below it set.
    #[must_use]
    pub fn under(
        &self,
        mut defaults: BTreeMap<OsString, OsString>,
        request: &Environment,
    ) -> BTreeMap<OsString, OsString> {
        defaults.extend(
            self.container
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        let sandbox = self.sandbox.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, value) in sandbox.iter().chain(request) {
            match value {
                Some(value) => defaults.insert(name.into(), value.into()),
                None => defaults.remove(&OsString::from(name)),
            };
        }
        defaults
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Variables;

    #[test]
    fn the_request_wins_over_the_sandbox_over_the_container() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<_, _> {
            pairs
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect()
        };
        let variables = Variables::new(map(&[("A", "1"), ("B", "1"), ("C", "1")]));
        variables.replace([("B".into(), Some("2".into())), ("C".into(), None)].into());
        let request = [("A".into(), None), ("D".into(), Some("3".into()))].into();
        assert_eq!(
            variables.under(map(&[("A", "0"), ("HOME", "/h")]), &request),
            map(&[("B", "2"), ("D", "3"), ("HOME", "/h")])
        );
    }
}
