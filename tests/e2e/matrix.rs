//! Every fault at every moment of a build: what is left of it is its record and its log.

mod aftermath;
mod fault;
mod moment;

use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use futures::stream::iter;
use rustix::process::Signal;

use crate::harness::{Dev, Engine, Setup, within};

use aftermath::{Cell, settle};
use fault::Fault::{
    self, ClientGone, ContainerKilled, Reload, StorageReadBack, SupervisorFrozen, SupervisorKilled,
    WorkerdKilled,
};
use fault::MOMENTS;
use fault::Moment::{AfterTheEnd, BeforeContainer};
use moment::{Subject, bring};

const SETUP: Setup<'_> = Setup {
    vars: &[
        ("SANDBOX_REATTACH_GRACE", "4s"),
        ("SANDBOX_HEARTBEAT", "2s"),
    ],
    ..Setup::DEFAULT
};

#[test]
#[ignore = "starts wrangler dev: run by make test"]
fn whatever_fails_a_build_leaves_its_record_and_its_log_and_nothing_else() {
    let groups: [&[Fault]; 4] = [
        &[
            ClientGone,
            ContainerKilled,
            SupervisorKilled,
            SupervisorFrozen,
        ],
        &[Reload],
        &[WorkerdKilled],
        &[StorageReadBack],
    ];
    let cells: Vec<Cell> = std::thread::scope(|scope| {
        let group = |faults: &'static [Fault]| {
            scope.spawn(move || {
                let runtime = tokio::runtime::Runtime::new().expect("threads can be made");
                runtime.block_on(cells(faults))
            })
        };
        let threads = groups.map(group);
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("its panic is printed"))
            .collect()
    });
    for cell in &cells {
        println!("{cell}");
    }
    assert_eq!(cells.len(), 28);
    assert!(cells.iter().all(|cell| cell.wrong.is_empty()));
}

/// The cells of some faults, which share a server.
async fn cells(faults: &'static [Fault]) -> Vec<Cell> {
    let dev = Dev::start(&SETUP);
    let at_once = match dev.engine {
        Engine::Local => 4,
        Engine::Docker => 2,
    };
    let rows = iter(faults).map(|fault| row(&dev, *fault));
    let rows: Vec<Vec<Cell>> = rows.buffered(at_once).collect().await;
    rows.into_iter().flatten().collect()
}

/// One fault at the four moments.
async fn row(dev: &Dev, fault: Fault) -> Vec<Cell> {
    if !fault.is_of_the_server() {
        let cells = MOMENTS.map(|moment| async move {
            let subject = bring(dev, fault, moment).await;
            let started = Instant::now();
            let subject = hit(fault, subject).await;
            settle(fault, subject, started).await
        });
        return join_all(cells).await;
    }
    let [ended, during, destroying, before] = MOMENTS;
    let mut subjects = join_all([ended, during].map(|moment| bring(dev, fault, moment))).await;
    subjects.push(bring(dev, fault, destroying).await);
    // A start on the local engine takes no time at all, but for an engine that stands still.
    let engine = dev.engine_process();
    let signal = |signal| engine.iter().for_each(|process| process.signal(signal));
    signal(Signal::STOP);
    subjects.push(bring(dev, fault, before).await);
    match fault {
        Reload => dev.reload(),
        WorkerdKilled => dev.kill_workerd(),
        _ => tokio::task::block_in_place(|| dev.restart()),
    }
    // A restart on Docker may have to make the image first.
    let started = Instant::now();
    if let Some(stream) = subjects[1].stream.take() {
        stream.rest().await;
    }
    if fault != StorageReadBack {
        signal(Signal::CONT);
    }
    join_all(
        subjects
            .into_iter()
            .map(|subject| settle(fault, subject, started)),
    )
    .await
}

/// Does what goes wrong with one sandbox.
async fn hit(fault: Fault, mut subject: Subject<'_>) -> Subject<'_> {
    if fault == ClientGone {
        drop(subject.stream.take());
        return subject;
    }
    let sandbox = &subject.sandbox;
    if subject.moment == BeforeContainer {
        // As soon as there is something.
        within(Duration::from_mins(1), "a container", async {
            let mut ticks = tokio::time::interval(Duration::from_millis(5));
            while sandbox.remains().is_empty() {
                ticks.tick().await;
            }
        })
        .await;
    }
    if subject.moment != AfterTheEnd {
        match fault {
            ContainerKilled => sandbox.kill_container(),
            SupervisorKilled => sandbox.signal_supervisor(Signal::KILL),
            _ => sandbox.signal_supervisor(Signal::STOP),
        }
    }
    subject
}
