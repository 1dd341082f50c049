//! How a tree is ended: a signal to everyone, a grace, and then death in passes until nobody is left.
//!
//! Each member is signalled by its pidfd, after comparing start times, so that nobody is hit who got the number
//! of one that has gone. Where the tree has a control group, death comes in one step that no fork outruns; and if
//! it grows while it is looked at, it stands still meanwhile, so that nobody is missed.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use sandbox_protocol::process::{Kill, Member};
use sandbox_protocol::signal::Signal;
use tokio::time::timeout;

use super::procfs;
use super::target::{Target, await_deaths};
use super::tree::Tree;

/// How long after `SIGKILL` a kill gives up and names the survivors.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a pass that found nobody waits for the shim to say so before it looks again: a list of children
/// that changes while it is read may leave one out.
const SECOND_LOOK: Duration = Duration::from_millis(20);

/// How often a signal looks for members that were born while it went round.
const ROUNDS: usize = 16;

/// How many deaths one pass waits for at once, which bounds the descriptors that it holds.
const WATCHED: usize = 256;

/// Whom a kill met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Killed {
    /// Who got the signal, or ended by what it did to another before it came.
    pub signalled: Vec<Member>,
    /// Who was left after the grace and got `SIGKILL`.
    pub killed: Vec<Member>,
    /// Who lives on.
    pub survivors: Vec<Member>,
}

/// Who was met already: number and start time.
#[derive(Debug, Default)]
struct Met(HashSet<(Pid, u64)>);

impl Tree {
    /// Ends it as `kill` says, or only delivers the signal where there is no grace. Goes on only while it is
    /// awaited.
    pub async fn kill(&self, kill: Kill) -> Killed {
        let mut killed = Killed::default();
        let mut met;
        (killed.signalled, met) = self.blocking(move |tree| tree.signal(kill)).await;
        let Some(grace_ms) = kill.grace_ms else {
            return killed;
        };
        if self.emptied_within(Duration::from_millis(grace_ms)).await {
            return killed;
        }
        if kill.signal != Signal::KILL {
            met = Met::default();
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let members;
            (members, met) = self
                .blocking(move |tree| (tree.kill_pass(&mut met, deadline), met))
                .await;
            killed.killed.extend(members);
            if self.emptied_within(SECOND_LOOK).await {
                return killed;
            }
        }
        killed.survivors = self
            .blocking(|tree| {
                let members = tree.targets().into_iter();
                members.map(|(pid, _)| procfs::member(pid)).collect()
            })
            .await;
        killed
    }

    async fn emptied_within(&self, limit: Duration) -> bool {
        let empty = timeout(limit, self.emptied()).await.is_ok();
        empty && self.progress().empty
    }

    /// Sends the signal to everyone; where it is to end the tree, those included who are born while it goes
    /// round.
    fn signal(&self, kill: Kill) -> (Vec<Member>, Met) {
        let mut met = Met::default();
        let mut members = Vec::new();
        let dies = kill.signal == Signal::KILL;
        if dies {
            members = self.kill_group(&mut met);
        }
        let mut round = || self.go_round(kill, &mut members, &mut met);
        if round() && round() {
            // They are born while it goes round.
            let mut rounds = || (2..ROUNDS).all(|_| round());
            match self.group() {
                // Only what is to end may be disturbed in what it waits for.
                Some(group) if kill.grace_ms.is_some() && !dies => group.still(rounds),
                _ => rounds(),
            };
        }
        (members, met)
    }

    /// Sends the signal to those who were not met yet; whether there was anybody.
    fn go_round(&self, kill: Kill, members: &mut Vec<Member>, met: &mut Met) -> bool {
        // A stopped process would hear it only when somebody continues it.
        let wake = kill.grace_ms.is_some()
            || matches!(kill.signal, Signal::TERM | Signal::INT | Signal::QUIT);
        let before = members.len();
        let mut new = self.targets();
        new.retain(|(pid, stat)| met.0.insert((*pid, stat.started)));
        // Named before anybody hears of it: the end of one can be that of others, as a shell's is of its jobs.
        let named = new
            .iter()
            .map(|(pid, _)| procfs::member(*pid))
            .collect::<Vec<_>>();
        for ((pid, stat), member) in new.into_iter().zip(named) {
            let target = Target::open(pid, &stat);
            if let Some(target) = &target
                && target.send(kill.signal)
            {
                if wake {
                    target.send(Signal::CONT);
                }
            } else if stat.lives_as(pid) || member.command.is_empty() {
                // Refused, or gone before anybody heard anything.
                continue;
            }
            members.push(member);
        }
        members.len() > before
    }

    /// Kills everyone; whether nobody is left. Blocks until they are dead, but not for ever.
    pub(super) fn kill_all(&self) -> bool {
        self.kill_pass(&mut Met::default(), Instant::now() + PATIENCE);
        self.targets().is_empty()
    }

    /// Kills everyone whom it finds, until it finds nobody.
    fn kill_pass(&self, met: &mut Met, deadline: Instant) -> Vec<Member> {
        let mut killed = self.kill_group(met);
        loop {
            let members = self.targets();
            let mut dying = Vec::with_capacity(members.len());
            let mut anyone_new = false;
            for (pid, stat) in members {
                let new = met.0.insert((pid, stat.started));
                anyone_new |= new;
                let member = new.then(|| procfs::member(pid));
                if let Some(target) = Target::open(pid, &stat)
                    && target.send(Signal::KILL)
                {
                    killed.extend(member);
                    dying.push(target);
                    dying.truncate(WATCHED);
                }
            }
            if dying.is_empty() || Instant::now() >= deadline {
                return killed;
            }
            // Whoever was born meanwhile must be met before it has children of its own, so there is time to
            // wait only when a whole look met nobody new.
            if !anyone_new {
                await_deaths(dying, deadline);
            }
        }
    }

    /// Kills its control group, if it has one that can be killed, and names those in it who are met anew.
    fn kill_group(&self, met: &mut Met) -> Vec<Member> {
        let mut members = Vec::new();
        let Some(group) = self.group().filter(|_| !self.progress().empty) else {
            return members;
        };
        group.kill(|all| {
            let new = procfs::living(all).filter(|(pid, stat)| met.0.insert((*pid, stat.started)));
            members.extend(new.map(|(pid, _)| procfs::member(pid)));
        });
        members
    }
}
