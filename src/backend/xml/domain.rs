//! The XML of a domain: everything a guest can see is written out, so that two hosts, and two
//! versions of libvirt, give it the same machine.

use super::{Element, element, name, path, plain};
use crate::backend::{AcceleratorKind, BackendError, Boot, Clock, DomainSpec, NicSpec};

/// Namespace of the mark that tells labbuild's domains and networks from others.
pub(in crate::backend) const MARK_URI: &str = "urn:labbuild:mark:1";

/// Slots on the root bus, the same on every machine type: no bridge in between, and none of the
/// slots that chipsets keep for themselves (0 to 2, and from 24 upwards). Fixed here, because
/// libvirt's own choice follows the order and number of devices, and may change with its version.
mod slot {
    pub const CHANNELS: usize = 3;
    pub const DISK: usize = 4;
    pub const RANDOM: usize = 5;
    pub const BALLOON: usize = 6;
    pub const ANSWERS: usize = 7;
    pub const FIRST_NIC: usize = 8;
    pub const LAST_NIC: usize = 23;
}

/// The longest serial number that a virtio disk has.
const SERIAL: usize = 20;

/// The XML of a domain for an accelerator.
pub(in crate::backend) fn domain(
    spec: &DomainSpec,
    accelerator: AcceleratorKind,
) -> Result<String, BackendError> {
    let kind = match accelerator {
        AcceleratorKind::Kvm => "kvm",
        AcceleratorKind::Tcg => "qemu",
    };
    element("domain")
        .attr("type", kind)
        .child(element("name").text(name("the machine's name", &spec.name)?))
        .child(element("uuid").text(plain("the machine's UUID", &spec.uuid)?))
        .child(element("metadata").child(mark(spec)?))
        .child(element("memory").attr("unit", "MiB").text(spec.memory_mib.to_string()))
        .child(element("vcpu").attr("placement", "static").text(spec.cpus.to_string()))
        .child(operating_system(spec)?)
        .child(element("features").children([element("acpi"), element("apic")]))
        .child(cpu(spec)?)
        .child(clock(spec.clock, accelerator))
        .child(element("on_poweroff").text("destroy"))
        .child(element("on_reboot").text(on_reboot(&spec.boot)))
        .child(element("on_crash").text("destroy"))
        .child(devices(spec)?)
        .render()
}

fn mark(spec: &DomainSpec) -> Result<Element, BackendError> {
    Ok(element("labbuild:machine")
        .attr("xmlns:labbuild", MARK_URI)
        .attr("name", plain("the machine's name", &spec.machine)?))
}

/// Direct kernel boot would start an installer again and again; a reboot ends it instead.
fn on_reboot(boot: &Boot) -> &'static str {
    match boot {
        Boot::Disk => "restart",
        Boot::Installer(_) => "destroy",
    }
}

fn operating_system(spec: &DomainSpec) -> Result<Element, BackendError> {
    let machine = plain("the machine type", &spec.machine_type)?;
    let os = element("os")
        .child(element("type").attr("arch", "x86_64").attr("machine", machine).text("hvm"));
    let Boot::Installer(installer) = &spec.boot else {
        return Ok(os.child(element("boot").attr("dev", "hd")));
    };
    let words = plain("the installer's command line", &installer.command_line)?;
    Ok(os
        .child(element("kernel").text(path("the installer's kernel", &installer.kernel)?))
        .child(element("initrd").text(path("the installer's initrd", &installer.initrd)?))
        .child(element("cmdline").text(words)))
}

fn cpu(spec: &DomainSpec) -> Result<Element, BackendError> {
    let model = plain("the CPU model", &spec.cpu_model)?;
    Ok(element("cpu")
        .attr("mode", "custom")
        .attr("match", "exact")
        .attr("check", "none")
        .child(element("model").attr("fallback", "forbid").text(model)))
}

/// On a busy host, the ticks of an emulated machine come late. A kernel that has nothing but these
/// ticks to judge the processor's counter by calls the counter unstable then, keeps time by the ACPI
/// timer, and may wait forever for its second processor if that happens just then (seen with Linux 6.1:
/// `check_tsc_sync_target` waits for a source that has left). With an HPET it has a clock to judge by.
/// Under KVM a kernel has kvm-clock.
fn clock(clock: Clock, accelerator: AcceleratorKind) -> Element {
    let hpet = match accelerator {
        AcceleratorKind::Kvm => "no",
        AcceleratorKind::Tcg => "yes",
    };
    let base = match clock {
        Clock::Host => element("clock").attr("offset", "utc"),
        Clock::Fixed(epoch) => {
            element("clock").attr("offset", "absolute").attr("start", epoch.to_string())
        }
    };
    base.child(element("timer").attr("name", "rtc").attr("tickpolicy", "catchup"))
        .child(element("timer").attr("name", "pit").attr("tickpolicy", "delay"))
        .child(element("timer").attr("name", "hpet").attr("present", hpet))
}

