//! Texts of configuration files and tool inputs, from resolved wishes. Pure.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::spec::{Interface, Method, Partition, TreeFile, Use, Wishes};
use super::{DiskIds, NicName};

/// Everything with a fixed text that goes into the tree.
pub fn tree_files(
    wishes: &Wishes,
    nics: &[NicName],
    ids: &DiskIds,
    cmdline: &[String],
) -> Vec<TreeFile> {
    let file =
        |path: &str, content: String| TreeFile { path: path.to_owned(), content, mode: 0o644 };
    let mut files = vec![
        file("etc/fstab", fstab(&wishes.partitions, ids)),
        file("etc/hosts", hosts()),
        file("etc/resolv.conf", resolv_conf(wishes)),
        file("etc/network/interfaces", interfaces(&wishes.interfaces)),
        file("boot/grub/grub.cfg", grub_cfg(wishes, ids, cmdline)),
    ];
    let hostname = wishes.hostname.as_deref().unwrap_or("localhost");
    files.push(file("etc/hostname", format!("{hostname}\n")));
    files.extend(nics.iter().map(link_file));
    if let Some(layout) = &wishes.keyboard {
        files.push(file("etc/default/keyboard", keyboard(layout)));
        files.push(file("etc/vconsole.conf", format!("KEYMAP={layout}\n")));
    }
    if let Some(lang) = &wishes.lang {
        files.push(file("etc/default/locale", format!("LANG={lang}\n")));
    }
    if let Some(ports) = &wishes.firewall {
        files.push(TreeFile { mode: 0o755, ..file("etc/nftables.conf", nftables(ports)) });
    }
    files
}

/// Names an interface by its MAC address; also read by the initramfs.
fn link_file(nic: &NicName) -> TreeFile {
    TreeFile {
        path: format!("etc/systemd/network/10-{}.link", nic.name),
        content: format!("[Match]\nMACAddress={}\n\n[Link]\nName={}\n", nic.mac, nic.name),
        mode: 0o644,
    }
}

/// `/etc/network/interfaces`.
pub fn interfaces(list: &[Interface]) -> String {
    let mut text = String::from("auto lo\niface lo inet loopback\n");
    for nic in list {
        let name = &nic.name;
        text.push('\n');
        if nic.auto {
            let _ = writeln!(text, "auto {name}");
        }
        match nic.method {
            Method::Dhcp => {
                let _ = writeln!(text, "iface {name} inet dhcp");
            }
            Method::Plain => {
                let _ =
                    writeln!(text, "iface {name} inet manual\n    up ip link set dev {name} up");
            }
            Method::Static { address, prefix, gateway } => {
                let _ = writeln!(text, "iface {name} inet static\n    address {address}/{prefix}");
                if let Some(gateway) = gateway {
                    let _ = writeln!(text, "    gateway {gateway}");
                }
            }
        }
        if let Some(mtu) = nic.mtu {
            let _ = writeln!(text, "    post-up ip link set dev {name} mtu {mtu}");
        }
        if nic.no_ipv6 {
            let _ =
                writeln!(text, "    pre-up sysctl -qw net.ipv6.conf.{name}.disable_ipv6=1 || true");
        }
    }
    text
}

/// The local names only, as the installer of RPM systems leaves it: a machine's own name and
/// its neighbours' are for the recipe to say.
fn hosts() -> String {
    "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n".to_owned()
}

fn resolv_conf(wishes: &Wishes) -> String {
    let mut text = String::new();
    let domain = wishes.hostname.as_deref().and_then(|h| h.split_once('.')).map(|(_, d)| d);
    if let Some(domain) = domain {
        let _ = writeln!(text, "search {domain}");
    }
    for server in &wishes.nameservers {
        let _ = writeln!(text, "nameserver {server}");
    }
    text
}

fn keyboard(layout: &str) -> String {
    format!(
        "XKBMODEL=\"pc105\"\nXKBLAYOUT=\"{layout}\"\nXKBVARIANT=\"\"\nXKBOPTIONS=\"\"\nBACKSPACE=\"guess\"\n"
    )
}

/// A filter that lets in answers, loopback, ICMP and the named ports.
fn nftables(ports: &[String]) -> String {
    let mut text = String::from(
        "#!/usr/sbin/nft -f\n\ntable inet kickstart {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t\tct state established,related accept\n\t\tiif lo accept\n\t\tmeta l4proto { icmp, ipv6-icmp } accept\n",
    );
    for (port, protocol) in ports.iter().filter_map(|p| p.split_once('/')) {
        let _ = writeln!(text, "\t\t{protocol} dport {port} accept");
    }
    text.push_str("\t}\n}\n");
    text
}

