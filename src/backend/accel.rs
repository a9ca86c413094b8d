//! Which accelerator drives the guests. A device `/dev/kvm` that opens is no proof: on a nested
//! host without VT-x or SVM it creates machines that hang. The CPU's flags and libvirt must agree.

use virt::connect::Connect;

use super::{Accelerator, AcceleratorKind, BackendError};

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccelChoice {
    /// KVM where it really works, else TCG.
    #[default]
    Auto,
    /// KVM, or an error that says why not.
    Kvm,
    /// Emulation.
    Tcg,
}

/// Decides, and says why.
pub(super) fn choose(
    choice: AccelChoice,
    connection: &Connect,
    uri: &str,
) -> Result<Accelerator, BackendError> {
    if choice == AccelChoice::Tcg {
        return Ok(tcg("it was asked for".to_owned()));
    }
    let usable = cpu_can(uri).and_then(|why| offered(connection).map(|()| why));
    match (usable, choice) {
        (Ok(reason), _) => Ok(Accelerator { kind: AcceleratorKind::Kvm, reason }),
        (Err(reason), AccelChoice::Auto) => Ok(tcg(reason)),
        (Err(reason), _) => {
            Err(BackendError::Invalid(format!("KVM was asked for and cannot work here: {reason}")))
        }
    }
}

fn tcg(reason: String) -> Accelerator {
    Accelerator { kind: AcceleratorKind::Tcg, reason }
}

/// The CPU's word, where the CPU is this machine's.
fn cpu_can(uri: &str) -> Result<String, String> {
    if is_remote(uri) {
        return Ok("the remote libvirt offers it".to_owned());
    }
    let info = std::fs::read_to_string("/proc/cpuinfo")
        .map_err(|e| format!("/proc/cpuinfo cannot be read: {e}"))?;
    let flag =
        virtualisation_flag(&info).ok_or_else(|| "the CPU has no vmx or svm flag".to_owned())?;
    Ok(format!("the CPU has {flag} and libvirt offers it"))
}

fn virtualisation_flag(cpuinfo: &str) -> Option<&'static str> {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"))?;
    ["vmx", "svm"].into_iter().find(|flag| flags.split_whitespace().any(|word| word == *flag))
}

/// libvirt's word.
fn offered(connection: &Connect) -> Result<(), String> {
    connection
        .domain_capabilities(None, Some("x86_64"), None, Some("kvm"), 0)
        .map(drop)
        .map_err(|e| format!("libvirt does not offer KVM ({})", e.message()))
}

/// Whether a libvirt URI names another machine: `driver[+transport]://[user@][host]/path`.
fn is_remote(uri: &str) -> bool {
    let rest = uri.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    !host.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_flags_count() {
        assert_eq!(virtualisation_flag("flags\t\t: fpu svm de\n"), Some("svm"));
        assert_eq!(virtualisation_flag("flags\t\t: fpu avmx svm_lock\nvmx flags : vmx"), None);
    }

    #[test]
    fn a_host_in_the_uri_makes_it_remote() {
        assert!(is_remote("qemu+ssh://ann@lab.example/system"));
        assert!(is_remote("qemu+tls://lab.example/system?no_verify=1"));
        assert!(!is_remote("qemu:///system"));
        assert!(!is_remote("qemu+unix:///system?socket=/run/a//b"));
    }
}
