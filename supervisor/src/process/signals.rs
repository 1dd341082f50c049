//! Signals of a zygote, a shim and a child: the kernel's own calls, for libc's keep two signals to themselves.
#![expect(unsafe_code, reason = "rustix leaves signals to libc")]

use std::ptr;

use libc::{SIG_BLOCK, SIG_SETMASK, SIGCHLD, SIGPIPE, SIGTERM};

/// The size of the kernel's set of signals.
const SET_BYTES: usize = size_of::<u64>();

/// `SIGCHLD` and `SIGTERM`.
const AWAITED: u64 = bit(SIGCHLD) | bit(SIGTERM);

const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// Blocks what [`wait`] waits for, so that none is missed between a look and the wait.
pub(super) fn block() {
    set_mask(SIG_BLOCK, AWAITED);
}

/// Waits for a child's end or for `SIGTERM`, or any interruption.
pub(super) fn wait() {
    let set = AWAITED;
    // SAFETY: the kernel reads `set`, which lives; null asks for no details and sets no limit.
    unsafe {
        let null = ptr::null::<u8>();
        libc::syscall(
            libc::SYS_rt_sigtimedwait,
            &raw const set,
            null,
            null,
            SET_BYTES,
        );
    }
}

/// Unblocks every signal, and gives `SIGPIPE`, the one that the zygote ignores, its default.
pub(super) fn default() {
    set_mask(SIG_SETMASK, 0);
    set_default(SIGPIPE);
}

/// Gives every signal its default, so that nothing that the supervisor's parent ignored is ignored in what
/// we run. `SIGPIPE` stays ignored until the child executes: a write must fail, not kill.
pub(super) fn default_dispositions() {
    for signal in (1..=64).filter(|signal| *signal != SIGPIPE) {
        // It refuses SIGKILL and SIGSTOP, whose default holds anyway.
        set_default(signal);
    }
}

fn set_mask(how: i32, set: u64) {
    // SAFETY: the kernel reads `set`, which lives; null asks for no old one.
    unsafe {
        let old = ptr::null_mut::<u64>();
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            how,
            &raw const set,
            old,
            SET_BYTES,
        );
    }
}

fn set_default(signal: i32) {
    // The kernel's own structure, of all zeros: the default action, no flags, nothing blocked. Larger than on
    // any architecture.
    let default = [0_u64; 8];
    // SAFETY: the kernel reads `default`, which lives, and writes nowhere. No handler is installed.
    unsafe {
        let old = ptr::null_mut::<u64>();
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            default.as_ptr(),
            old,
            SET_BYTES,
        );
    }
}
