"""What generate.py cannot find in pykickstart's parsers: values with a form of their own, what a
command's code wants beyond its options, texts that belong together."""

# Up to so many options a command is also tried with every two of them and nothing else.
FEW = 12

# Values by option: (command, first name of the option).
VALUES = {
    ("autopart", "--type"): "lvm",
    ("btrfs", "--data"): "raid1",
    ("btrfs", "--metadata"): "single",
    ("network", "--bridgeopts"): "stp=yes",
    ("network", "--interfacename"): "vlan5",
    ("network", "--teamslaves"): "eth1,eth2",
    ("network", "--ip"): "192.168.0.11",
    ("network", "--netmask"): "255.255.255.0",
    ("ostreesetup", "--url"): "http://lab/repo",
    ("raid", "--device"): "md0",
    ("raid", "--level"): "1",
    ("snapshot", "--when"): "post-install",
}

# Values by the type that the parser asks for, and values that are none.
BY_TYPE = {"int": "5", "ksboolean": "yes", "commaSplit": "a,b", "firewall_port_cb": "22:tcp"}
WRONG = {
    "int": ["x", "5.5", "", "0", "-5", "+5", "1_0", "5M", "0x5", "101"],
    "ksboolean": ["maybe", "", "ON", "off", "0", "2"],
    "commaSplit": [",", "a,,b", " "],
    "firewall_port_cb": ["", "x", "22:tcp,33:udp"],
    "_level_cb": ["x", ""],
    "level_cb": ["x", ""],
    "_type_cb": ["x", ""],
    "_when_cb": ["x", ""],
    "_device_cb": ["", "md", "data", "/dev/md/x"],
    "part_cb": ["", "/dev/sda1", "/dev/"],
}

# Choices that a command's code knows and its parser does not.
CHOICES = {
    ("autopart", "--type"): ["lvm", "btrfs", "plain", "partition", "thinp"],
    ("btrfs", "--data"): ["raid0", "0", "raid1", "1", "raid10", "10", "single"],
    ("btrfs", "--metadata"): ["raid0", "0", "raid1", "1", "raid10", "10", "single", "raid5"],
    ("raid", "--level"): ["0", "1", "4", "5", "6", "10", "raid0", "raid6", "2", "linear"],
    ("snapshot", "--when"): ["post-install", "pre-install"],
    ("ostreesetup", "--url"): ["file:///repo", "https://lab/", "ftp://lab/", "http:", "lab"],
    ("network", "--interfacename"): ["vlan", "vlan5000", "vlan12", "a.5", "a.x", "vlan.5", "b"],
    ("network", "--bridgeopts"): ["stp", "stp=", "stp=yes,priority=1", "a=b=c", ","],
}

# Arguments that have to have a form: (command, its name in the parser).
ARGUMENTS = {
    ("lang", "lang"): "en_US.UTF-8",
    ("iscsiname", "iqn"): "iqn.2017-08.lab:disk",
    ("logvol", "mntpoint"): "/srv",
    ("nvdimm", "action"): "reconfigure",
    ("part", "mntpoint"): "/srv",
    ("partition", "mntpoint"): "/srv",
    ("raid", "mntpoint"): "/srv",
    ("realm", "options"): "join",
    ("snapshot", "origin"): "vg/lv",
}

# What makes the shortest line well-formed beyond required options and arguments.
EXTRA = {
    "btrfs": ["/srv", "btrfs.01", "btrfs.02"],
    "device": ["e1000"],
    "driverdisk": ["sdb1"],
    "eula": ["--agreed"],
    "harddrive": ["--partition=sdb1"],
    "ignoredisk": ["--drives=sdb"],
    "keyboard": ["us"],
    "logvol": ["--size=100"],
    "nvdimm": ["--namespace=namespace0.0", "--sectorsize=512"],
    "raid": ["--level=1", "raid.01", "raid.02"],
    "realm": ["lab.example"],
    "rootpw": ["secret"],
    "services": ["--enabled=sshd"],
    "sshpw": ["secret"],
    "timezone": ["Etc/UTC"],
    "url": ["--url=http://lab/os"],
    "volgroup": ["vg0", "pv.01", "pv.02"],
}

