//! Who may call: the key, the origin of a browser's page, the loopback rule of anonymous mode; pure.

use sandbox_protocol::error::{ErrorBody, ErrorCode};
use worker::Url;

use crate::settings::{misconfigured, switch};

/// What a request shows of its caller.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Caller<'a> {
    /// The `Authorization` header.
    pub(crate) authorization: Option<&'a str>,
    /// The `Origin` header: there when a browser's page asks across origins, or writes.
    pub(crate) origin: Option<&'a str>,
    /// The `Host` header, with its port.
    pub(crate) host: &'a str,
}

/// What the deployment asks of a caller.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate {
    /// `SANDBOX_API_KEY`.
    pub(crate) api_key: Option<String>,
    /// Whether a caller on this machine needs no key (`make dev`).
    pub(crate) anonymous: bool,
    /// `SANDBOX_ALLOWED_ORIGINS`, separated by commas or spaces.
    pub(crate) allowed_origins: String,
}

impl Gate {
    /// Reads the variables that `lookup` finds. The error names the variable and its rule.
    pub(crate) fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ErrorBody> {
        let api_key = lookup("SANDBOX_API_KEY");
        // A header is trimmed on its way: such a key would open to nobody.
        if api_key.as_ref().is_some_and(|key| key.trim() != key) {
            return Err(misconfigured(
                "SANDBOX_API_KEY",
                "without white space at its ends, a line break included",
            ));
        }
        let gate = Self {
            api_key,
            anonymous: switch(&lookup, "SANDBOX_ANONYMOUS")?,
            allowed_origins: lookup("SANDBOX_ALLOWED_ORIGINS").unwrap_or_default(),
        };
        if !gate.origins().all(is_origin) {
            return Err(misconfigured(
                "SANDBOX_ALLOWED_ORIGINS",
                "origins like \"https://app.example\", without a path, separated by commas",
            ));
        }
        Ok(gate)
    }

    fn origins(&self) -> impl Iterator<Item = &str> {
        let parts = self.allowed_origins.split([',', ' ']);
        parts.filter(|origin| !origin.is_empty())
    }

    /// Refuses the page of a foreign origin: `ORIGIN_NOT_ALLOWED`. `own` is the Worker's origin.
    pub(crate) fn check_origin(&self, caller: Caller<'_>, own: &str) -> Result<(), ErrorBody> {
        match caller.origin {
            Some(origin) if origin != own && !self.allows_origin(origin) => Err(ErrorBody::new(
                ErrorCode::OriginNotAllowed,
                "pages of this origin may not call this Worker",
            )
            .suggest("add the origin to SANDBOX_ALLOWED_ORIGINS")),
            _ => Ok(()),
        }
    }

    /// Whether `origin` is in the list of those allowed besides the Worker's own.
    pub(crate) fn allows_origin(&self, origin: &str) -> bool {
        self.origins().any(|allowed| allowed == origin)
    }

    /// Refuses a caller without the key: `UNAUTHORIZED`, or `API_KEY_MISSING` where none is configured.
    pub(crate) fn check_key(&self, caller: Caller<'_>) -> Result<(), ErrorBody> {
        if self.anonymous && is_loopback(caller.host) {
            return Ok(());
        }
        let Some(key) = &self.api_key else {
            return Err(ErrorBody::new(
                ErrorCode::ApiKeyMissing,
                "this Worker has no SANDBOX_API_KEY and serves nobody without one",
            )
            .suggest("wrangler secret put SANDBOX_API_KEY"));
        };
        let shown = caller
            .authorization
            .and_then(|header| header.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map_or("", |(_, token)| token.trim());
        if same(shown.as_bytes(), key.as_bytes()) {
            Ok(())
        } else {
            Err(
                ErrorBody::new(ErrorCode::Unauthorized, "the request shows no valid key")
                    .suggest("send `Authorization: Bearer <SANDBOX_API_KEY>`"),
            )
        }
    }
}

/// Whether `text` is an origin just as a browser sends it.
fn is_origin(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        ["http", "https"].contains(&url.scheme()) && url.origin().ascii_serialization() == text
    })
}

/// Whether `host`, as in a `Host` header, is a name of this machine only. A page elsewhere can point a
/// name of its own at 127.0.0.1, but it cannot make a browser send one of these.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost"
        || name == "::1"
        || name
            .parse::<std::net::Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Compares in a time that depends on the lengths alone.
