//! Stores as commands leave them, made without a guest.

use std::path::Path;

use labbuild::digest::LayerId;
use labbuild::host::Cmd;
use labbuild::lab::{MachineRecord, Record};
use labbuild::plan::Topology;
use labbuild::store::Store;
use serde_json::json;

/// A hypervisor that is not there.
pub const NOBODY: &str = "qemu+unix:///system?socket=/nonexistent/labbuild";

pub fn id(number: u8) -> LayerId {
    format!("{number:064x}").parse().unwrap()
}

/// One machine and no network.
pub fn topology() -> Topology {
    let machine = json!({
        "name": "one", "uuid": "u", "cpus": 1, "memory_mib": 1024, "disk_bytes": 1 << 20,
        "disk_serial": "s", "machine_type": "q35", "cpu_model": "qemu64", "nics": [],
    });
    let topology = json!({ "lab": "pair", "title": "Pair", "networks": [], "machines": [machine] });
    serde_json::from_value(topology).unwrap()
}

/// A lab as it is recorded before anything of it runs.
pub fn record(name: &str, connect: Option<&str>) -> Record {
    Record::new(name, Path::new("/recipe"), connect.map(str::to_owned), topology())
}

/// The lab's only machine, under this name in libvirt.
pub fn machine(store: &Store, lab: &str, domain: &str) -> MachineRecord {
    MachineRecord {
        domain: domain.to_owned(),
        overlay: store.lab_dir(lab).join("disks/one-0.qcow2"),
        layer: None,
        backing: None,
    }
}

/// Stores an empty disk as a layer.
pub async fn put_layer(store: &Store, id: LayerId, parent: Option<LayerId>) {
    let work = store.work_dir("testing").unwrap();
    let disk = work.path().join("disk.qcow2");
    let create = Cmd::new("qemu-img").args(["create", "-q", "-f", "qcow2"]);
    create.arg(&disk).arg("1M").run().await.unwrap();
    store.put_layer(id, parent, format!("layer {}", id.short()), &work, &disk).await.unwrap();
}
