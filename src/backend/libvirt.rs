//! One libvirt connection: the only way to a VM. Calls block and are safe from many threads at
//! once; nothing here holds a lock, so that two machines never wait for each other.

use std::path::Path;
use std::sync::Arc;

use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::{Error, ErrorNumber};
use virt::network::Network;

use super::accel::{self, AccelChoice};
use super::guest::LibvirtGuest;
use super::{
    Accelerator, Backend, BackendError, Boot, DomainSpec, Guest, NetworkMode, NetworkSpec, xml,
};
use crate::host::HostError;

/// A libvirtd, a lab's own or any other.
pub struct LibvirtBackend {
    connection: Connect,
    uri: String,
    accelerator: Accelerator,
}

impl LibvirtBackend {
    /// Connects and decides on the accelerator.
    pub fn connect(uri: &str, accel: AccelChoice) -> Result<LibvirtBackend, BackendError> {
        // Else libvirt prints every error on its own.
        virt::error::clear_error_callback();
        let connection = Connect::open(Some(uri)).map_err(|e| BackendError::Connect {
            uri: uri.to_owned(),
            reason: e.message().to_owned(),
        })?;
        let accelerator = accel::choose(accel, &connection, uri)?;
        Ok(LibvirtBackend { connection, uri: uri.to_owned(), accelerator })
    }

    fn existing_network(&self, name: &str) -> Result<Option<Network>, BackendError> {
        let found = self.connection.lookup_network_by_name(name);
        absent_is_none(found, ErrorNumber::NoNetwork, || format!("look for network {name}"))
    }

    fn existing_domain(&self, name: &str) -> Result<Option<Domain>, BackendError> {
        let found = self.connection.lookup_domain_by_name(name);
        absent_is_none(found, ErrorNumber::NoDomain, || format!("look for machine {name}"))
    }

    fn define_network(&self, spec: &NetworkSpec, xml: &str) -> Result<Network, BackendError> {
        let doing = || format!("define network {}", spec.name);
        self.connection.define_network_xml(xml).map_err(call(doing))
    }
}

/// For `map_err`: a failed call, with libvirt's words and not its numbers.
pub(super) fn call(doing: impl FnOnce() -> String) -> impl FnOnce(Error) -> BackendError {
    move |e| BackendError::Call { doing: doing(), reason: e.message().to_owned() }
}

/// Whether libvirt's error is this one.
pub(super) fn is(error: &Error, number: ErrorNumber) -> bool {
    error.code().is(number)
}

fn absent_is_none<T>(
    found: Result<T, Error>,
    absent: ErrorNumber,
    doing: impl FnOnce() -> String,
) -> Result<Option<T>, BackendError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(e) if is(&e, absent) => Ok(None),
        Err(e) => Err(call(doing)(e)),
    }
}

/// Whether this host has a bridge of that name, for bridged networks on a workstation.
pub fn check_bridge(name: &str) -> bool {
    let one_word = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
    one_word && Path::new("/sys/class/net").join(name).join("bridge").is_dir()
}

impl Backend for LibvirtBackend {
    fn uri(&self) -> &str {
        &self.uri
    }

    fn accelerator(&self) -> &Accelerator {
        &self.accelerator
    }

    fn ensure_network(&self, spec: &NetworkSpec) -> Result<(), BackendError> {
        let (xml, digest) = xml::network(spec)?;
        let network = match self.existing_network(&spec.name)? {
            None => self.define_network(spec, &xml)?,
            Some(network) if is_as_declared(&network, spec, &digest)? => network,
            Some(_) => self.define_network(spec, &xml)?,
        };
        match network.is_active().map_err(call(|| format!("look at network {}", spec.name)))? {
            true => Ok(()),
            false => network.create().map_err(call(|| cannot_start(spec))),
        }
    }

    fn remove_network(&self, name: &str) -> Result<(), BackendError> {
        let Some(network) = self.existing_network(name)? else { return Ok(()) };
        if mark_of(&network, name)?.is_none() {
            return Err(foreign_network(name));
        }
        let doing = || format!("remove network {name}");
        if network.is_active().map_err(call(doing))? {
            network.destroy().map_err(call(doing))?;
        }
        network.undefine().map_err(call(doing))
    }