# Words that most commands have no use for, and ends that break or change a line.
SURPLUS = [
    ["surplus"],
    ["surplus", "words"],
    ["--frobnicate"],
    ["--frobnicate=5"],
    ["--frobnicate", "5"],
    ["-x"],
    ["-5"],
    ["''"],
    ["--"],
    ["-"],
    ["'two words'"],
]
TAILS = [" 'open", ' "open', " \\", " # it's a comment", " '#' # x", '""', "\t", "'x'"]

# Lines that the rules above do not make.
LINES = {
    "auth": ["auth --enableshadow --passalgo=sha512", "auth --useshadow 'x y'"],
    "authconfig": ["authconfig --enableshadow --enablemd5"],
    "autopart": [
        "autopart --type=btrfs --fstype=ext4",
        "autopart --fstype=btrfs",
        "autopart --nolvm --type=btrfs --fstype=xfs",
        "autopart --type=thinp --encrypted --passphrase=x --cipher=aes-xts-plain64",
    ],
    "bootloader": [
        "bootloader --location=mbr --append='console=ttyS0 quiet' --timeout=1 --boot-drive=vda",
        "bootloader --boot-drive=vda,vdb",
        "bootloader --iscrypted --password=grub.pbkdf2.sha512.1 --driveorder=a,b",
    ],
    "btrfs": [
        "btrfs none --label=c7 btrfs.01 btrfs.02",
        "btrfs none --data=0 --metadata=1 --label=c7 btrfs.01 btrfs.02",
        "btrfs / --subvol --name=root LABEL=c7",
        "btrfs / --subvol LABEL=c7",
        "btrfs / --subvol --name=root",
        "btrfs --subvol --name=root / LABEL=c7",
        "btrfs /",
        "btrfs --label=c7",
        "btrfs / a --label=x b",
        "btrfs / a --noformat --mkfsoptions=x",
        "btrfs / a --useexisting --mkfsoptions=x",
        "btrfs / a --mkfsoptions=x",
    ],
    "clearpart": ["clearpart --all --initlabel --drives=vda", "clearpart --list=vda2,vda3"],
    "device": ["device --opts='a=1 b=2' e1000", "device scsi e1000", "device e1000 --opts=x y"],
    "deviceprobe": ["deviceprobe a --b=c -d", "deviceprobe 'it'"],
    "dmraid": ["dmraid --name=a --dev=b --dev=c", "dmraid --name=mapper/a --dev=b"],
    "driverdisk": [
        "driverdisk --source=http://lab/dd.img",
        "driverdisk --biospart=80p1",
        "driverdisk sdb1 --source=x",
        "driverdisk --source=x sdb1",
        "driverdisk --source=x --biospart=y",
        "driverdisk sdb1 sdb2",
    ],
    "firewall": [
        "firewall --enabled --service=ssh,http --port=8080:tcp,53:udp --trust=eth0",
        "firewall --enabled --ssh --http --smtp --ftp --remove-service=dhcpv6-client",
        "firewall --disabled --enabled",
    ],
    "harddrive": [
        "harddrive --biospart=80p1 --dir=/os",
        "harddrive --biospart= --dir=/os",
        "harddrive --biospart= --partition= --dir=/os",
        "harddrive --dir=/os",
    ],
    "ignoredisk": [
        "ignoredisk --only-use=vda",
        "ignoredisk --interactive",
        "ignoredisk --drives=",
        "ignoredisk --drives=, --only-use=vda",
        "ignoredisk --drives=a --only-use=vda",
        "ignoredisk --drives=a --interactive",
        "ignoredisk --drives=a\nignoredisk --only-use=b",
        "ignoredisk --only-use=a\nignoredisk --only-use=b",
    ],
    "iscsi": [
        "iscsi --ipaddr=10.0.0.1 --target=iqn.x --port=3260 --user=a --password=b",
        "iscsi --ipaddr=10.0.0.1 --reverse-user=a --reverse-password=b --iface=eth0",
    ],
    "keyboard": [
        "keyboard --vckeymap=us --xlayouts='us','cz (qwerty)' --switch=grp:alt_shift_toggle",
        "keyboard --switch=x",
        "keyboard --vckeymap=",
    ],
    "logging": [
        "logging --host=10.0.0.1 --port=514 --level=debug",
        "logging --port=514",
        "logging --host= --port=514",
        "logging --port=",
    ],
    "logvol": [
        "logvol / --vgname=vg --name=root --size=1 --grow --maxsize=9 --fstype=xfs",
        "logvol / --vgname=vg --name=root --percent=50",
        "logvol / --vgname=vg --name=root --percent=101",
        "logvol / --vgname=vg --name=root --percent=-1",
        "logvol / --vgname=vg --name=root --percent=0",
        "logvol / --vgname=vg --name=root --size=0",
        "logvol / --vgname=vg --name=root --size=0 --percent=5",
        "logvol swap --vgname=vg --name=swap --recommended",
        "logvol swap --vgname=vg --name=swap --hibernation",
        "logvol / --vgname=vg --name=root --useexisting",
        "logvol / --vgname=vg --name=root --noformat",
        "logvol / --vgname=vg --name=root --noformat --mkfsoptions=x",
        "logvol / --vgname=vg --name=root --useexisting --resize",
        "logvol / --vgname=vg --name=root --useexisting --resize --size=5",
        "logvol / --vgname=vg --name=root --resize --size=5",
        "logvol none --vgname=vg --name=pool --thinpool --size=9 --chunksize=64 --metadatasize=4",
        "logvol / --vgname=vg --name=root --thin --poolname=pool --size=5",
        "logvol / --vgname=vg --name=root --thin --size=5",
        "logvol / --vgname=vg --name=root --thin --poolname= --size=5",
        "logvol / --vgname=vg --name=root --size=5 --chunksize=0",
        "logvol / --vgname=vg --size=5",
        "logvol / --name=root --size=5",
        "logvol / /usr --vgname=vg --name=root --size=5",
    ],
    "multipath": [
        "multipath --name=a --device=b --rule=c\nmultipath --name=a --device=d --rule=c",
        "multipath --name=a --device=b --rule=c\nmultipath --name=e --device=b --rule=c",
    ],
    "network": [
        "network --bootproto=static --ip=10.0.0.2 --netmask=255.0.0.0 --gateway=10.0.0.1 --device=a",
        "network --bootproto=dhcp --device=link --activate --hostname=controller --onboot=on",
        "network --device=bond0 --bondslaves=a,b --bondopts=mode=active-backup,miimon=100",
        "network --device=a --vlanid=5 --bindto=mac",
        "network --device=a --vlanid=5 --bondopts=x --bindto=mac",
        "network --device=team0 --teamslaves=\"a'{\\\"prio\\\": 1}',b\" --teamconfig=\"{}\"",
        "network --device=br0 --bridgeslaves=a --bridgeopts=stp=yes,priority=1",
        "network --bridgeopts=stp=yes",
    ],
    "nfs": ["nfs --server=lab --dir=/os --opts=ro", "nfs --server= --dir="],
    "nvdimm": [
        "nvdimm use --namespace=namespace0.0",
        "nvdimm use --blockdevs=pmem0,pmem1",
        "nvdimm use",
        "nvdimm use --blockdevs=",
        "nvdimm use --namespace=a --blockdevs=b",
        "nvdimm reconfigure --namespace=a --mode=sector",
        "nvdimm reconfigure --blockdevs=a --sectorsize=512",
        "nvdimm reconfigure --namespace=a --sectorsize=0",
        "nvdimm frobnicate --namespace=a",
        "nvdimm use reconfigure --namespace=a",
    ],
    "part": [
        "part / --fstype=xfs --size=1 --grow --ondisk=vda --asprimary",
        "part pv.01 --size=1 --grow",
        "part raid.01 --size=100 --ondisk=sda",
        "part btrfs.01 --size=100",
        "part / --onpart=vda1 --noformat",
        "part / --size=1 --encrypted --passphrase=x --escrowcert=http://x --backuppassphrase",
        "part /tmp --fstype=tmpfs --size=10",
        "part /tmp --fstype=tmpfs --grow",
        "part / --onpart=/dev/ --resize --size=5",
        "part / --onpart=vda1 --resize --size=0",
        "part /srv --size=1\npartition /srv --size=1",
    ],
    "raid": [
        "raid / --device=root --level=RAID1 raid.01 raid.02",
        "raid / --level=1 --device=md0 raid.01 raid.02 --fstype=xfs",
        "raid / raid.01 raid.02 --device=md0 --level=1",
        "raid / raid.01 --device=md0 raid.02 --level=1",
        "raid --device=md0 --level=1 / raid.01",
        "raid / --device=md0 --level=1",
        "raid / --device=md0 raid.01",
        "raid / --device=md0 --useexisting",
        "raid / --device=md0 --noformat --level=1",
        "raid / --device=md0 --useexisting raid.01",
        "raid / --device=md --useexisting",
        "raid / --device= --level=1 raid.01",
        "raid / --device=md --level=1 raid.01",
        "raid / --level=1 raid.01",
        "raid / --device=md0 --useexisting --noformat",
        "raid / --device=md0 --noformat --mkfsoptions=x",
        "raid / --device=md0 --useexisting --mkfsoptions=x",
        "raid / --device=md0 --level=1 --spares=1 raid.01 --fsprofile=a --mkfsoptions=b",
        "raid",
    ],
    "realm": [
        "realm join",
        "realm leave lab.example",
        "realm",
        "realm join --no-password lab.example",
        "realm join --one-time-password=x lab.example",
        "realm join --one-time-password x lab.example",
        "realm join --one-time-password",
        "realm join --client-software=sssd --server-software=ipa --computer-ou=OU=x lab.example",
        "realm join --membership-software=samba lab.example",
        "realm join --no-password=x lab.example",
        "realm join --no-pass lab.example",
        "realm join --c lab.example",
        "realm join --client-s=x lab.example",
        "realm join lab.example other.example",
        "realm join lab.example --no-password",
        "realm join -- lab.example",
        "realm join -- --no-password",
        "realm join - ",
        "realm join 'lab.example",
        "realm join lab.example # comment",
        "realm join ''",
        "realm 'join' lab.example",
        "realm --no-password join lab.example",
        "realm join --user=x lab.example",
        "realm join -U lab.example",
        "realm join lab.example\nrealm join lab.example",
    ],
    "repo": [
        "repo --name=a --baseurl=http://lab/a --cost=10 --excludepkgs=x --includepkgs=y",
        "repo --name=a --mirrorlist=http://lab/a --install --ignoregroups=true",
        "repo --name=a --baseurl= --mirrorlist=x",
    ],
    "rescue": ["rescue --nomount --romount", "rescue --nomount\nrescue --romount"],
    "rootpw": ["rootpw --iscrypted $6$a$b", "rootpw --lock", "rootpw --plaintext 'a b'"],
    "snapshot": [
        "snapshot vg/lv --name=a --when=pre-install",
        "snapshot lv --name=a --when=pre-install",
        "snapshot vg/ --name=a --when=pre-install",
        "snapshot /lv --name=a --when=pre-install",
        "snapshot a/b/c --name=a --when=pre-install",
        "snapshot vg/lv --name=a --when=post-install\nsnapshot vg/l2 --name=a --when=post-install",
        "snapshot vg/lv --name=a --when=post-install\nsnapshot vg/lv --name=b --when=post-install",
    ],
    "sshpw": [
        "sshpw --username=root --lock secret",
        "sshpw --username=root a b",
        "sshpw --username=root",
        "sshpw --username=root a --lock b",
        "sshpw a --username=root",
    ],
    "timezone": [
        "timezone --utc Europe/Prague --ntpservers=a,b",
        "timezone --nontp UTC\ntimezone --ntpservers=a UTC",
    ],
    "updates": ["updates http://lab/updates.img", "updates a b", "updates"],
    "url": ["url --url=http://lab/os --proxy=http://p --noverifyssl", "url --mirrorlist=x"],
    "user": ["user --name=a --groups=wheel --password=x --plaintext --uid=1000 --gid=1000"],
    "vnc": ["vnc --password=x --host=lab --port=5901"],
    "volgroup": [
        "volgroup vg0 pv.01 --pesize=4096",
        "volgroup vg0 --pesize=4096 pv.01",
        "volgroup --pesize=4096 vg0 pv.01",
        "volgroup vg0",
        "volgroup vg0 --useexisting",
        "volgroup --useexisting vg0",
        "volgroup vg0 --noformat",
        "volgroup vg0 pv.01 --useexisting",
        "volgroup vg0 --useexisting pv.01",
        "volgroup vg0 a --pesize=4 b",
        "volgroup vg0 a --pesize=4 b --noformat c",
        "volgroup vg0 a --reserved-percent=0",
        "volgroup vg0 a --reserved-percent=99",
        "volgroup vg0 a --reserved-percent=100",
        "volgroup vg0 a --reserved-space=-1",
        "volgroup vg0 a --reserved-space=0",
        "volgroup",
    ],
    "zfcp": ["zfcp --devnum=0.0.4000 --wwpn=0x5005 --fcplun=0x5022"],
}

