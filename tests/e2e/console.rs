//! The console, used by a real browser as a person would; `tests/fixtures/console.mjs` has the hands.

use serde_json::json;

use crate::harness::{Dev, Sandbox, Setup, script};

/// Does one thing in the console of `sandbox`.
async fn uses(url: &str, sandbox: &Sandbox<'_>, what: &str) {
    script::run("console.mjs", &[url, &sandbox.id, what]).await;
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn the_console_is_served_with_a_strict_policy_and_shadows_no_route() {
    let dev = Dev::shared();
    for path in ["/", "/style.css", "/js/app.js", "/vendor/xterm/xterm.mjs"] {
        let answer = dev.get(path).send().await;
        assert_eq!(answer.status(), 200, "{path}");
        let policy = answer.header("Content-Security-Policy");
        assert!(
            policy.contains("default-src 'none'; script-src 'self';"),
            "{path}: {policy}"
        );
        assert!(
            policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert_eq!(answer.header("X-Content-Type-Options"), "nosniff", "{path}");
    }
    let page = dev.get("/").send().await.text().await;
    assert!(
        !page.contains("<script>"),
        "no script is in the page itself"
    );
    for path in [
        "/health",
        "/v1/sandbox",
        "/v1/nothing",
        "/nothing",
        "/_headers",
    ] {
        let answer = dev.get(path).send().await;
        assert_eq!(answer.header("Content-Type"), "application/json", "{path}");
    }
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_build_is_seen_before_its_end_with_hostile_output_as_text_and_its_record_after() {
    let dev = Dev::shared();
    let sandbox = dev.sandbox();
    uses(&dev.url(), &sandbox, "build").await;
    assert_eq!(sandbox.remains(), Vec::<String>::new());
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_build_is_cancelled_in_the_console() {
    let dev = Dev::shared();
    let sandbox = dev.sandbox();
    uses(&dev.url(), &sandbox, "cancel").await;
    assert_eq!(sandbox.remains(), Vec::<String>::new());
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn the_console_resumes_a_log_that_was_cut_with_every_line_once() {
    let dev = Dev::shared();
    let sandbox = dev.sandbox();
    let begin = format!("POST {} ", sandbox.path("builds"));
    let proxy = dev.proxy(&begin, &[2_011]).await;
    let url = format!("http://localhost:{}", proxy.port);
    uses(&url, &sandbox, "resume").await;
    assert_eq!(proxy.requests().len(), 1, "nothing is started twice");
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_terminal_echoes_the_keyboard_gets_out_of_it_and_a_destroy_shows_its_receipt() {
    let dev = Dev::shared();
    let sandbox = dev.sandbox();
    // On the local engine the shell would read what the machine's user has in its home, which may take its time.
    let home = json!({"env": {"HOME": "/workspace"}});
    assert_eq!(sandbox.patch("").json(&home).send().await.status(), 200);
    uses(&dev.url(), &sandbox, "terminal").await;
    assert_eq!(sandbox.remains(), Vec::<String>::new());
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_process_is_followed_and_killed_in_the_console() {
    let dev = Dev::shared();
    let sandbox = dev.sandbox();
    let command = "i=0; while sleep .2; do i=$((i+1)); echo tick $i; done";
    let start = json!({"command": command, "id": "ticker"});
    let started = sandbox.post("processes").json(&start).send().await;
    assert_eq!(started.status(), 201);
    uses(&dev.url(), &sandbox, "processes").await;
    assert_eq!(sandbox.delete("").send().await.status(), 204);
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_refusal_is_shown_as_the_api_words_it() {
    let dev = Dev::shared();
    uses(&dev.url(), &dev.sandbox(), "errors").await;
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn the_key_is_asked_for_kept_by_the_tab_alone_and_buys_a_ticket_for_a_terminal() {
    let dev = Dev::start(&Setup {
        vars: &[("SANDBOX_ANONYMOUS", "false"), ("SANDBOX_API_KEY", "k")],
        ..Setup::DEFAULT
    });
    let sandbox = dev.sandbox();
    script::run("console.mjs", &[&dev.url(), &sandbox.id, "signIn", "k"]).await;
    let delete = sandbox.delete("").header("Authorization", "Bearer k");
    assert_eq!(delete.send().await.status(), 204);
}