fn devices(spec: &DomainSpec) -> Result<Element, BackendError> {
    Ok(element("devices")
        .child(disk(spec)?)
        .children(answers(spec)?)
        .child(element("controller").attr("type", "usb").attr("index", "0").attr("model", "none"))
        .child(
            element("controller")
                .attr("type", "virtio-serial")
                .attr("index", "0")
                .child(at(slot::CHANNELS)),
        )
        .children(nics(spec)?)
        .children(console(spec)?)
        .child(agent_channel())
        .child(element("video").child(element("model").attr("type", "none")))
        .child(element("memballoon").attr("model", "virtio").child(at(slot::BALLOON)))
        .child(
            element("rng")
                .attr("model", "virtio")
                .child(element("backend").attr("model", "random").text("/dev/urandom"))
                .child(at(slot::RANDOM)),
        ))
}

fn at(slot: usize) -> Element {
    element("address")
        .attr("type", "pci")
        .attr("domain", "0x0000")
        .attr("bus", "0x00")
        .attr("slot", format!("{slot:#04x}"))
        .attr("function", "0x0")
}

fn disk(spec: &DomainSpec) -> Result<Element, BackendError> {
    let serial = plain("the disk's serial number", &spec.disk_serial)?;
    if serial.len() > SERIAL {
        let message =
            format!("the disk's serial number {serial:?} is longer than {SERIAL} characters");
        return Err(BackendError::Invalid(message));
    }
    let driver = element("driver")
        .attr("name", "qemu")
        .attr("type", "qcow2")
        .attr("cache", if spec.unsafe_cache { "unsafe" } else { "writeback" })
        .attr("discard", "unmap")
        .attr("detect_zeroes", "off");
    Ok(element("disk")
        .attr("type", "file")
        .attr("device", "disk")
        .child(driver)
        .child(element("source").attr("file", path("the disk", &spec.disk)?))
        .child(element("target").attr("dev", super::snapshot::DISK).attr("bus", "virtio"))
        .child(element("serial").text(serial))
        .child(at(slot::DISK)))
}

/// The volume that an installer reads its answers from.
fn answers(spec: &DomainSpec) -> Result<Option<Element>, BackendError> {
    let Boot::Installer(installer) = &spec.boot else { return Ok(None) };
    let file = path("the volume of answers", &installer.volume)?;
    let disk = element("disk")
        .attr("type", "file")
        .attr("device", "disk")
        .child(element("driver").attr("name", "qemu").attr("type", "raw"))
        .child(element("source").attr("file", file))
        .child(element("target").attr("dev", "vdb").attr("bus", "virtio"))
        .child(element("readonly"))
        .child(at(slot::ANSWERS));
    Ok(Some(disk))
}

fn nics(spec: &DomainSpec) -> Result<Vec<Element>, BackendError> {
    let most = slot::LAST_NIC - slot::FIRST_NIC + 1;
    if spec.nics.len() > most {
        let message = format!(
            "machine {} has {} network interfaces; {most} is the most",
            spec.machine,
            spec.nics.len()
        );
        return Err(BackendError::Invalid(message));
    }
    spec.nics.iter().zip(slot::FIRST_NIC..).map(|(nic, slot)| interface(nic, slot)).collect()
}

fn interface(nic: &NicSpec, slot: usize) -> Result<Element, BackendError> {
    let network = name("the network's name", &nic.network)?;
    Ok(element("interface")
        .attr("type", "network")
        .child(element("mac").attr("address", plain("the MAC address", &nic.mac)?))
        .child(element("source").attr("network", network))
        .child(element("model").attr("type", "virtio"))
        // No boot ROM: guests boot from disk, and the ROM differs from host to host.
        .child(element("rom").attr("enabled", "no"))
        .child(at(slot)))
}

fn console(spec: &DomainSpec) -> Result<[Element; 2], BackendError> {
    let log = path("the console's log", &spec.console_log)?;
    let port = |kind| element("target").attr("type", kind).attr("port", "0");
    let log = element("log").attr("file", log).attr("append", "on");
    Ok([
        element("serial").attr("type", "pty").child(log.clone()).child(port("isa-serial")),
        element("console").attr("type", "pty").child(log).child(port("serial")),
    ])
}

/// libvirt chooses the socket and owns it: whoever else connects is never answered.
fn agent_channel() -> Element {
    let target = element("target").attr("type", "virtio").attr("name", "org.qemu.guest_agent.0");
    element("channel").attr("type", "unix").child(target).child(
        element("address")
            .attr("type", "virtio-serial")
            .attr("controller", "0")
            .attr("bus", "0")
            .attr("port", "1"),
    )
}