pub(crate) fn same(shown: &[u8], secret: &[u8]) -> bool {
    let differing = shown
        .iter()
        .zip(secret)
        .fold(0, |differing, (a, b)| differing | (a ^ b));
    shown.len() == secret.len() && std::hint::black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    use sandbox_protocol::error::ErrorCode;

    use super::{Caller, Gate, is_loopback, same};

    fn keyed() -> Gate {
        Gate {
            api_key: Some("secret".into()),
            ..Gate::default()
        }
    }

    fn with_key(authorization: &str) -> Caller<'_> {
        Caller {
            authorization: Some(authorization),
            host: "sandbox.example",
            ..Caller::default()
        }
    }

    #[test]
    fn a_variable_that_breaks_its_rule_is_named_with_the_rule() {
        for (name, value) in [
            ("SANDBOX_ANONYMOUS", "yes"),
            ("SANDBOX_API_KEY", "secret\n"),
            ("SANDBOX_ALLOWED_ORIGINS", "app.example"),
            ("SANDBOX_ALLOWED_ORIGINS", "https://app.example/"),
            ("SANDBOX_ALLOWED_ORIGINS", "https://App.example"),
            ("SANDBOX_ALLOWED_ORIGINS", "https://a.example, *"),
            ("SANDBOX_ALLOWED_ORIGINS", "ftp://a.example"),
        ] {
            let read = Gate::read(|asked| (asked == name).then(|| value.to_owned()));
            let said = read.unwrap_err().error;
            assert!(
                said.contains(&format!("{name} must be ")),
                "{value}: {said}"
            );
        }
        let origins = "https://a.example, http://localhost:3000";
        let gate =
            Gate::read(|asked| (asked == "SANDBOX_ALLOWED_ORIGINS").then(|| origins.to_owned()));
        assert!(gate.unwrap().allows_origin("http://localhost:3000"));
    }

    #[test]
    fn only_the_key_opens() {
        assert!(keyed().check_key(with_key("Bearer secret")).is_ok());
        assert!(keyed().check_key(with_key("bearer secret")).is_ok());
        for bad in [
            "Bearer secre",
            "Bearer secret2",
            "Bearer",
            "secret",
            "Basic secret",
            "",
        ] {
            let code = keyed().check_key(with_key(bad)).unwrap_err().code;
            assert_eq!(code, ErrorCode::Unauthorized, "{bad}");
        }
    }

    #[test]
    fn without_a_key_nobody_is_served() {
        let code = Gate::default()
            .check_key(with_key("Bearer "))
            .unwrap_err()
            .code;
        assert_eq!(code, ErrorCode::ApiKeyMissing);
    }

    #[test]
    fn anonymous_mode_serves_this_machine_only() {
        let gate = Gate {
            anonymous: true,
            ..Gate::default()
        };
        let from = |host| Caller {
            host,
            ..Caller::default()
        };
        assert!(gate.check_key(from("localhost:8787")).is_ok());
        assert!(gate.check_key(from("[::1]:8787")).is_ok());
        assert!(gate.check_key(from("rebound.example:8787")).is_err());
        assert!(gate.check_key(from("localhost.example")).is_err());
    }

    #[test]
    fn a_foreign_page_is_refused_and_an_allowed_one_is_not() {
        let gate = Gate {
            allowed_origins: "https://a.example, https://b.example".into(),
            anonymous: true,
            ..Gate::default()
        };
        let check = |origin| {
            let caller = Caller {
                origin,
                host: "localhost",
                ..Caller::default()
            };
            gate.check_origin(caller, "http://localhost:8787").is_ok()
        };
        assert!(check(None));
        assert!(check(Some("http://localhost:8787")));
        assert!(check(Some("https://b.example")));
        assert!(!check(Some("https://c.example")));
        assert!(!check(Some("null")));
        assert!(!check(Some("")));
    }

    #[test]
    fn loopback_is_the_whole_of_127() {
        assert!(is_loopback("127.8.0.1:1"));
        assert!(!is_loopback("128.0.0.1"));
        assert!(!is_loopback(""));
    }

    #[test]
    fn sameness_needs_every_byte() {
        assert!(same(b"ab", b"ab"));
        assert!(!same(b"ab", b"ac"));
        assert!(!same(b"a", b"ab"));
        assert!(same(b"", b""));
    }
}
