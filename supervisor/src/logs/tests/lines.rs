//! Looking for a line while it is printed.

use sandbox_protocol::log::{Selection, Stream};
use sandbox_protocol::ready::{Met, Needle, Pattern};

use super::{LIMIT, err, exit, fixture, out};
use crate::ready::find;

fn text(text: &str, stream: Selection) -> Pattern {
    Pattern {
        needle: Needle::Text(text.into()),
        stream,
    }
}

fn met(line: &str, stream: Stream, cursor: &str) -> Met {
    Met::Log {
        line: line.into(),
        groups: None,
        stream,
        cursor: cursor.into(),
    }
}

#[tokio::test]
async fn a_line_is_found_in_what_is_there_and_in_what_comes() {
    let fixture = fixture();
    let ledger = fixture.ledger(1 << 20);
    err(&ledger, 0, "now ready\n");
    let ready = text("ready", Selection::Both);
    let there = met("now ready", Stream::Stderr, "boot.1.0.10.0");
    assert_eq!(find(&ledger, &ready).await.unwrap(), Some(there));
    let stdout = text("ready", Selection::Stdout);
    let printing = async {
        tokio::task::yield_now().await;
        out(&ledger, 1, "rea");
        tokio::task::yield_now().await;
        out(&ledger, 2, "dy now\nmore");
    };
    let (found, ()) = tokio::join!(find(&ledger, &stdout), printing);
    let comes = met("ready now", Stream::Stdout, "boot.1.14.10.0");
    assert_eq!(found.unwrap(), Some(comes));
}

#[tokio::test]
async fn a_prompt_is_found_though_its_line_has_no_end() {
    let fixture = fixture();
    let ledger = fixture.ledger(1 << 20);
    out(&ledger, 0, "login: ");
    let login = text("login", Selection::Both);
    let found = tokio::time::timeout(LIMIT, find(&ledger, &login));
    let prompt = met("login: ", Stream::Stdout, "boot.1.7.0.0");
    assert_eq!(found.await.unwrap().unwrap(), Some(prompt));
}

#[tokio::test]
async fn a_log_that_ends_without_the_line_is_no_match() {
    let fixture = fixture();
    let ledger = fixture.ledger(1 << 20);
    out(&ledger, 0, "starting\n");
    ledger.mark(&exit(1));
    let found = find(&ledger, &text("ready", Selection::Both)).await;
    assert_eq!(found.unwrap(), None);
}
