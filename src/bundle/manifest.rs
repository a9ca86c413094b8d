//! The manifest of sealed images: what they are, what they were made from, how to boot them.
//!
//! A folder of images holds `manifest.json`, one qcow2 per machine, and `SHA256SUMS` over all of
//! them (as `sha256sum -c` reads it), so that a flipped bit anywhere is found and named.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, LayerId};
use crate::host::foreign::{self, Folder, limits};
use crate::host::{HostError, files};
use crate::plan::{self, Readiness, Topology};

/// Version of the manifest. A newer one is refused; version 1 had no `readiness`.
const FORMAT: u32 = 2;

/// Name of the manifest in a folder of images.
pub const MANIFEST: &str = "manifest.json";

/// Name of the list of digests in a folder of images.
pub const SUMS: &str = "SHA256SUMS";

/// Why a folder of images is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The folder holds no images.
    #[error("{} is no folder of images: it has no {MANIFEST} and {SUMS} (`labbuild export DIR` writes one)", .0.display())]
    NotImages(PathBuf),
    /// A file is not what its list or manifest says.
    #[error("{}: {reason}; the images are not used", .file.display())]
    Refused {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The folder to export into is in use.
    #[error("{} is there already and is not empty; name a new folder", .0.display())]
    Occupied(PathBuf),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The host failed.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// What a folder of images holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the manifest.
    pub format: u32,
    /// Version of the labbuild that wrote it.
    pub labbuild: String,
    /// The last stage.
    pub stage: String,
    /// The snapshot the images were sealed from.
    pub snapshot: LayerId,
    /// SHA-256 of the recipe's files.
    pub recipe: Digest,
    /// Machines and networks.
    pub topology: Topology,
    /// What a start waits for, and the ports that are then offered.
    #[serde(default)]
    pub readiness: Readiness,
    /// One per machine.
    pub images: Vec<Image>,
}

/// One image.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The machine it belongs to.
    pub machine: String,
    /// Its file in the folder: `<machine>.qcow2`.
    pub file: String,
    /// Length of the file in bytes.
    pub size: u64,
    /// Size of the disk in bytes.
    pub virtual_size: u64,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// SHA-256 of the kickstart the machine was installed by.
    pub kickstart: Option<Digest>,
}

impl Manifest {
    /// A manifest of this version.
    pub fn new(
        topology: Topology,
        readiness: Readiness,
        stage: String,
        snapshot: LayerId,
        recipe: Digest,
        images: Vec<Image>,
    ) -> Self {
        let labbuild = env!("CARGO_PKG_VERSION").to_owned();
        Manifest { format: FORMAT, labbuild, stage, snapshot, recipe, topology, readiness, images }
    }

    /// Writes `manifest.json` and `SHA256SUMS` into a folder that holds the images.
    pub fn write(&self, dir: &Path) -> Result<(), HostError> {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        let mut sums = format!("{}  {MANIFEST}\n", Digest::of(&text));
        for image in &self.images {
            sums.push_str(&format!("{}  {}\n", image.sha256, image.file));
        }
        files::write_atomic(&dir.join(SUMS), sums.as_bytes())?;
        files::write_atomic(&dir.join(MANIFEST), text.as_bytes())
    }

    /// Reads and checks the manifest of a folder, but not yet the images themselves.
    pub fn read(dir: &Path) -> Result<Self, BundleError> {
        let path = dir.join(MANIFEST);
        let sums_path = dir.join(SUMS);
        if !path.is_file() || !sums_path.is_file() {
            return Err(BundleError::NotImages(dir.to_owned()));
        }
        let folder = Folder::open(dir)?;
        let text = folder.text(MANIFEST, limits::LIST)?;
        let sums = parse_sums(&sums_path, &folder.text(SUMS, limits::LIST)?)?;
        let refuse = |reason: String| BundleError::Refused { file: path.clone(), reason };
        if sums.iter().find(|(file, _)| file == MANIFEST).map(|(_, d)| *d)
            != Some(Digest::of(&text))
        {
            return Err(refuse(format!("its SHA-256 is not the one in {SUMS}")));
        }
        let manifest: Manifest =
            serde_json::from_str(&text).map_err(|e| refuse(format!("it cannot be read: {e}")))?;
        manifest.check().map_err(refuse)?;
        for image in &manifest.images {
            if !sums.contains(&(image.file.clone(), image.sha256)) {
                let reason = format!("{} has another SHA-256 in the manifest", image.file);
                return Err(BundleError::Refused { file: sums_path, reason });
            }
        }
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        if self.format == 0 {
            return Err("there is no format 0".to_owned());
        }
        if self.format > FORMAT {
            return Err(format!("format {} is newer than this labbuild ({FORMAT})", self.format));
        }
        plan::plain("the version of labbuild", &self.labbuild)?;
        plan::plain("the name of the stage", &self.stage)?;
        self.topology.check()?;
        self.readiness.check(&self.topology)?;
        self.images.iter().try_for_each(|image| self.check_image(image))?;
        for machine in &self.topology.machines {
            let of_machine = self.images.iter().filter(|i| i.machine == machine.name);
            if of_machine.count() != 1 {
                return Err(format!("machine {} has no image or several", machine.name));
            }
        }
        Ok(())
    }

    /// Every image is a known machine's, and lies in the folder: no other name can be copied anywhere.
    fn check_image(&self, image: &Image) -> Result<(), String> {
        let Image { machine, file, .. } = image;
        let Some(hardware) = self.topology.machine(machine) else {
            let machine = machine.escape_debug();
            return Err(format!("it has an image of `{machine}`, which is no machine of it"));
        };
        if *file != format!("{machine}.qcow2") {
            return Err(format!(
                "the image of {machine} is called `{}`, not {machine}.qcow2",
                file.escape_debug()
            ));
        }
        // A disk may have been grown by its recipe, never shrunk.
        if image.virtual_size == 0 || image.virtual_size > hardware.disk_bytes {
            return Err(format!(
                "the image of {machine} has a disk of {} bytes, its machine one of {}",
                image.virtual_size, hardware.disk_bytes
            ));
        }
        Ok(())
    }
}

/// Checks a file's digest, naming the file when it differs.
pub fn check_digest(file: &Path, wanted: &Digest) -> Result<(), BundleError> {
    let found =
        foreign::open(file).and_then(Digest::of_reader).map_err(HostError::file("read", file))?;
    if found == *wanted {
        return Ok(());
    }
    let reason = format!("its SHA-256 is {found}, not {wanted}");
    Err(BundleError::Refused { file: file.to_owned(), reason })
}

fn parse_sums(path: &Path, text: &str) -> Result<Vec<(String, Digest)>, BundleError> {
    let parse = |line: &str| {
        let (digest, file) = line.split_once("  ")?;
        Some((file.to_owned(), digest.parse().ok()?))
    };
    let bad = |line: &str| BundleError::Refused {
        file: path.to_owned(),
        reason: format!("`{}` is not a digest and a name", line.escape_debug()),
    };
    text.lines().map(|line| parse(line).ok_or_else(|| bad(line))).collect()
}
