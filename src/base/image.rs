//! From a tree to a disk that boots by itself: partition table, file system, boot loader, qcow2.
//!
//! Nothing here needs root, loop devices or a virtual machine, and every input that a tool would
//! take from the host (its configuration, the time, random numbers) is given to it instead. The tree
//! was made by a stranger's scripts: the tools that read it work in a cage.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::progress::{Lines, Task, say};
use super::spec::{Partition, Use, out, read_json};
use super::{BaseError, DiskIds, text};
use crate::host::cage::{Cage, IN, OUT, Rules, SELF, WORK};
use crate::host::{Cmd, HostError, files};

/// The first mke2fs that writes the same bytes from the same tar every time.
const MKE2FS_NEEDED: [u32; 3] = [1, 47, 2];

/// mke2fs reads this instead of the host's `/etc/mke2fs.conf`. Features that GRUB 2.06 cannot
/// read (`metadata_csum_seed`, `orphan_file`) are left out.
const MKE2FS_CONF: &str = "\
[defaults]
    base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
    default_mntopts = acl,user_xattr
    enable_periodic_fsck = 0
    blocksize = 4096
    inode_size = 256
    inode_ratio = 16384
[fs_types]
    ext4 = {
        features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
    }
";

const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;

/// The description that is handed in, and the result that is handed out.
const DISK: &str = "disk.json";
const TREE: &str = "tree.tar";
const RESULT: &str = "disk.qcow2";

/// What a disk is to be.
#[derive(Debug, Serialize, Deserialize)]
pub struct Disk {
    pub partitions: Vec<Partition>,
    pub ids: DiskIds,
    /// Its size in bytes.
    pub size: u64,
    /// `SOURCE_DATE_EPOCH`.
    pub epoch: u64,
}

/// What a disk is made from.
pub struct Input<'a> {
    pub disk: &'a Disk,
    /// The tree.
    pub tar: &'a Path,
    /// Folder with the boot loader's two images.
    pub out: &'a Path,
    /// labbuild itself.
    pub program: &'a Path,
}

/// Refuses a host whose mke2fs would write different bytes every time, or cannot read a tar.
pub async fn check_tools() -> Result<(), BaseError> {
    let version = match Cmd::new("mke2fs").arg("-V").run().await {
        Ok(out) => out.stderr,
        Err(HostError::Missing { .. }) => String::new(),
        Err(e) => return Err(e.into()),
    };
    let found = version.split_whitespace().nth(1).unwrap_or_default();
    if numbers(found) >= MKE2FS_NEEDED.to_vec() {
        return Ok(());
    }
    let found =
        if found.is_empty() { "it is not installed".to_owned() } else { format!("found {found}") };
    Err(BaseError::Needs(format!(
        "e2fsprogs 1.47.2 or newer is needed to write a file system from a tree ({found})\n  on Debian 12: apt-get install -t bookworm-backports e2fsprogs libarchive13"
    )))
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map_while(|part| part.parse().ok()).collect()
}

/// Writes the disk into `work_dir`; gives back the qcow2.
pub async fn write(input: &Input<'_>, work_dir: &Path, task: &Task) -> Result<PathBuf, BaseError> {
    let job = work_dir.join("image");
    super::discard(&job).await?;
    let cage = Cage::new(&job, input.program, rules(input.disk))?;
    let text = serde_json::to_vec(input.disk)
        .map_err(|e| BaseError::Handover { path: DISK.into(), reason: e.to_string() })?;
    cage.input(DISK, &text)?;
    cage.input_link(TREE, input.tar)?;
    for name in [out::BOOT_IMG, out::CORE_IMG] {
        cage.input_link(name, &input.out.join(name))?;
    }
    let mut lines = Lines::default();
    let run = cage.run(&[SELF, "internal", "image"], |line| {
        if let Some((message, fraction)) = lines.read(line) {
            task.say(&message, fraction);
        }
    });
    run.await?;
    let results = work_dir.join("made");
    files::remove(&results)?;
    cage.take_results(&results, input.disk.size)?;
    super::discard(&job).await?;
    let qcow2 = work_dir.join(RESULT);
    files::rename_durably(&results.join(RESULT), &qcow2)?;
    files::remove(&results)?;
    Ok(qcow2)
}

/// Only tools of the host run, and they write what fits on the disk: it need not be in memory.
fn rules(disk: &Disk) -> Rules {
    let time = Duration::from_secs(2 * 3600);
    let (largest_file, epoch) = (disk.size, disk.epoch);
    Rules { network: false, memory_mib: None, largest_file, time, epoch }
}

