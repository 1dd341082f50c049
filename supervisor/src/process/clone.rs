//! A child that borrows its parent's memory until it executes, born into a control group where that is asked.

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::process::Pid;

/// How large the stack of a child is until it executes, in bytes.
const STACK_BYTES: usize = 64 << 10;

/// What a child does first. It ends by executing, or by returning.
type Enter = extern "C" fn(*mut c_void) -> c_int;

/// Memory for a child's stack, as aligned as stacks are.
pub(super) struct Stack(Vec<MaybeUninit<u128>>);

impl Stack {
    pub(super) fn new() -> Self {
        Self(vec![MaybeUninit::uninit(); STACK_BYTES / size_of::<u128>()])
    }
}

/// Forks a child that runs `enter` with `argument`, and stands still until it has executed or exited.
///
/// The child borrows our memory instead of getting a copy, as vfork has it, for a copy would cost more than
/// all else that is done for a start. It has descriptors, signals and ids of its own.
///
/// # Safety
///
/// There is one thread. `argument` is what `enter` takes, and nobody else's until this returns. What the child
/// allocates and does not free stays allocated here.
#[expect(unsafe_code, reason = "clone")]
pub(super) unsafe fn child(
    stack: &mut Stack,
    enter: Enter,
    argument: *mut c_void,
) -> Result<Pid, Errno> {
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: we stand still until the child is done, so nobody else touches the memory that it uses: its own
    // stack, which grows down from the end of `stack`, and what the caller promises of `argument`.
    let pid = unsafe {
        let top = stack.0.as_mut_ptr_range().end.cast();
        libc::clone(enter, top, flags, argument)
    };
    born(pid.into())
}

/// The same, in the control group of the folder `group`: moving the child there would take milliseconds, for
/// the kernel stops all forks of the machine meanwhile. `NOSYS` where the kernel, or its guard, does not know
/// the way.
///
/// # Safety
///
/// As for [`child`].
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "libc has no clone3")]
pub(super) unsafe fn child_in(
    group: BorrowedFd<'_>,
    stack: &mut Stack,
    enter: Enter,
    argument: *mut c_void,
) -> Result<Pid, Errno> {
    const CLONE_INTO_CGROUP: u64 = 1 << 33;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK;
    let order = Order {
        flags: u64::from(flags.unsigned_abs()) | CLONE_INTO_CGROUP,
        exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
        stack: stack.0.as_mut_ptr() as u64,
        stack_size: STACK_BYTES as u64,
        cgroup: u64::from(group.as_raw_fd().unsigned_abs()),
        ..Order::default()
    };
    let mut result = libc::SYS_clone3;
    // SAFETY: we go on behind the call as if it were any other; the kernel keeps our registers but for those
    // that are named, and nothing is pushed on our stack. The child, whose result is 0, goes on upon the end of
    // a stack of its own, aligned for a call, and never leaves this block. All else as in `child`.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "mov edi, eax",
            "mov eax, {exit}",
            "syscall",
            "ud2",
            "2:",
            exit = const libc::SYS_exit,
            inlateout("rax") result,
            in("rdi") &raw const order,
            in("rsi") size_of::<Order>(),
            in("r12") argument,
            in("r13") enter,
            out("rcx") _,
            out("r11") _,
        );
    }
    // The kernel's own way to tell an error.
    if result < 0 {
        let code = i32::try_from(-result).unwrap_or(libc::EIO);
        return Err(Errno::from_raw_os_error(code));
    }
    born(result)
}

/// Not known on this architecture.
///
/// # Safety
///
/// None is needed.
#[cfg(not(target_arch = "x86_64"))]
#[expect(unsafe_code, reason = "as where it is known")]
pub(super) unsafe fn child_in(
    _group: BorrowedFd<'_>,
    _stack: &mut Stack,
    _enter: Enter,
    _argument: *mut c_void,
) -> Result<Pid, Errno> {
    Err(Errno::NOSYS)
}

/// The kernel's `struct clone_args`.
#[cfg(target_arch = "x86_64")]
#[derive(Default)]
#[repr(C)]
struct Order {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

fn born(result: i64) -> Result<Pid, Errno> {
    let pid = i32::try_from(result).ok().filter(|pid| *pid > 0);
    pid.and_then(Pid::from_raw).ok_or_else(last_error)
}

/// What the last call that failed says.
pub(super) fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}
