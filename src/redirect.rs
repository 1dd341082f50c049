//! Redirects of a service, which knows nothing of the path that it is reached by; pure.

use worker::Url;

use crate::router::supervisor_path;

/// Where a client goes that asked for `asked` (`…/ports/{port}/…`) and was answered with `location` by the service on
/// `port`: a place of the service becomes the same place below its port. Nothing where that leads elsewhere.
pub(crate) fn below_port(asked: &Url, port: u16, location: &str) -> Option<String> {
    let way = supervisor_path(asked.path());
    let mount = format!("/ports/{port}");
    let inner = way.strip_prefix(&mount)?;
    let prefix = asked.path().strip_suffix(inner)?;
    let mut own = Url::parse(&format!("http://localhost:{port}")).ok()?;
    own.set_path(inner);
    own.set_query(asked.query());
    let target = own.join(location).ok()?;
    if !is_service(&target, port) {
        return None;
    }
    let rest = &target[worker::url::Position::BeforePath..];
    Some(format!("{prefix}{rest}"))
}

/// Whether `url` names the service as one of its own machine would.
fn is_service(url: &Url, port: u16) -> bool {
    let own = ["localhost", "127.0.0.1", "[::1]"];
    url.scheme() == "http"
        && url.port_or_known_default() == Some(port)
        && url.host_str().is_some_and(|host| own.contains(&host))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use worker::Url;

    use super::below_port;

    fn location(path: &str, location: &str) -> Option<String> {
        let asked = format!("https://sandbox.example/v1/sandbox/s/ports/{path}");
        below_port(&Url::parse(&asked).unwrap(), 80, location)
    }

    #[test]
    fn a_place_of_the_service_is_below_its_port() {
        for (path, given, wanted) in [
            ("80/a/b", "/x?y=%20#z", "/x?y=%20#z"),
            ("80/a/b", "x", "/a/x"),
            ("80/a/b", "../../../x", "/x"),
            ("80/a/b?q", "?r", "/a/b?r"),
            ("80/a/b?q", "", "/a/b?q"),
            ("80", "x", "/x"),
            ("80/", "http://localhost/x", "/x"),
            ("80/", "http://localhost:80", "/"),
            ("80/", "//127.0.0.1/x", "/x"),
            ("80/", "http://[::1]:80/x", "/x"),
            ("80/a%2Fb//c", "d", "/a%2Fb//d"),
            ("80/ports/80/a", "/ports/80/b", "/ports/80/b"),
        ] {
            let wanted = format!("/v1/sandbox/s/ports/80{wanted}");
            assert_eq!(location(path, given), Some(wanted), "{path} to {given}");
        }
    }

    #[test]
    fn what_leads_elsewhere_stays() {
        for given in [
            "https://example.com/x",
            "//example.com/x",
            "https://localhost/x",
            "http://localhost:81/x",
            "mailto:a@example.com",
            "http://",
        ] {
            assert_eq!(location("80/a", given), None, "{given}");
        }
    }

    proptest! {
        #[test]
        fn a_redirect_never_leaves_the_port_it_was_sent_below(path in "[a-z/.%]{0,12}", given in "[a-z/.?#%:\\\\ ]{0,16}") {
            let asked = Url::parse(&format!("https://sandbox.example/v1/sandbox/s/ports/80/{path}")).unwrap();
            if let Some(location) = below_port(&asked, 80, &given) {
                let followed = asked.join(&location).unwrap();
                prop_assert!(followed.path().starts_with("/v1/sandbox/s/ports/80/"), "{}", followed);
            }
        }
    }
}