/// Entry of the role `image`, inside.
pub async fn image_main() -> Result<(), BaseError> {
    let input = Path::new(IN);
    let disk: Disk = read_json(&input.join(DISK))?;
    let raw = Path::new(WORK).join("disk.raw");
    say("writing the file system");
    make_sparse(&raw, disk.size)?;
    Cmd::new("sfdisk")
        .args(["--quiet", "--no-reread", "--no-tell-kernel"])
        .arg(&raw)
        .stdin(text::sfdisk(&disk.partitions, disk.ids.label_id))
        .run()
        .await?;
    for partition in &disk.partitions {
        match partition.purpose {
            Use::Root => make_root(&disk, partition, &raw).await?,
            Use::Swap => write_swap(partition, &disk.ids, &raw)?,
        }
    }
    write_boot_loader(input, &raw)?;
    say("compressing the disk");
    compress(&raw, &Path::new(OUT).join(RESULT)).await
}

fn make_sparse(raw: &Path, size: u64) -> Result<(), BaseError> {
    let file = File::create_new(raw).map_err(HostError::file("create", raw))?;
    file.set_len(size).map_err(HostError::file("grow", raw))?;
    Ok(())
}

async fn make_root(disk: &Disk, partition: &Partition, raw: &Path) -> Result<(), BaseError> {
    let config = Path::new(WORK).join("mke2fs.conf");
    files::write_atomic(&config, MKE2FS_CONF.as_bytes())?;
    let extended = format!(
        "offset={},hash_seed={},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0",
        partition.start_mib * MIB,
        disk.ids.hash_seed
    );
    let label = partition.label.iter().flat_map(|l| ["-L", l.as_str()]);
    Cmd::new("mke2fs")
        .env("MKE2FS_CONFIG", &config)
        .env("SOURCE_DATE_EPOCH", disk.epoch.to_string())
        .args(["-q", "-F", "-t", "ext4", "-U", &disk.ids.root_uuid, "-E", &extended])
        .args(label)
        .arg("-d")
        .arg(Path::new(IN).join(TREE))
        .arg(raw)
        .arg(format!("{}k", partition.size_mib * 1024))
        .run()
        .await?;
    Ok(())
}

/// The header that `mkswap` would write, with a UUID that follows from the disk's own.
fn write_swap(partition: &Partition, ids: &DiskIds, raw: &Path) -> Result<(), BaseError> {
    let pages = u32::try_from(partition.size_mib * MIB / 4096).unwrap_or(u32::MAX);
    let mut page = vec![0u8; 4096];
    page[1024..1028].copy_from_slice(&1u32.to_le_bytes());
    page[1028..1032].copy_from_slice(&(pages - 1).to_le_bytes());
    let uuid: String = text::swap_uuid(ids).chars().filter(|c| *c != '-').collect();
    for (i, byte) in page[1036..1052].iter_mut().enumerate() {
        *byte = u8::from_str_radix(&uuid[2 * i..2 * i + 2], 16).unwrap_or(0);
    }
    if let Some(label) = &partition.label {
        page[1052..1052 + label.len()].copy_from_slice(label.as_bytes());
    }
    page[4086..].copy_from_slice(b"SWAPSPACE2");
    write_at(raw, &page, partition.start_mib * MIB)
}

/// Boot code in the first sector (leaving the partition table alone), GRUB's core behind it.
fn write_boot_loader(out: &Path, raw: &Path) -> Result<(), BaseError> {
    let boot = read(&out.join(out::BOOT_IMG))?;
    let core = read(&out.join(out::CORE_IMG))?;
    if boot.len() < 440 || core.len() as u64 > MIB - SECTOR {
        let reason = "GRUB's images do not fit before the first partition".to_owned();
        return Err(BaseError::Refused { name: "GRUB".to_owned(), reason });
    }
    write_at(raw, &boot[..440], 0)?;
    write_at(raw, &core, SECTOR)
}

fn read(path: &Path) -> Result<Vec<u8>, BaseError> {
    Ok(std::fs::read(path).map_err(HostError::file("read", path))?)
}

fn write_at(raw: &Path, bytes: &[u8], offset: u64) -> Result<(), BaseError> {
    let file = OpenOptions::new().write(true).open(raw).map_err(HostError::file("open", raw))?;
    file.write_all_at(bytes, offset).map_err(HostError::file("write", raw))?;
    Ok(())
}

async fn compress(raw: &Path, qcow2: &Path) -> Result<(), BaseError> {
    Cmd::new("qemu-img")
        .args(["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd"])
        .arg(raw)
        .arg(qcow2)
        .run()
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(numbers("1.47.2") >= MKE2FS_NEEDED.to_vec());
        assert!(numbers("1.48") >= MKE2FS_NEEDED.to_vec());
        assert!(numbers("1.47.0") < MKE2FS_NEEDED.to_vec());
        assert!(numbers("1.9.9") < MKE2FS_NEEDED.to_vec());
        assert!(numbers("") < MKE2FS_NEEDED.to_vec());
    }
}
