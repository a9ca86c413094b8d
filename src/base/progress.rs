//! What mmdebstrap, apt and dpkg print, as progress of a task.

use std::io::Write as _;
use std::time::Instant;

use crate::event::{Event, Events};

/// Marks lines of labbuild's own part inside the tree.
pub const OWN: &str = "labbuild: ";

/// Tells the build outside what is being done in the cage.
pub fn say(text: &str) {
    // Standard error is the build's progress; nobody reading it is no fault.
    let _ = writeln!(std::io::stderr(), "{OWN}{text}");
}

/// Emits the events of one task; says that it failed when it is dropped unfinished.
pub struct Task {
    events: Events,
    name: String,
    started: Instant,
    finished: bool,
}

impl Task {
    /// Starts a task for a machine.
    pub fn start(events: &Events, name: String, title: String, machine: &str) -> Self {
        let machine = Some(machine.to_owned());
        events.emit(Event::TaskStarted { task: name.clone(), title, machine });
        Task { events: events.clone(), name, started: Instant::now(), finished: false }
    }

    /// Says what is being done now.
    pub fn say(&self, message: &str, fraction: Option<(u64, u64)>) {
        let (task, message) = (self.name.clone(), message.to_owned());
        self.events.emit(Event::TaskProgress { task, message, fraction });
    }

    /// The task did what it set out to do.
    pub fn done(mut self) {
        self.finished = true;
        self.end(true);
    }

    fn end(&self, ok: bool) {
        let (task, elapsed) = (self.name.clone(), self.started.elapsed());
        self.events.emit(Event::TaskFinished { task, ok, elapsed });
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.finished {
            self.end(false);
        }
    }
}

/// Follows the lines of one run.
#[derive(Debug, Default)]
pub struct Lines {
    done: u64,
    total: u64,
}

impl Lines {
    /// The message, and how far, that a line stands for.
    pub fn read(&mut self, line: &str) -> Option<(String, Option<(u64, u64)>)> {
        if let Some(count) = newly_installed(line) {
            self.total += 2 * count;
            return None;
        }
        if let Some(own) = line.strip_prefix(OWN) {
            return Some((own.to_owned(), None));
        }
        if let Some(phase) = line.strip_prefix("I: ") {
            return phase_of(phase).map(|p| (p.to_owned(), None));
        }
        let (verb, rest) = line.split_once(' ')?;
        if verb.starts_with("Get:") {
            // Get:12 http://host/path suite/component arch package arch version [size]
            return rest.split(' ').nth(3).map(|p| (format!("downloading {p}"), None));
        }
        let package = package_of(verb, rest)?;
        self.done += 1;
        let known = self.total > 0 && self.done <= self.total;
        let verb = if verb == "Setting" { "setting up" } else { "unpacking" };
        Some((format!("{verb} {package}"), known.then_some((self.done, self.total))))
    }
}

fn package_of<'l>(verb: &str, rest: &'l str) -> Option<&'l str> {
    let rest = match verb {
        "Setting" => rest.strip_prefix("up ")?,
        "Unpacking" => rest,
        _ => return None,
    };
    let name = rest.split([' ', ':']).next()?;
    (rest.ends_with("...") && !name.is_empty()).then_some(name)
}

fn newly_installed(line: &str) -> Option<u64> {
    line.split(", ").find_map(|part| part.strip_suffix(" newly installed")?.parse().ok())
}

fn phase_of(phase: &str) -> Option<&'static str> {
    Some(match phase.trim_end_matches("...").trim_end() {
        "running apt-get update" => "reading package lists",
        "downloading packages with apt" => "downloading packages",
        "extracting archives" => "unpacking the core of the system",
        "installing essential packages" => "installing the core of the system",
        "installing remaining packages inside the chroot" => "installing packages",
        "cleaning package lists and apt cache" => "cleaning up",
        "creating tarball" => "packing the tree",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_messages_and_fractions() {
        let mut lines = Lines::default();
        let mut said = Vec::new();
        for line in [
            "I: running apt-get update...",
            "Get:4 http://mirror.example/debian bookworm/main amd64 cron amd64 3.0 [5 kB]",
            "0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.",
            "Unpacking cron (3.0pl1-162) ...",
            "Setting up libc6:amd64 (2.36) ...",
            "debconf: something else",
            "labbuild: making the initramfs",
        ] {
            said.extend(lines.read(line));
        }
        let expected = [
            ("reading package lists", None),
            ("downloading cron", None),
            ("unpacking cron", Some((1, 4))),
            ("setting up libc6", Some((2, 4))),
            ("making the initramfs", None),
        ];
        assert_eq!(said, expected.map(|(m, f)| (m.to_owned(), f)));
    }
}
