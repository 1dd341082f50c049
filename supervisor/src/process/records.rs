//! The records of a table: which process has which name, which are finished, and how many run.

use std::collections::{HashMap, VecDeque};

use sandbox_protocol::error::{ErrorBody, ErrorCode};

use super::Process;

/// The records, to be kept under a lock.
#[derive(Debug, Default)]
pub(super) struct Records {
    by_id: HashMap<String, Process>,
    /// The finished ones whose trees are gone, oldest first.
    finished: VecDeque<Process>,
    /// How many trees live, one-time commands included.
    running: u64,
    /// How many processes there ever were.
    incarnations: u64,
    /// The container stops: nothing is started any more.
    stopping: bool,
}

impl Records {
    /// The process of this name.
    pub(super) fn get(&self, id: &str) -> Option<Process> {
        self.by_id.get(id).cloned()
    }

    /// All of them, oldest first.
    pub(super) fn list(&self) -> Vec<Process> {
        let mut all: Vec<Process> = self.by_id.values().cloned().collect();
        all.sort_unstable_by_key(|process| process.0.incarnation);
        all
    }

    /// A number for a process that no other had.
    pub(super) fn incarnation(&mut self) -> u64 {
        self.incarnations += 1;
        self.incarnations
    }

    /// Gives `process` its name, whoever has it.
    pub(super) fn enter(&mut self, process: Process) {
        self.by_id.insert(process.id().to_owned(), process);
    }

    /// Forgets `process`, and not another one of its name.
    pub(super) fn forget(&mut self, process: &Process) {
        let same = |other: &Process| other.0.incarnation == process.0.incarnation;
        if self.by_id.get(process.id()).is_some_and(same) {
            self.by_id.remove(process.id());
        }
        self.finished.retain(|other| !same(other));
    }

    /// Counts `process` among the finished and forgets the oldest of them beyond `most`, if it `ran`; then
    /// `previous`, who had its name, goes too. Else that one gets the name back.
    pub(super) fn settle(
        &mut self,
        process: Process,
        previous: Option<Process>,
        ran: bool,
        most: u64,
    ) {
        if !ran {
            self.forget(&process);
            process.ledger().remove();
            if let Some(previous) = previous {
                self.enter(previous);
            }
            return;
        }
        self.finished.push_back(process);
        if let Some(previous) = previous {
            self.forget(&previous);
            previous.ledger().remove();
        }
        while self.finished.len() as u64 > most
            && let Some(oldest) = self.finished.front().cloned()
        {
            self.forget(&oldest);
            oldest.ledger().remove();
        }
    }

    /// Takes one of `most` places among the running. `TOO_MANY_PROCESSES`, or `OPERATION_INTERRUPTED` where
    /// nothing is started any more.
    pub(super) fn take_place(&mut self, most: u64) -> Result<(), ErrorBody> {
        if self.stopping {
            return Err(ErrorBody::new(
                ErrorCode::OperationInterrupted,
                "the container is being stopped",
            ));
        }
        if self.running >= most {
            return Err(ErrorBody::new(
                ErrorCode::TooManyProcesses,
                format!("{most} processes run already, which is the limit"),
            )
            .with(|context| {
                context.limit = Some("processes".to_owned());
                context.limit_value = Some(most);
            }));
        }
        self.running += 1;
        Ok(())
    }

    /// Gives back what [`Records::take_place`] took.
    pub(super) fn give_place_back(&mut self) {
        self.running -= 1;
    }

    /// Has nothing started any more.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
    }
}
