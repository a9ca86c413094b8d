//! Stopping a lab, so that nothing of it is left but its record and logs.

use std::path::Path;

use super::LabError;
use super::record::Record;
use super::start::sandbox_root;
use crate::backend::{AccelChoice, Backend, BackendError, LibvirtBackend, blocking};
use crate::host::files;
use crate::sandbox::Sandbox;
use crate::store::Store;

/// Ends the machines and networks of a lab and removes its overlays. Fine if none runs.
pub async fn stop(store: &Store, name: &str) -> Result<(), LabError> {
    let dir = store.lab_dir(name);
    Sandbox::end(&sandbox_root(store, name)).await?;
    if let Some(record) = Record::read(store, name)?
        && let Some(uri) = record.connect.clone().filter(|_| record.has_begun())
    {
        blocking(move || clear_shared(&uri, &record)).await?;
    }
    files::remove(&dir.join("disks"))?;
    Ok(())
}

/// As [`stop`], and forgets the lab.
pub async fn discard(store: &Store, name: &str) -> Result<(), LabError> {
    stop(store, name).await?;
    remove_lab_dir(&store.lab_dir(name)).await
}

async fn remove_lab_dir(dir: &Path) -> Result<(), LabError> {
    // libvirt's helpers leave files of users that only the lab's namespace knew.
    Ok(files::remove(dir)?)
}

/// Removes what a lab made on somebody else's libvirtd, by the names it recorded.
fn clear_shared(uri: &str, record: &Record) -> Result<(), BackendError> {
    let backend = LibvirtBackend::connect(uri, AccelChoice::Auto)?;
    for (machine, entry) in &record.machines {
        if let Some(guest) = backend.find_domain(&entry.domain, machine)? {
            guest.destroy()?;
        }
    }
    record.networks.values().try_for_each(|network| backend.remove_network(network))
}