/// `/etc/fstab`.
pub fn fstab(partitions: &[Partition], ids: &DiskIds) -> String {
    let mut text = String::new();
    for part in partitions {
        let options = |default: &str| part.options.clone().unwrap_or_else(|| default.to_owned());
        let _ = match part.purpose {
            Use::Root => {
                writeln!(text, "UUID={} / ext4 {} 0 1", ids.root_uuid, options("errors=remount-ro"))
            }
            Use::Swap => {
                writeln!(text, "UUID={} none swap {} 0 0", swap_uuid(ids), options("sw"))
            }
        };
    }
    text
}

/// The swap space's UUID, derived from the root's.
pub fn swap_uuid(ids: &DiskIds) -> String {
    let hash = Sha256::digest(format!("swap beside {}", ids.root_uuid));
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&hash[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// What sfdisk reads.
pub fn sfdisk(partitions: &[Partition], label_id: u32) -> String {
    let mut text = format!("label: dos\nlabel-id: {label_id:#010x}\nunit: sectors\n\n");
    for part in partitions {
        let (start, size) = (part.start_mib * 2048, part.size_mib * 2048);
        let kind = match part.purpose {
            Use::Root => "type=83, bootable",
            Use::Swap => "type=82",
        };
        let _ = writeln!(text, "start={start}, size={size}, {kind}");
    }
    text
}

/// `grub.cfg`: one entry, on screen and serial line, through the links that kernel packages keep.
pub fn grub_cfg(wishes: &Wishes, ids: &DiskIds, cmdline: &[String]) -> String {
    let uuid = &ids.root_uuid;
    let parameters: Vec<&str> =
        cmdline.iter().chain(&wishes.kernel_parameters).map(String::as_str).collect();
    format!(
        "serial --unit=0 --speed=115200\nterminal_input console serial\nterminal_output console serial\n\
         set default=0\nset timeout={}\nsearch --no-floppy --fs-uuid --set=root {uuid}\n\
         menuentry 'GNU/Linux' {{\n    linux /vmlinuz root=UUID={uuid} ro {}\n    initrd /initrd.img\n}}\n",
        wishes.boot_timeout.unwrap_or(1),
        parameters.join(" ")
    )
}

/// What GRUB's core runs before it can read a file: finds the disk wherever it is attached.
pub fn early_grub(ids: &DiskIds) -> String {
    format!("search.fs_uuid {} root\nset prefix=($root)/boot/grub\n", ids.root_uuid)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ids() -> DiskIds {
        DiskIds {
            machine_id: "0123456789abcdef0123456789abcdef".into(),
            root_uuid: "11111111-2222-4333-8444-555555555555".into(),
            hash_seed: "11111111-2222-4333-8444-666666666666".into(),
            label_id: 0x00ab_cdef,
        }
    }

    fn partitions() -> Vec<Partition> {
        let part = |purpose, start_mib, size_mib| Partition {
            purpose,
            start_mib,
            size_mib,
            label: None,
            options: None,
        };
        vec![part(Use::Swap, 1, 1024), part(Use::Root, 1025, 19_455)]
    }

    #[test]
    fn interfaces_static_plain_and_dhcp() {
        let nic = |name: &str, method| Interface {
            name: name.into(),
            auto: true,
            method,
            mtu: None,
            no_ipv6: false,
        };
        let list = [
            nic(
                "ens33",
                Method::Static {
                    address: [192, 168, 0, 11].into(),
                    prefix: 24,
                    gateway: Some([192, 168, 0, 1].into()),
                },
            ),
            Interface { mtu: Some(1400), no_ipv6: true, ..nic("ens37", Method::Dhcp) },
            Interface { auto: false, ..nic("ens38", Method::Plain) },
        ];
        insta::assert_snapshot!(interfaces(&list));
    }

    #[test]
    fn tables_of_two_partitions() {
        insta::assert_snapshot!(format!(
            "{}\n{}",
            sfdisk(&partitions(), ids().label_id),
            fstab(&partitions(), &ids())
        ));
    }

    #[test]
    fn grub_takes_parameters_of_definition_and_kickstart() {
        let wishes = Wishes { kernel_parameters: vec!["quiet".into()], ..Wishes::default() };
        insta::assert_snapshot!(grub_cfg(&wishes, &ids(), &["console=ttyS0".into()]));
    }

    #[test]
    fn a_firewall_names_its_ports() {
        insta::assert_snapshot!(nftables(&["22/tcp".into(), "53/udp".into()]));
    }
}
