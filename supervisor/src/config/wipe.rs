//! The environment block that we came in, overwritten: `/proc/<pid>/environ` shows it as long as we live.

/// Overwrites every variable of the block with zeros and empties the environment. To be called while there
/// is one thread, when everything wanted has been read.
#[expect(
    unsafe_code,
    reason = "the block is ours to write, but only C knows where it is"
)]
pub(super) fn environment_block() {
    unsafe extern "C" {
        static mut environ: *mut *mut libc::c_char;
    }
    // SAFETY: `environ` is null or points to strings ended by a null pointer, all of them writable memory of
    // this process. There is one thread, so nobody reads them meanwhile; afterwards nobody can find them.
    unsafe {
        let mut variable = environ;
        while !variable.is_null() && !(*variable).is_null() {
            let length = libc::strlen(*variable);
            // The kernel reads this memory, the compiler sees no reader: volatile, lest the writes be dropped.
            for offset in 0..length {
                (*variable).add(offset).write_volatile(0);
            }
            variable = variable.add(1);
        }
        libc::clearenv();
    }
}
