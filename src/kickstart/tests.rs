//! The reader as a whole: sections, included files, notices, typed commands.

#![allow(clippy::unwrap_used)]

use super::*;

fn no_files(name: &str) -> Result<String, String> {
    Err(format!("there is no `{name}`"))
}

fn typed(text: &str) -> Kickstart {
    read(text, "t.ks", &mut no_files).for_bootstrap().unwrap_or_else(|faults| panic!("{faults}"))
}

fn only(text: &str) -> Command {
    let mut kickstart = typed(text);
    assert_eq!(kickstart.commands.len(), 1, "{text}");
    kickstart.commands.remove(0).value
}

fn messages(text: &str) -> Vec<String> {
    let faults = read(text, "t.ks", &mut no_files).for_bootstrap().unwrap_err();
    let short = |f: &crate::recipe::Fault| format!("{}:{} {}", f.at.line, f.at.column, f.message);
    faults.0.iter().map(short).collect()
}

#[test]
fn commands_become_typed() {
    let lang = Command::Lang { locale: "en_US.UTF-8".into(), additional: vec!["cs_CZ".into()] };
    assert_eq!(only("lang en_US.UTF-8 --addsupport=cs_CZ"), lang);
    assert_eq!(
        only("keyboard --vckeymap=us --xlayouts='de'"),
        Command::Keyboard { layout: "us".into() }
    );
    let zone = Command::Timezone {
        zone: "Etc/UTC".into(),
        utc: true,
        ntp_servers: vec!["a".into(), "b".into()],
        no_ntp: false,
    };
    assert_eq!(only("timezone --isUtc Etc/UTC --ntpservers=a,b"), zone);
    let locked = Command::Rootpw { password: None, lock: true };
    assert_eq!(only("rootpw --lock"), locked);
    let plain = Password::Plain("a b#c".into());
    assert_eq!(only("rootpw 'a b#c'"), Command::Rootpw { password: Some(plain), lock: false });
    let services =
        Command::Services { enabled: vec!["sshd".into(), "crond".into()], disabled: vec![] };
    assert_eq!(only("services --enabled sshd,crond"), services);
    let ports = vec!["22:tcp".into(), "53:udp".into()];
    let firewall = Command::Firewall { enabled: true, services: vec!["ssh".into()], ports };
    assert_eq!(only("firewall --enabled --ssh --port=22,53:udp"), firewall);
    assert_eq!(only("shutdown --eject"), Command::Poweroff { eject: true });
    assert_eq!(only("selinux --permissive"), Command::Selinux { mode: Selinux::Permissive });
    assert_eq!(
        only("autopart --nolvm"),
        Command::Autopart { kind: Some("plain".into()), fstype: None }
    );
}

#[test]
fn a_user_is_read_whole() {
    let line = "user --name=ann --groups=wheel,users --gecos=\"Ann B.\" --uid=1001 \
                --shell=/bin/bash --iscrypted --password='$6$x$y'";
    let Command::User(user) = only(line) else { panic!("not a user") };
    assert_eq!((user.name.as_str(), user.uid), ("ann", Some(1001)));
    assert_eq!(user.groups, ["wheel", "users"]);
    assert_eq!(user.gecos.as_deref(), Some("Ann B."));
    assert_eq!(user.password, Some(Password::Crypted("$6$x$y".into())));
}

#[test]
fn a_network_line_is_read_whole() {
    let line = "network --device=ens33 --bootproto=static --ip=192.168.0.11 \
                --netmask=255.255.255.0 --gateway=192.168.0.1 --nameserver=192.168.0.1,9.9.9.9 \
                --onboot=on --noipv6 --mtu=1400";
    let Command::Network(network) = only(line) else { panic!("not a network") };
    assert_eq!(network.device.as_deref(), Some("ens33"));
    assert_eq!(network.bootproto, Bootproto::Static);
    assert_eq!(network.gateway, Some([192, 168, 0, 1].into()));
    assert_eq!(network.nameservers.len(), 2);
    assert_eq!((network.onboot, network.mtu), (Some(true), Some(1400)));
    assert!(network.noipv6 && !network.noipv4);
}

#[test]
fn a_partition_is_read_whole() {
    let line =
        "partition /srv//x/ --type=ext4 --size=1_024 --grow --maxsize=4096 --ondrive=/dev/vda";
    let Command::Part(part) = only(line) else { panic!("not a partition") };
    assert_eq!(part.mountpoint, "/srv/x");
    assert_eq!((part.size_mib, part.maxsize_mib, part.grow), (Some(1024), Some(4096), true));
    assert_eq!(part.fstype.as_deref(), Some("ext4"));
    assert_eq!(part.ondisk.as_deref(), Some("vda"));
}

