//! Events as lines of text: what the plain listener writes and what the bars print above
//! themselves. Decides what is said at which verbosity; writes nothing.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::text::{Style, clean, duration};
use crate::event::Event;

/// How many of a step's last lines are shown when it fails.
const TAIL: usize = 20;

/// Phases of a task that come faster than this are not worth a line each.
const PHASE_PAUSE: Duration = Duration::from_secs(5);

/// Turns events into lines.
pub struct Lines {
    verbosity: i8,
    style: Style,
    /// Progress is told in lines, because nothing else shows it.
    phases: bool,
    tails: BTreeMap<String, VecDeque<String>>,
    tasks: BTreeMap<String, Task>,
}

struct Task {
    title: String,
    phase: String,
    said: Duration,
}

impl Lines {
    /// `phases`: say where long work stands (for listeners without bars).
    pub fn new(verbosity: i8, style: Style, phases: bool) -> Lines {
        Lines { verbosity, style, phases, tails: BTreeMap::new(), tasks: BTreeMap::new() }
    }

    /// The lines that `event`, `now` after the start, is worth.
    pub fn render(&mut self, event: &Event, now: Duration) -> Vec<String> {
        let mut lines = match event {
            Event::Warning { text } => self.warning(text),
            _ if self.verbosity < 0 => Vec::new(),
            Event::Notice { text } => several("note: ", text),
            Event::Backend { uri, accelerator, reason } => {
                vec![format!("libvirt {}, {accelerator}: {}", clean(uri), clean(reason))]
            }
            Event::TaskStarted { .. } | Event::TaskProgress { .. } | Event::TaskFinished { .. } => {
                self.task(event, now)
            }
            Event::StageStarted { .. }
            | Event::StageReused { .. }
            | Event::StageFinished { .. } => self.stage(event),
            _ => self.machine(event),
        };
        // A guest cannot add lines of its own to a line of ours.
        lines.iter_mut().for_each(|l| l.retain(|c| c != '\n'));
        lines
    }

    fn mark(&self, ok: bool) -> String {
        if ok { self.style.good("ok  ") } else { self.style.bad("FAIL") }
    }

    fn warning(&self, text: &str) -> Vec<String> {
        several(&self.style.warn("warning: "), text)
    }

    fn task(&mut self, event: &Event, now: Duration) -> Vec<String> {
        match event {
            Event::TaskStarted { task, title, .. } => {
                let title = clean(title);
                let line = format!("     {title} …");
                let started = Task { title, phase: String::new(), said: now };
                self.tasks.insert(task.clone(), started);
                vec![line]
            }
            Event::TaskProgress { task, message, fraction } => {
                self.progress(task, message, *fraction, now)
            }
            Event::TaskFinished { task, ok, elapsed } => {
                let title = self.tasks.remove(task).map_or_else(|| clean(task), |t| t.title);
                vec![format!("{} {title} ({})", self.mark(*ok), duration(*elapsed))]
            }
            _ => Vec::new(),
        }
    }

    fn progress(
        &mut self,
        task: &str,
        message: &str,
        fraction: Option<(u64, u64)>,
        now: Duration,
    ) -> Vec<String> {
        let every = self.verbosity >= 2;
        let Some(known) = self.tasks.get_mut(task) else { return Vec::new() };
        let message = clean(message);
        let due = now.saturating_sub(known.said) >= PHASE_PAUSE;
        if !(every || self.phases && known.phase != message && due) {
            return Vec::new();
        }
        known.said = now;
        known.phase.clone_from(&message);
        vec![self.style.faint(&format!("     {}: {message}{}", known.title, percent(fraction)))]
    }

    fn stage(&self, event: &Event) -> Vec<String> {
        let line = match event {
            Event::StageStarted { stage, title, index, of } => {
                let heading = format!("stage {index}/{of} {}: {}", clean(stage), clean(title));
                self.style.strong(&heading)
            }
            Event::StageReused { stage, index, of } => {
                format!("{} stage {index}/{of} {} (stored)", self.mark(true), clean(stage))
            }
            Event::StageFinished { stage, elapsed } => {
                format!("{} stage {} ({})", self.mark(true), clean(stage), duration(*elapsed))
            }
            _ => return Vec::new(),
        };
        vec![line]
    }

    fn machine(&mut self, event: &Event) -> Vec<String> {
        match event {
            Event::Machine { machine, state } if self.verbosity >= 1 => {
                vec![self.style.faint(&format!("     {}: {}", clean(machine), clean(state)))]
            }
            Event::StepStarted { machine, step, at } => self.step_started(machine, step, at),
            Event::Output { machine, line } => self.output(machine, line),
            Event::StepFinished { machine, step, ok, elapsed } => {
                self.ended(machine, &clean(step), *ok, *elapsed)
            }
            Event::Check { machine, check, ok, elapsed } => {
                self.ended(machine, &format!("check: {}", clean(check)), *ok, *elapsed)
            }
            _ => Vec::new(),
        }
    }

    fn step_started(&mut self, machine: &str, step: &str, at: &str) -> Vec<String> {
        self.tails.remove(machine);
        if self.verbosity < 1 {
            return Vec::new();
        }
        vec![format!("     {}: {} [{}]", clean(machine), clean(step), clean(at))]
    }

