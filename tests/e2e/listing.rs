//! The list of sandboxes: pages, states, and what it does when a write was lost or a sandbox cannot be asked.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Dev, Sandbox, Setup, eventually, within};

async fn start(sandbox: &Sandbox<'_>) {
    let request = json!({"command": "sleep 1000"});
    let answer = sandbox.post("processes").json(&request).send().await;
    assert_eq!(answer.status(), 201, "{}", answer.text().await);
}

/// The whole list, which must be there.
async fn list(dev: &Dev) -> Vec<Value> {
    let answer = dev.get("/v1/sandbox").send().await;
    let (status, list) = (answer.status(), answer.json().await);
    assert_eq!(status, 200, "{list}");
    list["sandboxes"].as_array().expect("a list").clone()
}

/// The state of `sandbox` in the list, once it is there; nobody asks the sandbox itself.
async fn listed(dev: &Dev, sandbox: &Sandbox<'_>, limit: Duration) -> Value {
    within(limit, "the sandbox to be listed", async {
        let mut ticks = tokio::time::interval(Duration::from_millis(500));
        loop {
            ticks.tick().await;
            let found = list(dev).await;
            if let Some(state) = found.into_iter().find(|state| state["id"] == *sandbox.id) {
                break state;
            }
        }
    })
    .await
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn sandboxes_are_listed_by_page_and_by_status() {
    let dev = Dev::start(&Setup::DEFAULT);
    let mut expected = Vec::new();
    for number in 0..4 {
        let sandbox = dev.sandbox();
        start(&sandbox).await;
        if number % 2 == 0 {
            assert_eq!(sandbox.delete("").send().await.status(), 204);
        }
        expected.push((
            sandbox.id.clone(),
            if number % 2 == 0 {
                "stopped"
            } else {
                "running"
            },
        ));
    }
    expected.sort();
    let list = async |query: String| {
        let answer = dev.get(&format!("/v1/sandbox?{query}")).send().await;
        assert_eq!(answer.status(), 200);
        answer.json().await
    };
    let seen = |page: &Value| -> Vec<(String, String)> {
        let sandboxes = page["sandboxes"].as_array().expect("a list");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let seen = sandboxes.iter();
        seen.map(|sandbox| (text(&sandbox["id"]), text(&sandbox["status"])))
            .collect()
    };
    // An announcement is on its way when the call that caused it has been answered.
    within(Duration::from_secs(20), "all to be announced", async {
        while seen(&list("status=stopped".into()).await).len() != 2
            || seen(&list("status=running".into()).await).len() != 2
        {}
    })
    .await;
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = list(format!("limit=1{cursor}")).await;
        found.extend(seen(&page));
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    found.sort();
    let found: Vec<(String, &str)> = found
        .iter()
        .map(|(id, status)| (id.clone(), status.as_str()))
        .collect();
    assert_eq!(found, expected);
    for bad in [
        "limit=0",
        "limit=x",
        "limit=1&limit=2",
        "status=new",
        "other=1",
    ] {
        assert_eq!(
            dev.get(&format!("/v1/sandbox?{bad}")).send().await.status(),
            400,
            "{bad}"
        );
    }
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_sandbox_whose_announcement_was_lost_is_listed_after_its_next_alarm() {
    let dev = Dev::start(&Setup::DEFAULT);
    let (awake, asleep, asked) = (dev.sandbox(), dev.sandbox(), dev.sandbox());
    assert!(list(&dev).await.is_empty());
    let locked = dev.lock_registry();
    for sandbox in [&awake, &asleep, &asked] {
        start(sandbox).await;
    }
    assert_eq!(asleep.delete("").send().await.status(), 204);
    let lost = |dev: &Dev| dev.log().matches("it will be announced again").count() >= 3;
    eventually(Duration::from_mins(1), "the writes to be lost", || {
        lost(&dev).then_some(())
    })
    .await;
    drop(locked);

    assert_eq!(asked.get("").send().await.status(), 200);
    let state = listed(&dev, &asked, Duration::from_secs(5)).await;
    assert_eq!(state["status"], "running", "{state}");
    let state = listed(&dev, &awake, Duration::from_secs(90)).await;
    assert_eq!(state["status"], "running", "{state}");
    let state = listed(&dev, &asleep, Duration::from_secs(90)).await;
    assert_eq!(state["status"], "stopped", "{state}");
    eventually(Duration::from_secs(20), "the alarm to be gone", || {
        (!asleep.has_alarm()).then_some(())
    })
    .await;
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_sandbox_that_cannot_be_asked_is_listed_as_it_announced_itself() {
    let dev = Dev::start(&Setup::DEFAULT);
    let (well, broken) = (dev.sandbox(), dev.sandbox());
    for sandbox in [&well, &broken] {
        start(sandbox).await;
        let state = listed(&dev, sandbox, Duration::from_secs(20)).await;
        assert_eq!(state["runningProcesses"], 1, "{state}");
    }
    let options = json!({"sleepAfter": "10m"});
    assert_eq!(broken.patch("").json(&options).send().await.status(), 200);
    broken.stored("UPDATE facts SET value = '{' WHERE name = 'options'");
    assert_eq!(broken.get("").send().await.status(), 500);

    let found = list(&dev).await;
    assert_eq!(found.len(), 2, "{found:?}");
    for state in &found {
        assert_eq!(state["status"], "running", "{state}");
        assert!(state["bootId"].is_string(), "{state}");
        let asked = state["id"] == *well.id;
        assert_eq!(state["runningProcesses"], u64::from(asked), "{state}");
    }
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn what_sleeps_is_listed_with_its_options_and_not_woken() {
    let dev = Dev::start(&Setup::DEFAULT);
    let sandbox = dev.sandbox();
    start(&sandbox).await;
    assert_eq!(sandbox.delete("").send().await.status(), 204);
    let options = json!({"sleepAfter": "77s"});
    let own = sandbox.patch("").json(&options).send().await.json().await;
    within(Duration::from_secs(20), "the new options", async {
        while listed(&dev, &sandbox, Duration::from_secs(20)).await["sleepAfterMs"] != 77_000 {}
    })
    .await;
    // What would make the object answer with an error shows that it is not asked.
    sandbox.stored("UPDATE facts SET value = '{' WHERE name = 'options'");
    assert_eq!(sandbox.get("").send().await.status(), 500);
    assert_eq!(list(&dev).await, [own]);
}