    fn start_domain(&self, spec: &DomainSpec) -> Result<Arc<dyn Guest>, BackendError> {
        check_files(spec)?;
        let xml = xml::domain(spec, self.accelerator.kind)?;
        if self.existing_domain(&spec.name)?.is_some() {
            let message = format!("a machine named {} is already there at {}", spec.name, self.uri);
            return Err(BackendError::Conflict(message));
        }
        let domain = self.connection.create_domain_xml(&xml, start_flags(&spec.boot));
        let domain = domain.map_err(call(|| format!("start machine {}", spec.machine)))?;
        Ok(Arc::new(LibvirtGuest::new(domain, &spec.machine)))
    }

    fn find_domain(
        &self,
        name: &str,
        machine: &str,
    ) -> Result<Option<Arc<dyn Guest>>, BackendError> {
        let Some(domain) = self.existing_domain(name)? else { return Ok(None) };
        let mark =
            domain.metadata(virt::sys::VIR_DOMAIN_METADATA_ELEMENT as i32, Some(xml::MARK_URI), 0);
        match mark {
            Ok(_) => Ok(Some(Arc::new(LibvirtGuest::new(domain, machine)))),
            Err(e) if is(&e, ErrorNumber::NoDomain) => Ok(None),
            Err(e) if is(&e, ErrorNumber::NoDomainMetadata) => Err(BackendError::Conflict(
                format!("the machine named {name} at {} was not made by labbuild", self.uri),
            )),
            Err(e) => Err(call(|| format!("look at machine {machine}"))(e)),
        }
    }
}

/// An installation nobody waits for is of no use to anyone: it ends with the connection.
fn start_flags(boot: &Boot) -> u32 {
    match boot {
        Boot::Disk => 0,
        Boot::Installer(_) => virt::sys::VIR_DOMAIN_START_AUTODESTROY,
    }
}

/// True: the network is as declared. False: it is ours, of an older shape, and stopped, so that
/// it can be defined again. A network in use, or of someone else, is a conflict.
fn is_as_declared(
    network: &Network,
    spec: &NetworkSpec,
    digest: &str,
) -> Result<bool, BackendError> {
    let doing = || format!("look at network {}", spec.name);
    let uuid = network.uuid_string().map_err(call(doing))?;
    if !uuid.eq_ignore_ascii_case(&spec.uuid) {
        return Err(foreign_network(&spec.name));
    }
    if mark_of(network, &spec.name)?.as_deref() == Some(digest) {
        return Ok(true);
    }
    match network.is_active().map_err(call(doing))? {
        false => Ok(false),
        true => Err(BackendError::Conflict(format!(
            "network {} runs with another definition; `labbuild down` first",
            spec.name
        ))),
    }
}

fn mark_of(network: &Network, name: &str) -> Result<Option<String>, BackendError> {
    let xml = network.xml_desc(virt::sys::VIR_NETWORK_XML_INACTIVE);
    Ok(xml::digest_in(&xml.map_err(call(|| format!("look at network {name}")))?))
}

fn foreign_network(name: &str) -> BackendError {
    BackendError::Conflict(format!(
        "a network named {name} is there and was not made by labbuild for this lab"
    ))
}

fn cannot_start(spec: &NetworkSpec) -> String {
    match &spec.mode {
        NetworkMode::HostBridge { bridge } => {
            format!("start network {} on bridge {bridge}", spec.name)
        }
        _ => format!("start network {}", spec.name),
    }
}

/// libvirt's own words for a missing file name QEMU's options; ours name the machine.
fn check_files(spec: &DomainSpec) -> Result<(), BackendError> {
    let log_folder = spec.console_log.parent().unwrap_or(Path::new("/"));
    for (path, what) in [(spec.disk.as_path(), "disk"), (log_folder, "folder of the console log")] {
        if let Err(e) = std::fs::metadata(path) {
            let message =
                format!("the {what} of machine {}, {}: {e}", spec.machine, path.display());
            return Err(BackendError::Invalid(message));
        }
    }
    let disk = std::fs::File::options().read(true).write(true).open(&spec.disk);
    disk.map(drop).map_err(|e| HostError::file("open for writing", &spec.disk)(e).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_is_not_looked_for_outside_its_folder() {
        assert!(!check_bridge(""));
        assert!(!check_bridge("lo"));
        assert!(!check_bridge("../../devices/virtual/net"));
    }

    #[test]
    fn a_uri_that_leads_nowhere_is_named() {
        let uri = "qemu+unix:///system?socket=/nonexistent/libvirt-sock";
        let error = LibvirtBackend::connect(uri, AccelChoice::Auto).err();
        let text = error.map(|e| e.to_string()).unwrap_or_default();
        assert!(text.contains(uri) && text.contains("No such file"), "{text}");
    }
}