    fn output(&mut self, machine: &str, line: &str) -> Vec<String> {
        let line = clean(line);
        if self.verbosity >= 1 {
            return vec![self.quoted(machine, &line)];
        }
        let tail = self.tails.entry(machine.to_owned()).or_default();
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(line);
        Vec::new()
    }

    fn quoted(&self, machine: &str, line: &str) -> String {
        format!("{} {line}", self.style.faint(&format!("{}|", clean(machine))))
    }

    /// A step or check ended; one that failed brings its last lines along.
    fn ended(&mut self, machine: &str, what: &str, ok: bool, took: Duration) -> Vec<String> {
        let tail = self.tails.remove(machine).unwrap_or_default();
        let took = duration(took);
        let mut lines = vec![format!("{} {}: {what} ({took})", self.mark(ok), clean(machine))];
        if !ok {
            lines.extend(tail.iter().map(|l| self.quoted(machine, l)));
        }
        lines
    }
}

/// A text of several lines under one heading.
fn several(heading: &str, text: &str) -> Vec<String> {
    let mut lines = text.lines().map(clean);
    let first = format!("{heading}{}", lines.next().unwrap_or_default());
    std::iter::once(first).chain(lines.map(|l| format!("  {l}"))).collect()
}

fn percent(fraction: Option<(u64, u64)>) -> String {
    match fraction {
        Some((done, total)) if total > 0 => {
            format!(" ({} %)", done.min(total).saturating_mul(100) / total)
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Event> {
        let elapsed = Duration::from_millis(2100);
        let machine = || "controller".to_owned();
        let step = |name: &str| Event::StepStarted {
            machine: machine(),
            step: name.into(),
            at: "recipes/two-node/10-system.yaml:12".into(),
        };
        let out = |line: &str| Event::Output { machine: machine(), line: line.into() };
        let end = |name: &str, ok| Event::StepFinished {
            machine: machine(),
            step: name.into(),
            ok,
            elapsed,
        };
        vec![
            Event::Backend {
                uri: "qemu:///system".into(),
                accelerator: "tcg".into(),
                reason: "the CPU has no vmx or svm flag".into(),
            },
            Event::StageReused { stage: "10-system".into(), index: 1, of: 2 },
            Event::StageStarted {
                stage: "20-db".into(),
                title: "Database".into(),
                index: 2,
                of: 2,
            },
            Event::Machine { machine: machine(), state: "ready".into() },
            step("Names"),
            out("forgotten"),
            end("Names", true),
            step("Database up"),
            out("\u{1b}[31mERROR\u{1b}[0m 2002"),
            end("Database up", false),
            Event::Check {
                machine: machine(),
                check: "port 3306".into(),
                ok: true,
                elapsed: Duration::from_secs(70),
            },
            Event::Warning { text: "little memory\nclose something".into() },
            Event::StageFinished { stage: "20-db".into(), elapsed },
        ]
    }

    fn rendered(verbosity: i8) -> String {
        let mut lines = Lines::new(verbosity, Style { color: false }, true);
        let all: Vec<String> =
            sample().iter().flat_map(|e| lines.render(e, Duration::ZERO)).collect();
        all.join("\n")
    }

    #[test]
    fn by_default_output_shows_only_where_a_step_failed() {
        insta::assert_snapshot!(rendered(0));
    }

    #[test]
    fn with_v_all_output_shows() {
        insta::assert_snapshot!(rendered(1));
    }

    #[test]
    fn quiet_leaves_warnings() {
        assert_eq!(rendered(-1), "warning: little memory\n  close something");
    }

    #[test]
    fn the_tail_of_a_failed_step_is_bounded() {
        let mut lines = Lines::new(0, Style { color: false }, true);
        for i in 0..100 {
            let line = format!("line {i}");
            lines.render(&Event::Output { machine: "m".into(), line }, Duration::ZERO);
        }
        let end = Event::StepFinished {
            machine: "m".into(),
            step: "s".into(),
            ok: false,
            elapsed: Duration::ZERO,
        };
        let shown = lines.render(&end, Duration::ZERO);
        assert_eq!(shown.len(), 1 + TAIL);
        assert_eq!(shown.last().map(String::as_str), Some("m| line 99"));
    }

    #[test]
    fn phases_of_a_task_are_told_when_they_change_and_not_too_often() {
        let mut lines = Lines::new(0, Style { color: false }, true);
        let start =
            Event::TaskStarted { task: "base/c".into(), title: "base of c".into(), machine: None };
        lines.render(&start, Duration::ZERO);
        let mut say = |at: u64, message: &str| {
            let event = Event::TaskProgress {
                task: "base/c".into(),
                message: message.into(),
                fraction: Some((1, 4)),
            };
            lines.render(&event, Duration::from_secs(at))
        };
        assert!(say(1, "packages").is_empty());
        assert_eq!(say(6, "packages"), ["     base of c: packages (25 %)"]);
        assert!(say(12, "packages").is_empty());
        assert_eq!(say(13, "file system"), ["     base of c: file system (25 %)"]);
    }
}
