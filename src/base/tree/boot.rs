//! What the machine boots from: links to the kernel, the initramfs, GRUB's core. All of it is
//! made by the tree's own programs, so that the host's versions do not matter.

use super::super::spec::out;
use super::{Tree, TreeError, complaint};
use crate::host::{HostError, files};

const MODULES: &[&str] = &[
    "biosdisk",
    "part_msdos",
    "ext2",
    "search",
    "search_fs_uuid",
    "search_label",
    "normal",
    "configfile",
    "linux",
    "serial",
    "terminal",
    "test",
    "echo",
    "ls",
    "cat",
    "reboot",
    "halt",
    "sleep",
    "minicmd",
];
const IMAGES: &str = "usr/lib/grub/i386-pc";

impl Tree<'_> {
    pub(super) async fn boot(&self) -> Result<(), TreeError> {
        let kernel = self.kernel_version().ok_or_else(|| {
            let message = "no kernel is installed";
            TreeError::Complaints(vec![complaint(
                None,
                message,
                "the base definition's `packages:` names one",
            )])
        })?;
        self.say("making the initramfs");
        self.chroot("update-initramfs").args(["-c", "-k", "all"]).run().await?;
        let image = format!("/boot/vmlinuz-{kernel}");
        self.chroot("linux-update-symlinks").args(["install", &kernel, &image]).run().await?;
        // The build's environment told the kernel's own call that there is no initramfs.
        self.root.symlink(&format!("boot/initrd.img-{kernel}"), "initrd.img")?;
        self.grub().await
    }

    /// The newest by name is enough: a fresh tree has one.
    fn kernel_version(&self) -> Option<String> {
        let names = self.root.list("boot");
        names.iter().rev().find_map(|n| n.strip_prefix("vmlinuz-")).map(str::to_owned)
    }

    async fn grub(&self) -> Result<(), TreeError> {
        self.root.write("boot/grub/early.cfg", self.spec.early_grub.as_bytes(), 0o644)?;
        self.chroot("grub-mkimage")
            .args(["-O", "i386-pc", "-p", "/boot/grub", "-c", "/boot/grub/early.cfg"])
            .args(["-o", "/boot/grub/core.img"])
            .args(MODULES)
            .run()
            .await?;
        self.take_out("boot/grub/core.img", out::CORE_IMG)?;
        self.take_out(&format!("{IMAGES}/boot.img"), out::BOOT_IMG)?;
        Ok(())
    }

    fn take_out(&self, path: &str, name: &str) -> Result<(), HostError> {
        let bytes = self.root.read(path)?.unwrap_or_default();
        files::write_atomic(&self.spec.out.join(name), &bytes)
    }
}