_SCRIPT = ["--erroronfail", "--interpreter=/bin/bash", "--log=/root/ks.log", "--logfile=/x"]

# Sections and the options of their headers.
SECTIONS = {
    "%packages": [
        "--excludedocs",
        "--ignoremissing",
        "--default",
        "--instLangs=en_US",
        "--multilib",
        "--nocore",
        "--nobase",
        "--timeout=5",
        "--retries=x",
        "--exclude-weakdeps",
        "--inst-langs=x",
        "--ignorebroken",
    ],
    "%pre": _SCRIPT + ["--nochroot"],
    "%post": _SCRIPT + ["--nochroot"],
    "%pre-install": _SCRIPT + ["--nochroot"],
    "%onerror": _SCRIPT,
    "%traceback": _SCRIPT,
    "%addon": ["com_redhat_kdump --enable --reserve-mb=auto", "org_fedora_oscap"],
    "%anaconda": ["--x=y"],
    "%certificate": ["--filename=a", "--dir=/x", "--type=anchor"],
    "%frobnicate": ["--x"],
    "%installclass": ["--name=x"],
    "%end": ["x"],
}

BODIES = [
    "",
    "value\n",
    "# comment\n\nvalue\n",
    "@core\n-nano\n@^minimal\n-@base\nvim*\n",
    "echo 'it''s'\nif true; then\n  echo %x\nfi\n",
    "it's\n",
    "pwpolicy root --minlen=6 --strict\n",
]

