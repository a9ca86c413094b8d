//! System calls that no script needs and that only reach deeper into the kernel are refused in the cage:
//! its identity and namespaces already forbid what they could do, and a fault of the kernel there
//! would be the way out.

use std::collections::BTreeMap;
use std::path::Path;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

use crate::host::HostError;

/// Refused whatever their arguments. Mounting stays: mmdebstrap makes the tree's `/proc` and `/dev`.
const REFUSED: [c_long; 27] = [
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_open_by_handle_at,
    libc::SYS_setns,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_quotactl,
];

/// Namespaces inside the cage's would give new powers over the kernel. Those of mounts are not among
/// them: mmdebstrap tries by one whether it can mount, and would go without.
const NAMESPACES: [i32; 6] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// Applies the filter to this process and all that it starts.
pub(super) fn apply() -> Result<(), HostError> {
    let mut refused: Rules = REFUSED.iter().map(|&call| (call, Vec::new())).collect();
    let flags: Result<Vec<_>, _> = NAMESPACES.iter().map(|&flag| with_flag(flag)).collect();
    let flags = flags.map_err(failed)?;
    refused.extend([(libc::SYS_clone, flags.clone()), (libc::SYS_unshare, flags)]);
    install(refused, libc::EPERM)?;
    // Its flags lie in memory, where no filter can look: libraries fall back to clone.
    install(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)
}

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

fn with_flag(flag: i32) -> Result<SeccompRule, seccompiler::BackendError> {
    let bit = u64::from(flag.unsigned_abs());
    let set = SeccompCmpOp::MaskedEq(bit);
    let condition = SeccompCondition::new(0, SeccompCmpArgLen::Qword, set, bit)?;
    SeccompRule::new(vec![condition])
}

fn install(rules: Rules, errno: i32) -> Result<(), HostError> {
    let refuse = SeccompAction::Errno(errno.unsigned_abs());
    let arch: TargetArch = std::env::consts::ARCH.try_into().map_err(failed)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).map_err(failed)?;
    let program: BpfProgram = filter.try_into().map_err(failed)?;
    apply_filter(&program).map_err(|e| failed_to(&e))
}

fn failed(e: seccompiler::BackendError) -> HostError {
    failed_to(&e)
}

fn failed_to(e: &dyn std::fmt::Display) -> HostError {
    let source = std::io::Error::other(e.to_string());
    HostError::file("refuse system calls in", Path::new("the cage"))(source)
}
