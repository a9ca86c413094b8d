//! `part` and `autopart`: where the partitions lie. One ext4 root, and swap if asked for.

use crate::kickstart::{Command, Part};

use super::super::spec::{Lined, Partition, Use};
use super::Reader;

/// Swap of `part swap --recommended`.
const RECOMMENDED_SWAP_MIB: u64 = 1024;
/// The smallest root that a system with a kernel fits on.
const SMALLEST_ROOT_MIB: u64 = 1024;

impl Reader<'_> {
    pub(super) fn layout(&mut self) {
        let commands = &self.request.kickstart.commands.commands;
        let parts: Vec<Lined<Part>> = commands
            .iter()
            .filter_map(|c| match &c.value {
                Command::Part(part) => Some(Lined { line: c.line, value: part.clone() }),
                _ => None,
            })
            .collect();
        let parts = if parts.is_empty() { vec![whole_disk()] } else { parts };
        let before = self.faults.len();
        for part in &parts {
            self.check_part(part);
        }
        self.check_set(&parts);
        if self.faults.len() == before {
            self.place(&parts);
        }
    }

    fn check_part(&mut self, part: &Lined<Part>) {
        let Lined { line, value } = part;
        let wanted = match purpose(value) {
            Some(Use::Root) => "ext4",
            Some(Use::Swap) => "swap",
            None => {
                let message =
                    format!("a partition for `{}` cannot be made on this base", value.mountpoint);
                self.fault(*line, message, "one root partition `/`, and `swap` if wanted; GRUB needs no partition of its own");
                return;
            }
        };
        if value.fstype.as_deref().is_some_and(|f| f != wanted) {
            self.fault(
                *line,
                "this file system cannot be made on this base",
                &format!("`--fstype={wanted}`"),
            );
        }
        let plain = |text: &String| text.chars().all(|c| c.is_ascii_graphic() && c != '#');
        if ![&value.label, &value.fsoptions].into_iter().flatten().all(plain) {
            self.fault(*line, "labels and mount options are single words", "");
        }
        if value.label.as_ref().is_some_and(|l| l.len() > 16) {
            self.fault(*line, "a label has at most 16 characters", "");
        }
    }

    fn check_set(&mut self, parts: &[Lined<Part>]) {
        for wanted in [Use::Root, Use::Swap] {
            let mut same = parts.iter().filter(|p| purpose(&p.value) == Some(wanted)).skip(1);
            if let Some(second) = same.next() {
                self.fault(
                    second.line,
                    format!("`{}` is there twice", second.value.mountpoint),
                    "",
                );
            }
        }
        if !parts.iter().any(|p| purpose(&p.value) == Some(Use::Root)) {
            let line = parts.last().map_or(1, |p| p.line);
            self.fault(
                line,
                "there is no root partition",
                "e.g. `part / --fstype=ext4 --size=1024 --grow`",
            );
        }
    }

    /// Lays the partitions out in the order written; what may grow shares the rest.
    fn place(&mut self, parts: &[Lined<Part>]) {
        let disk = self.request.disk.mebibytes().saturating_sub(1);
        let fixed: u64 = parts.iter().map(|p| size(&p.value)).sum();
        let line = parts.first().map_or(1, |p| p.line);
        if fixed > disk {
            let message = format!("the partitions need {fixed} MiB, the disk has {disk}");
            self.fault(line, message, "smaller `--size=`, or a larger `disk:` in the recipe");
            return;
        }
        let growing = growing(parts);
        let mut rest = disk - fixed;
        let mut start = 1;
        for (i, part) in parts.iter().enumerate() {
            let grow = if growing == Some(i) { std::mem::take(&mut rest) } else { 0 };
            let size = (size(&part.value) + grow).min(part.value.maxsize_mib.unwrap_or(u64::MAX));
            let Some(purpose) = purpose(&part.value) else { continue };
            if purpose == Use::Root && size < SMALLEST_ROOT_MIB {
                let message = format!("the root partition would have {size} MiB");
                self.fault(part.line, message, &format!("at least {SMALLEST_ROOT_MIB} MiB"));
            }
            self.wishes.partitions.push(Partition {
                purpose,
                start_mib: start,
                size_mib: size,
                label: part.value.label.clone(),
                options: part.value.fsoptions.clone(),
            });
            start += size;
        }
    }
}

/// The one that takes the rest of the disk: root if it may, else swap if it may.
fn growing(parts: &[Lined<Part>]) -> Option<usize> {
    let may =
        |wanted: Use| parts.iter().position(|p| p.value.grow && purpose(&p.value) == Some(wanted));
    may(Use::Root).or_else(|| may(Use::Swap))
}

fn whole_disk() -> Lined<Part> {
    let value =
        Part { mountpoint: "/".to_owned(), size_mib: Some(1), grow: true, ..Part::default() };
    Lined { line: 1, value }
}

fn purpose(part: &Part) -> Option<Use> {
    match part.mountpoint.as_str() {
        "/" => Some(Use::Root),
        "swap" => Some(Use::Swap),
        _ => None,
    }
}

fn size(part: &Part) -> u64 {
    part.size_mib.unwrap_or(if part.recommended { RECOMMENDED_SWAP_MIB } else { 1 })
}