SECTION_TEXTS = [
    "%packages\n@a --nodefaults\n%end\n",
    "%packages\n@a --optional\n%end\n",
    "%packages\n@a --nodefaults --optional\n%end\n",
    "%packages\n@a --frobnicate\n%end\n",
    "%packages\n-\n%end\n",
    "%packages\n@\n%end\n",
    "%packages\n-@\n%end\n",
    "%packages\n@^\n%end\n",
    "%packages\n@^a\n@^b\n%end\n",
    "%packages\na\n-a\n%end\n",
    "%packages\n%end\n%packages\n%end\n",
    "%packages\n  %end\n",
    "%packages\n%End\n%end\n",
    "%post\n%end\n%end\n",
    "%post\n%include\n%end\n",
    "%post\n%ksappend x\n%end\n",
    "%ksappend x\n",
    "%include\n",
    "% post\n%end\n",
    "%\n%end\n",
    "%post\n%%end\n%end\n",
    "%post\n%end x\nlang en_US\n",
    "%post\n%end 'x\n",
    "%post\ntext foo\n%end\ntext foo\n",
    "%pre\nx\n%end\n%pre-install\nx\n%end\n%post\nx\n%end\n%onerror\nx\n%end\n",
    "# nothing but a comment\n",
    "\n\n",
    "\t\n  # x\n\tlang en_US\n",
    "lang en_US\r\ntext\r\n",
    "lang en_US\n\x0btext\n",
    "lang en_US \\\n  --addsupport=x\n",
    "lang 'en_US\n'\n",
]

