//! From the sorted words of a command to its typed form: disk and boot loader.

use super::model::{Bootloader, Clearpart, Command, Part};
use super::options::texts;
use super::statement::Args;

/// The largest size that makes sense, in MiB: an exbibyte.
const LARGEST: i64 = 1 << 40;

pub(super) fn zerombr(_: &mut Args<'_, '_>) -> Option<Command> {
    Some(Command::Zerombr)
}

pub(super) fn clearpart(args: &mut Args<'_, '_>) -> Option<Command> {
    args.exclusive(&["--all", "--linux", "--none"]);
    // As in Anaconda, nothing is removed unless the line says what.
    let mode = args.parsed.given.iter().rev().find_map(|g| match g.name {
        "--all" => Some(Clearpart::All),
        "--linux" => Some(Clearpart::Linux),
        "--none" => Some(Clearpart::None),
        _ => None,
    });
    Some(Command::Clearpart {
        mode: mode.unwrap_or(Clearpart::None),
        drives: texts(args.parsed.list("--drives")),
        initlabel: args.parsed.has("--initlabel"),
    })
}

pub(super) fn part(args: &mut Args<'_, '_>) -> Option<Command> {
    let word = args.argument()?.clone();
    refused_pairs(args);
    if !is_mount_point(&word.text) {
        let message = format!("`{}` is not a mount point", word.text);
        args.object_at(word.column, message, "write a path from `/`, `swap` or `biosboot`");
    }
    let size = size(args, "--size");
    let maxsize = size_of_growth(args);
    let (grow, recommended) = (args.parsed.has("--grow"), args.parsed.has("--recommended"));
    if !args.parsed.has("--size") && !recommended && !args.parsed.has("--onpart") {
        args.object("`part` says nothing of its size", "add `--size=MIB` or `--recommended`");
    }
    if let (Some(size), Some(max)) = (size, maxsize)
        && max < size
    {
        let column = args.column_of("--maxsize");
        args.object_at(column, format!("`--maxsize={max}` is below `--size={size}`"), "");
    }
    Some(Command::Part(Part {
        mountpoint: normal(&word.text),
        size_mib: size,
        maxsize_mib: maxsize,
        grow,
        fstype: args.parsed.text("--fstype"),
        label: args.parsed.text("--label"),
        fsoptions: args.parsed.text("--fsoptions"),
        ondisk: args.parsed.text("--ondisk").map(|d| d.trim_start_matches("/dev/").to_owned()),
        asprimary: args.parsed.has("--asprimary"),
        recommended,
    }))
}

/// Options that RHEL 7 does not take together.
fn refused_pairs(args: &mut Args<'_, '_>) {
    let parsed = args.parsed;
    let grows = parsed.has("--grow") || nonzero(args, "--maxsize");
    if parsed.text("--fstype").as_deref() == Some("tmpfs") && grows {
        let column = args.column_of("--fstype");
        args.refuse_at(column, "a tmpfs cannot grow", "leave `--grow` and `--maxsize` out");
    }
    let mkfs = parsed.text("--mkfsoptions").is_some();
    if mkfs && parsed.has("--noformat") {
        let column = args.column_of("--mkfsoptions");
        args.refuse_at(column, "`--mkfsoptions` contradicts `--noformat`", "");
    }
    if mkfs && parsed.text("--fsprofile").is_some() {
        let column = args.column_of("--mkfsoptions");
        args.refuse_at(column, "`--mkfsoptions` contradicts `--fsprofile`", "");
    }
    let complete = onpart(args) && nonzero(args, "--size");
    if parsed.has("--resize") && !complete {
        let column = args.column_of("--resize");
        args.refuse_at(column, "`--resize` needs `--onpart` and `--size`", "");
    }
}

/// Whether an existing partition is named; `/dev/` alone names none.
fn onpart(args: &Args<'_, '_>) -> bool {
    args.parsed.text("--onpart").is_some_and(|p| p != "/dev/")
}

fn nonzero(args: &Args<'_, '_>, name: &str) -> bool {
    let value = args.parsed.value(name);
    value.is_some_and(|w| w.text.chars().any(|c| ('1'..='9').contains(&c)))
}

fn size(args: &mut Args<'_, '_>, name: &str) -> Option<u64> {
    args.number(name, 1, LARGEST).and_then(|n| u64::try_from(n).ok())
}

fn size_of_growth(args: &mut Args<'_, '_>) -> Option<u64> {
    if args.parsed.has("--maxsize") && !args.parsed.has("--grow") {
        let column = args.column_of("--maxsize");
        args.object_at(column, "`--maxsize` without `--grow` has no effect", "add `--grow`");
    }
    size(args, "--maxsize")
}

fn is_mount_point(text: &str) -> bool {
    let plain = |c: char| !c.is_whitespace() && !c.is_control();
    let path = text.starts_with('/')
        && text.chars().all(plain)
        && !text.split('/').any(|p| p == ".." || p == ".");
    path || text == "swap" || text == "biosboot"
}

/// `/home//x/` as `/home/x`.
fn normal(text: &str) -> String {
    if !text.starts_with('/') {
        return text.to_owned();
    }
    let parts: Vec<&str> = text.split('/').filter(|p| !p.is_empty()).collect();
    format!("/{}", parts.join("/"))
}

pub(super) fn autopart(args: &mut Args<'_, '_>) -> Option<Command> {
    let fstype = args.parsed.text("--fstype");
    let kind = args.parsed.given.iter().rev().find_map(|g| match g.name {
        "--nolvm" => Some("plain".to_owned()),
        "--type" => g.value.as_ref().map(|w| w.text.to_lowercase()),
        _ => None,
    });
    refuse_kinds(args);
    if fstype.as_deref() == Some("btrfs") {
        let column = args.column_of("--fstype");
        args.refuse_at(column, "`--fstype=btrfs` is not possible", "write `--type=btrfs`");
    } else if kind.as_deref() == Some("btrfs") && fstype.is_some() {
        let column = args.column_of("--fstype");
        args.refuse_at(column, "`--fstype` contradicts `--type=btrfs`", "keep one of them");
    }
    let kind = kind.map(|k| if k == "partition" { "plain".to_owned() } else { k });
    Some(Command::Autopart { kind, fstype })
}

fn refuse_kinds(args: &mut Args<'_, '_>) {
    let kinds = ["lvm", "btrfs", "plain", "partition", "thinp"];
    for given in args.parsed.given.iter().filter(|g| g.name == "--type") {
        if let Some(word) = &given.value
            && !kinds.contains(&word.text.to_lowercase().as_str())
        {
            let message = format!("`{}` is not a value of `--type`", word.text);
            args.refuse_at(word.column, message, "`lvm`, `btrfs`, `plain` or `thinp`");
        }
    }
}

pub(super) fn bootloader(args: &mut Args<'_, '_>) -> Option<Command> {
    let boot_drive = args.parsed.value("--boot-drive").cloned();
    if let Some(word) = boot_drive.filter(|w| w.text.contains(',')) {
        args.refuse_at(word.column, "`--boot-drive` takes one drive", "");
    }
    let append = args.parsed.text("--append").unwrap_or_default();
    let timeout = args.number("--timeout", 0, 3600).and_then(|n| u32::try_from(n).ok());
    Some(Command::Bootloader(Bootloader {
        location: args.parsed.text("--location"),
        append: append.split_whitespace().map(str::to_owned).collect(),
        timeout,
        boot_drive: args.parsed.text("--boot-drive"),
        driveorder: texts(args.parsed.list("--driveorder")),
    }))
}
