//! A build that is tended: how others reach its task, and whether the client that counts is there.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures::channel::mpsc;
use sandbox_protocol::build::{Build, BuildReason};
use sandbox_protocol::id::BuildId;
use sandbox_protocol::sandbox::Receipt;
use sandbox_protocol::time::Timestamp;

use crate::error::Result;
use crate::platform::{Task, now, sleep};

/// The seat of the client that asked for the build.
pub(crate) const FIRST_SEAT: u64 = 0;

/// A build that a task of this isolate tends.
pub(crate) struct Live {
    pub(crate) id: BuildId,
    /// Wakes the task.
    commands: mpsc::UnboundedSender<Command>,
    /// Its process runs, or the reason why not.
    pub(crate) started: Task<Result<()>>,
    /// Its final record, and the receipt of the destroy.
    pub(crate) ended: Task<(Build, Receipt)>,
    client: RefCell<Presence>,
    next_seat: Cell<u64>,
    /// How many streams are being fed from the container.
    feeding: Cell<usize>,
}

/// Whether somebody is there whose going away counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// The build goes on without anybody.
    NotNeeded,
    /// The one in this seat.
    Seated(u64),
    /// Nobody since then: a stream was cut on our side.
    Vacant(Timestamp),
    /// The one who counted has left.
    Left,
}

/// What wakes the task of a build.
pub(crate) enum Command {
    /// End it, for this reason.
    Cancel(BuildReason),
    /// Somebody came, left, or was cut off.
    Presence,
}

impl Live {
    /// A build whose task listens to `commands`, and whose client is where `client` says.
    pub(crate) fn new(
        id: BuildId,
        commands: mpsc::UnboundedSender<Command>,
        started: Task<Result<()>>,
        ended: Task<(Build, Receipt)>,
        client: Presence,
    ) -> Self {
        Self {
            id,
            commands,
            started,
            ended,
            client: RefCell::new(client),
            next_seat: Cell::new(FIRST_SEAT + 1),
            feeding: Cell::new(0),
        }
    }

    /// Whether the client that counts has left.
    pub(crate) fn is_left(&self) -> bool {
        *self.client.borrow() == Presence::Left
    }

    /// Whether somebody is being fed from the container.
    pub(crate) fn is_feeding(&self) -> bool {
        self.feeding.get() > 0
    }

    /// Ends the build; answers when its sandbox is destroyed.
    pub(crate) async fn cancel(&self, reason: BuildReason) -> (Build, Receipt) {
        // A task that has ended does not listen any more, and its result is there.
        let _ = self.commands.unbounded_send(Command::Cancel(reason));
        self.ended.clone().await
    }

    /// Takes the seat of the client whose going away counts, if it is free.
    pub(crate) fn sit(&self) -> Option<u64> {
        let vacant = matches!(*self.client.borrow(), Presence::Vacant(_));
        vacant.then(|| {
            let seat = self.next_seat.get();
            self.next_seat.set(seat + 1);
            self.seat(Presence::Seated(seat));
            seat
        })
    }

    /// The client in `seat` hung up.
    pub(crate) fn left(&self, seat: Option<u64>) {
        self.vacate(seat, Presence::Left);
    }

    /// The client in `seat` was cut off on our side and may come back.
    pub(crate) fn cut(&self, seat: Option<u64>) {
        self.vacate(seat, Presence::Vacant(now()));
    }

    fn vacate(&self, seat: Option<u64>, presence: Presence) {
        if seat.is_some_and(|seat| *self.client.borrow() == Presence::Seated(seat)) {
            self.seat(presence);
        }
    }

    fn seat(&self, presence: Presence) {
        self.client.replace(presence);
        self.wake();
    }

    fn wake(&self) {
        // A task that has ended needs no waking.
        let _ = self.commands.unbounded_send(Command::Presence);
    }

    /// Counts a stream that is fed from the container, until the result is dropped.
    pub(crate) fn feed(self: &Rc<Self>) -> Feeding {
        self.feeding.set(self.feeding.get() + 1);
        Feeding(Rc::clone(self))
    }

    /// Resolves when the client that is missed has stayed away for `grace_ms`; never while none is missed.
    pub(crate) async fn missed_too_long(&self, grace_ms: u64) {
        let presence = *self.client.borrow();
        match presence {
            Presence::Vacant(since) => sleep(since.plus_ms(grace_ms).since(now())).await,
            Presence::Left => {}
            Presence::NotNeeded | Presence::Seated(_) => futures::future::pending().await,
        }
    }
}

/// A stream that is fed from the container.
pub(crate) struct Feeding(Rc<Live>);

impl Drop for Feeding {
    fn drop(&mut self) {
        self.0.feeding.set(self.0.feeding.get() - 1);
        self.0.wake();
    }
}
