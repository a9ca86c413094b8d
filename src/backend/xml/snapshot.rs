//! The XML of a disk-only snapshot: the disk goes on in a new overlay.

use std::path::Path;

use super::{element, path};
use crate::backend::BackendError;

/// The name of a guest's one disk.
pub(super) const DISK: &str = "vda";

/// The XML that makes the guest go on in `overlay`, a file that libvirt makes.
pub(in crate::backend) fn disk_snapshot(overlay: &Path) -> Result<String, BackendError> {
    let disk = element("disk")
        .attr("name", DISK)
        .attr("snapshot", "external")
        .attr("type", "file")
        .child(element("driver").attr("type", "qcow2"))
        .child(element("source").attr("file", path("the new overlay", overlay)?));
    element("domainsnapshot")
        .child(element("memory").attr("snapshot", "no"))
        .child(element("disks").child(disk))
        .render()
}