#[test]
fn packages_are_sorted_by_their_mark() {
    let text = "%packages --ignoremissing --timeout=5\n@core --nodefaults\n@^minimal env\n\
                # comment\n  vim # editor\n-nano\n@gone\n-@gone\n%end\n%packages\ngit\n%end\n";
    let packages = typed(text).packages.unwrap();
    assert_eq!(packages.line, 1);
    let packages = packages.value;
    let plain = |list: &[OnLine<String>]| -> Vec<(u32, String)> {
        list.iter().map(|l| (l.line, l.value.clone())).collect()
    };
    assert_eq!(plain(&packages.groups), [(2, "core".into()), (3, "minimal env".into())]);
    assert_eq!(plain(&packages.install), [(5, "vim".into()), (11, "git".into())]);
    assert_eq!(plain(&packages.exclude), [(6, "nano".into())]);
    assert_eq!(packages.options, ["--ignoremissing", "--timeout=5"]);
}

#[test]
fn scripts_keep_their_text() {
    let text = "%post --interpreter=/bin/bash --erroronfail --log=/root/post.log\n\
                # kept\n\n  echo \"it's %s\" %x\n%endless\n%end\n%pre\n%end\n%post --nochroot\nx\n%end\n";
    let scripts = typed(text).scripts;
    assert_eq!(scripts.len(), 2, "an empty %pre is no script");
    let script = &scripts[0].value;
    assert_eq!(script.body, "# kept\n\n  echo \"it's %s\" %x\n%endless\n");
    assert_eq!(script.interpreter, "/bin/bash");
    assert!(script.erroronfail && !script.nochroot);
    assert_eq!(script.log.as_deref(), Some("/root/post.log"));
    assert_eq!((scripts[1].line, scripts[1].value.nochroot), (9, true));
}

#[test]
fn a_section_ends_with_its_end() {
    assert_eq!(messages("lang en\n%post\necho\n"), ["2:1 `%post` has no `%end`"]);
    assert_eq!(messages("%packages\na\n%post\nx\n%end\n"), ["1:1 `%packages` has no `%end`"]);
    assert_eq!(messages("%end\n"), ["1:1 `%end` closes nothing"]);
    assert_eq!(messages("%pots\nrootpw\n%end\n"), ["1:1 unknown section `%pots`"]);
}