# Small files whose lines depend on each other.
FILES = {
    "lvm": "zerombr\nclearpart --all --initlabel\npart /boot --size=500\n"
    "part pv.01 --size=1 --grow\nvolgroup vg0 pv.01\n"
    "logvol / --vgname=vg0 --name=root --size=4096 --grow\n"
    "logvol swap --vgname=vg0 --name=swap --recommended\n",
    "thin lvm": "part pv.01 --size=1 --grow\nvolgroup vg0 pv.01\n"
    "logvol none --vgname=vg0 --name=pool --thinpool --size=4096 --grow\n"
    "logvol / --vgname=vg0 --name=root --thin --poolname=pool --size=4096\n"
    "snapshot vg0/root --name=first --when=post-install\n",
    "raid": "part raid.01 --size=1 --ondisk=sda\npart raid.02 --size=1 --ondisk=sdb\n"
    "raid / --device=md0 --level=RAID1 --fstype=xfs raid.01 raid.02\n",
    "raid below lvm": "part raid.01 --size=1\npart raid.02 --size=1\n"
    "raid pv.01 --device=md0 --level=1 raid.01 raid.02\nvolgroup vg0 pv.01\n"
    "logvol / --vgname=vg0 --name=root --percent=100\n",
    "btrfs": "part btrfs.01 --size=1 --grow\nbtrfs none --label=c7 btrfs.01\n"
    "btrfs / --subvol --name=root LABEL=c7\nbtrfs /home --subvol --name=home LABEL=c7\n",
    "autopart after parts": "part / --size=1\nvolgroup vg0 pv.01\nautopart\n",
    "parts after autopart": "autopart --type=lvm\nreqpart --add-boot\npart / --size=1\n",
    "autopart and btrfs": "autopart\nbtrfs none --label=c7 btrfs.01\n",
    "reqpart and parts": "reqpart --add-boot\npart / --size=1 --grow\n",
    "accounts": "group --name=staff --gid=500\nuser --name=ann --groups=staff --uid=1000\n"
    "sshpw --username=ann --plaintext secret\nrootpw --lock\n",
    "iscsi": "iscsiname iqn.2017-08.lab:a\niscsi --ipaddr=10.0.0.1 --target=iqn.2017-08.lab:b\n"
    "part / --size=1 --grow --ondisk=sda\n",
    "iscsi with a fault": "iscsiname iqn.2017-08.lab:a\niscsi --target=iqn.2017-08.lab:b\n",
    "network": "network --device=a --bootproto=dhcp\nnetwork --device=b --noipv4\n"
    "network --hostname=lab\nfirewall --enabled --ssh\nselinux --enforcing\n",
    "sources": "url --url=http://lab/os\nrepo --name=extras --baseurl=http://lab/extras\n"
    "repo --name=updates --mirrorlist=http://lab/updates\n",
    "two sources": "cdrom\nnfs --server=lab --dir=/os\nurl --url=http://lab/os\n",
    "two display modes": "text\ngraphical\ncmdline\nvnc\n",
    "whole": "install\ncdrom\nlang en_US.UTF-8\nkeyboard us\ntimezone --utc Etc/UTC\n"
    "auth --enableshadow --passalgo=sha512\nrootpw --plaintext secret\nfirstboot --disable\n"
    "bootloader --location=mbr --append='console=ttyS0'\nclearpart --all --initlabel\n"
    "ignoredisk --only-use=vda\nautopart --type=plain\nreboot\neula --agreed\n"
    "%packages --ignoremissing\n@core\n-nano\n%end\n"
    "%addon com_redhat_kdump --disable\n%end\n%post --log=/root/post.log\necho\n%end\n",
}