#[test]
fn included_files_are_read_in_place_and_named_in_faults() {
    let mut files = |name: &str| match name {
        "common.ks" => Ok("lang en_US\n%include deeper.ks\n".to_owned()),
        "deeper.ks" => Ok("text\nzerombr yes\n".to_owned()),
        "list" => Ok("vim\n".to_owned()),
        _ => Err("no such file".to_owned()),
    };
    let text = "%include common.ks\n%packages\n%include list\n%end\n%include nowhere\nskipx\n";
    let reading = read(text, "main.ks", &mut files);
    let faults: Vec<String> = reading.findings.iter().map(|f| f.fault.to_string()).collect();
    insta::assert_snapshot!(faults.join("\n\n"), @r"
    deeper.ks:2:9: `zerombr` has no use for `yes`
     2 | zerombr yes
       |         ^
       = it takes only options

    main.ks:5:10: cannot include `nowhere`: no such file
     5 | %include nowhere
       |          ^
    ");
    let kickstart = reading.kickstart;
    assert_eq!(kickstart.commands.len(), 4);
    assert_eq!(kickstart.packages.unwrap().value.install[0].value, "vim");
}

#[test]
fn files_that_include_each_other_are_refused() {
    let mut ring = |name: &str| match name {
        "a.ks" => Ok("%include b.ks\n".to_owned()),
        _ => Ok("%include a.ks\n".to_owned()),
    };
    let faults = read("%include a.ks\n", "main.ks", &mut ring).for_bootstrap().unwrap_err();
    assert_eq!(faults.0[0].message, "`a.ks` includes itself: a.ks → b.ks → a.ks");
    let mut n = 0;
    let mut tower = |_: &str| {
        n += 1;
        Ok(format!("%include {n}.ks\n"))
    };
    let faults = read("%include 0.ks\n", "main.ks", &mut tower).for_bootstrap().unwrap_err();
    assert_eq!(faults.0.len(), 1);
    assert!(faults.0[0].message.contains("inside another"), "{faults}");
    let mut bomb = |name: &str| match name.parse::<u32>() {
        Ok(n) => Ok(format!("%include {}\n", n + 1).repeat(50)),
        Err(_) => Ok("skipx\n".to_owned()),
    };
    let faults = read("%include 1\n", "main.ks", &mut bomb).for_bootstrap().unwrap_err();
    assert!(faults.0.len() > 1);
}

#[test]
fn known_and_unknown_commands_are_told_apart() {
    let both = messages(
        "raid / --device=md0 --level=1 a\nnetwrok --hostname=a\nauthselect x\nfrobnicate\n",
    );
    assert_eq!(
        both,
        [
            "1:1 `raid` is known to Anaconda but not supported by labbuild",
            "2:1 unknown command `netwrok`",
            "3:1 `authselect` is not a command of RHEL 7",
            "4:1 unknown command `frobnicate`",
        ]
    );
}

#[test]
fn what_only_anaconda_has_a_use_for_is_read_by_its_rules() {
    for good in [
        "logvol / --vgname=vg --name=root --size=100",
        "volgroup vg --pesize=4096 pv.01 pv.02",
        "raid / --device=md0 --noformat",
        "btrfs / --subvol --name=root LABEL=c7",
        "realm join --no-password lab.example",
    ] {
        let kickstart = parse(good, "t.ks", &mut no_files).unwrap_or_else(|f| panic!("{f}"));
        assert_eq!(kickstart.objections.len(), 1, "{good}");
    }
    let faults = |text| {
        let faults = parse(text, "t.ks", &mut no_files).unwrap_err();
        faults.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(faults(
        "logvol / --name=root --size=5 --percent=50\nraid / --device=md0 a b --noformat\n\
         volgroup vg\nlogging --prot=514\nnvdimm use\nsnapshot root --name=a --when=later\n\
         realm join --pasword=x lab\nignoredisk --drives=, \nautopart\n"
    ));
}

#[test]
fn what_means_nothing_here_is_noticed() {
    let text = "cdrom\nignoredisk --only-use=vda\nvnc --password=x\nreqpart --add-boot\n";
    let said: Vec<String> =
        notices(&typed(text)).into_iter().map(|(line, text)| format!("{line}: {text}")).collect();
    insta::assert_snapshot!(said.join("\n"), @r"
    1: cdrom: packages come from the base image's own sources; ignored
    2: ignoredisk: a lab machine has one disk of its own; ignored
    3: vnc: a bootstrap shows no installer; ignored
    4: reqpart: what the boot loader needs is made by itself; ignored
    ");
}

#[test]
fn objections_leave_anaconda_in_peace() {
    let text = "selinux --enforcing --permissive\npart / --fstype=ext4\nraid /x --level=1\n";
    let faults = parse(text, "t.ks", &mut no_files).unwrap_err();
    let lines: Vec<u32> = faults.0.iter().map(|fault| fault.at.line).collect();
    assert_eq!(lines, [3, 3], "{faults}");
}

#[test]
fn the_two_judges_are_told_apart() {
    let reading = |text| read(text, "t.ks", &mut no_files);
    assert!(!reading("zerombr yes\n").anaconda_accepts());
    let stricter = reading("part / --fstype=ext4\n");
    assert!(stricter.anaconda_accepts() && !stricter.findings.is_empty());
}

#[test]
fn notices_are_said_once_and_only_for_what_is_lost() {
    let text = "text\nselinux --permissive\nfirstboot --disabled\nrepo --name=a\nrepo --name=b\n\
                %addon com_redhat_kdump --disable\n%end\n%packages\n@core\n@base\n%end\n\
                %pre\nx\n%end\n%post --nochroot\ny\n%end\n%post\nz\n%end\n";
    let said: Vec<String> =
        notices(&typed(text)).into_iter().map(|(line, text)| format!("{line}: {text}")).collect();
    insta::assert_snapshot!(said.join("\n"), @r"
    2: selinux: Debian 12 has no SELinux policy by default; ignored
    4: repo: packages come from the base image's own sources; ignored
    6: %addon com_redhat_kdump: only Anaconda has a use for it; ignored
    9: @core, @base: Debian has no such package groups; ignored
    12: %pre: a bootstrap has no installer to run it in; not carried out
    15: %post --nochroot: it would run on this host; not carried out
    ");
}
